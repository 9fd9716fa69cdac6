package main

import (
	"github.com/millrace/millrace/runtimes"
	"github.com/millrace/millrace/runtimes/bash"
	"github.com/millrace/millrace/runtimes/bun"
	"github.com/millrace/millrace/runtimes/golang"
	"github.com/millrace/millrace/runtimes/python"
)

// families is the one list of languages.
func families() *runtimes.Registry {
	r := runtimes.NewRegistry()
	r.Register(python.New())
	r.Register(bun.New())
	r.Register(golang.New())
	r.Register(bash.New())
	return r
}

// endings are those of source files, by language.
func (d *daemon) endings() map[string]string {
	m := map[string]string{}
	for _, e := range d.registry.All() {
		m[e.Info().Name] = e.Info().Extensions[0]
	}
	return m
}
