package expr

import (
	"encoding/json"
	"slices"
)

// tree is the part of a value that an expression reads.
type tree struct {
	whole bool
	names []string // in the order of the text
	below map[string]*tree
}

func (t *tree) add(path []string) {
	if len(path) == 0 {
		t.whole = true
		return
	}
	next := t.below[path[0]]
	if next == nil {
		next = &tree{}
		if t.below == nil {
			t.below = map[string]*tree{}
		}
		t.below[path[0]] = next
		t.names = append(t.names, path[0])
	}
	next.add(path[1:])
}

// appendPart appends the JSON of raw with nothing in it but what t names. What is not an object is taken whole.
func (t *tree) appendPart(dst, raw []byte) []byte {
	if t.whole || first(raw) != '{' {
		return append(dst, raw...)
	}
	dst = append(dst, '{')
	some := false
	for _, name := range t.names {
		value, ok := member(raw, name)
		if !ok {
			continue
		}
		if some {
			dst = append(dst, ',')
		}
		some = true
		dst = append(dst, quoted(name)...)
		dst = append(dst, ':')
		dst = t.below[name].appendPart(dst, value)
	}
	return append(dst, '}')
}

func quoted(s string) []byte {
	b, err := json.Marshal(s)
	if err != nil {
		return []byte(`""`) // a string is always encodable
	}
	return b
}

// input is the values of the names that a program reads, as far as its text tells which parts; by name. Results that it reads
// in a way that only running shows are left to the engine, which asks for them one by one.
type input map[string]json.RawMessage

// gather fetches the input of a program.
func (p *Program) gather(o *once) (in input, size int, err error) {
	in = input{}
	for _, name := range p.params {
		if isFunction(name) {
			continue
		}
		var raw json.RawMessage
		if name == Results {
			raw, err = p.results(o)
		} else if raw, err = o.fetch(Ref{Name: name}); err == nil && raw != nil {
			raw = p.part(name).appendPart(nil, raw)
		}
		if err != nil {
			return nil, 0, err
		}
		if raw != nil {
			in[name] = raw
			size += len(raw)
		}
	}
	return in, size, nil
}

// part is what the program reads of a name.
func (p *Program) part(name string) *tree {
	t := &tree{}
	for _, r := range p.reads.all {
		if r.Name == name {
			t.add(r.Path)
		}
	}
	return t
}

// results is an object of the results that are read; nil when it is not known which.
func (p *Program) results(o *once) (json.RawMessage, error) {
	t := p.part(Results)
	if t.whole {
		return nil, nil
	}
	ids := slices.Clone(t.names)
	out := []byte{'{'}
	for i, id := range ids {
		raw, err := o.fetch(Ref{Name: Results, Key: id})
		if err != nil {
			return nil, err
		}
		if raw == nil {
			raw = json.RawMessage("null")
		}
		if i > 0 {
			out = append(out, ',')
		}
		out = append(append(out, quoted(id)...), ':')
		out = t.below[id].appendPart(out, raw)
	}
	return append(out, '}'), nil
}
