package runtimes

import (
	"maps"
	"slices"
)

// Variable is one of a process's environment.
type Variable struct{ Name, Value string }

// Env is the environment of a run, each name once. It is a list because one is made for each job and compared with the one before it:
// those of one script have the same names in the same order.
type Env []Variable

// EnvOf is a map as an Env, sorted by name.
func EnvOf(m map[string]string) Env {
	e := make(Env, 0, len(m))
	for _, name := range slices.Sorted(maps.Keys(m)) {
		e = append(e, Variable{name, m[name]})
	}
	return e
}

// Map is e by name.
func (e Env) Map() map[string]string {
	m := make(map[string]string, len(e))
	for _, v := range e {
		m[v.Name] = v.Value
	}
	return m
}

// Get is the value of a variable, and whether there is one.
func (e Env) Get(name string) (string, bool) {
	if i := e.index(name); i >= 0 {
		return e[i].Value, true
	}
	return "", false
}

// Set gives a variable a value.
func (e *Env) Set(name, value string) {
	if i := e.index(name); i >= 0 {
		(*e)[i].Value = value
		return
	}
	*e = append(*e, Variable{name, value})
}

// At says whether the i-th variable has this name: a hint where to look first.
func (e Env) At(i int, name string) bool { return i < len(e) && e[i].Name == name }

func (e Env) index(name string) int {
	for i := range e {
		if e[i].Name == name {
			return i
		}
	}
	return -1
}
