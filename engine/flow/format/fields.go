package format

import (
	"reflect"
	"strings"
	"sync"
)

// field is a field of a Go type as the format names it.
type field struct {
	name     string
	alias    string // an older name
	index    []int
	required bool
}

// layout is what reading and writing need to know of a Go type. Flows are read when they are deployed and when they are
// fetched into memory, so reflection is not on a job's path.
type layout struct {
	fields []field
	byName map[string]int // names and aliases
}

var (
	layouts    sync.Map // reflect.Type -> *layout
	sourceType = reflect.TypeFor[Source]()
)

func layoutOf(t reflect.Type) *layout {
	if l, ok := layouts.Load(t); ok {
		return l.(*layout)
	}
	l := &layout{byName: map[string]int{}}
	l.add(t, nil)
	for i, f := range l.fields {
		l.byName[f.name] = i
		if f.alias != "" {
			l.byName[f.alias] = i
		}
	}
	layouts.Store(t, l)
	return l
}

func (l *layout) add(t reflect.Type, prefix []int) {
	for i := range t.NumField() {
		f := t.Field(i)
		index := append(append([]int{}, prefix...), i)
		switch {
		case f.Type == sourceType:
		case f.Anonymous && f.Type.Kind() == reflect.Struct:
			l.add(f.Type, index)
		case f.IsExported():
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			l.fields = append(l.fields, field{name: name, alias: f.Tag.Get("alias"), index: index,
				required: f.Tag.Get("flow") == "required"})
		}
	}
}

// sourceOf returns the embedded Source of a struct, nil when it has none.
func sourceOf(v reflect.Value) *Source {
	f := v.FieldByName("Source")
	if !f.IsValid() || f.Type() != sourceType {
		return nil
	}
	return f.Addr().Interface().(*Source)
}
