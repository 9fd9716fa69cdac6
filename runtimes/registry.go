package runtimes

import (
	"fmt"
	"sort"
)

// Registry maps language names to their entries. It is filled at start and read-only afterwards.
type Registry struct {
	entries map[string]*Entry
}

// Entry is a registered language with its optional powers, asked for once.
type Entry struct {
	Runtime
	Resolver  Resolver  // nil when it has none
	Builder   Builder   // nil when it has none
	Binder    Binder    // nil when calls go by frames
	Explainer Explainer // nil when it has none
	Warmer    Warmer    // nil when it has none
	Preloader Preloader // nil when it has none
	Host      Host
	Err       error // why the language cannot run here; nil when it can
}

// NewRegistry returns an empty registry.
func NewRegistry() *Registry { return &Registry{entries: map[string]*Entry{}} }

// Register adds rt; a second language of the same name is a programming error and panics.
func (r *Registry) Register(rt Runtime) *Entry {
	name := rt.Info().Name
	if name == "" || r.entries[name] != nil {
		panic(fmt.Sprintf("runtimes: duplicate or empty language name %q", name))
	}
	e := &Entry{Runtime: rt}
	e.Resolver, _ = rt.(Resolver)
	e.Builder, _ = rt.(Builder)
	e.Binder, _ = rt.(Binder)
	e.Explainer, _ = rt.(Explainer)
	e.Warmer, _ = rt.(Warmer)
	e.Preloader, _ = rt.(Preloader)
	r.entries[name] = e
	return e
}

// Get returns the entry of a language, or false.
func (r *Registry) Get(name string) (*Entry, bool) {
	e, ok := r.entries[name]
	return e, ok
}

// All returns the entries ordered by name.
func (r *Registry) All() []*Entry {
	out := make([]*Entry, 0, len(r.entries))
	for _, e := range r.entries {
		out = append(out, e)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Info().Name < out[j].Info().Name })
	return out
}
