package format

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strconv"
)

// encodable writes itself; n is what it was read from, nil if it was not.
type encodable interface {
	encode(e *encoder, n *node)
}

// encoder writes the types of this package: fields in the order in which they were read, among them those that nobody here
// knows, then those that were set in Go since.
type encoder struct {
	buf bytes.Buffer
}

// value writes v, which was read from n if that is not nil.
func (e *encoder) value(v any, n *node) { e.reflected(reflect.ValueOf(v), n) }

func (e *encoder) reflected(v reflect.Value, n *node) {
	if v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
		if v.IsNil() {
			e.buf.WriteString("null")
			return
		}
		if c, ok := v.Interface().(encodable); ok {
			c.encode(e, n)
			return
		}
		e.reflected(v.Elem(), n)
		return
	}
	if raw, ok := v.Interface().(json.RawMessage); ok {
		if raw == nil {
			raw = json.RawMessage("null")
		}
		e.buf.Write(raw)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		e.object(v)
	case reflect.Slice:
		e.list(v, n)
	case reflect.Map:
		e.dictionary(v, n)
	default:
		e.scalar(v, n)
	}
}

// unchanged tells whether n still says what v is.
func unchanged(v reflect.Value, n *node) bool {
	if n == nil {
		return false
	}
	again := reflect.New(v.Type()).Elem()
	d := decoder{}
	d.value(again, n, "")
	return len(d.problems) == 0 && reflect.DeepEqual(again.Interface(), v.Interface())
}

func (e *encoder) scalar(v reflect.Value, n *node) {
	if unchanged(v, n) {
		e.buf.Write(n.json())
		return
	}
	switch v.Kind() {
	case reflect.String:
		e.buf.Write(quote(v.String()))
	case reflect.Bool:
		e.buf.WriteString(strconv.FormatBool(v.Bool()))
	case reflect.Int:
		e.buf.WriteString(strconv.FormatInt(v.Int(), 10))
	case reflect.Float64:
		b, err := json.Marshal(v.Float())
		if err != nil {
			b = []byte("null") // JSON has neither infinity nor not-a-number
		}
		e.buf.Write(b)
	}
}

func (e *encoder) list(v reflect.Value, n *node) {
	e.buf.WriteByte('[')
	for i := range v.Len() {
		if i > 0 {
			e.buf.WriteByte(',')
		}
		var item *node
		if n != nil && n.kind == arrayNode && i < len(n.items) {
			item = n.items[i]
		}
		e.reflected(v.Index(i), item)
	}
	e.buf.WriteByte(']')
}

func (e *encoder) dictionary(v reflect.Value, n *node) {
	names := make([]string, 0, v.Len())
	for _, name := range v.MapKeys() {
		names = append(names, name.String())
	}
	slices.Sort(names)
	written := map[string]bool{}
	w := members{e: e}
	if n != nil {
		for _, m := range n.members {
			item := v.MapIndex(reflect.ValueOf(m.name))
			switch {
			case item.IsValid() && !written[m.name]:
				w.name(m.name)
				e.reflected(item, n.get(m.name))
			case !item.IsValid() && m.value.kind == nullNode:
				w.name(m.name)
				e.buf.WriteString("null")
			}
			written[m.name] = true
		}
	}
	for _, name := range names {
		if !written[name] {
			w.name(name)
			e.reflected(v.MapIndex(reflect.ValueOf(name)), nil)
		}
	}
	w.close()
}

func (e *encoder) object(v reflect.Value) {
	l := layoutOf(v.Type())
	var n *node
	if s := sourceOf(v); s != nil { // v is addressable: parts of flows are always reached through pointers and slices
		n = s.node
	}
	w := members{e: e}
	seen := make([]bool, len(l.fields))
	if n != nil {
		for _, m := range n.members {
			i, known := l.byName[m.name]
			if !known {
				w.name(m.name)
				m.value.writeTo(&e.buf)
				continue
			}
			if f := v.FieldByIndex(l.fields[i].index); !seen[i] && (!f.IsZero() || unchanged(f, m.value)) {
				w.name(m.name)
				e.reflected(f, m.value)
			}
			seen[i] = true
		}
	} else if b, ok := v.Addr().Interface().(Body); ok {
		w.name("type")
		e.buf.Write(quote(b.Kind()))
	}
	for i, f := range l.fields {
		if value := v.FieldByIndex(f.index); !seen[i] && (!value.IsZero() || f.required && n == nil) {
			w.name(f.name)
			e.missing(value)
		}
	}
	w.close()
}

// missing writes a field that the source did not have; a required list is never null.
func (e *encoder) missing(v reflect.Value) {
	if v.Kind() == reflect.Slice && v.IsNil() && v.Type() != reflect.TypeFor[json.RawMessage]() {
		e.buf.WriteString("[]")
		return
	}
	e.reflected(v, nil)
}

// members writes the punctuation of an object.
type members struct {
	e    *encoder
	some bool
}

func (w *members) name(name string) {
	if w.some {
		w.e.buf.WriteByte(',')
	} else {
		w.e.buf.WriteByte('{')
	}
	w.some = true
	w.e.buf.Write(quote(name))
	w.e.buf.WriteByte(':')
}

func (w *members) close() {
	if !w.some {
		w.e.buf.WriteByte('{')
	}
	w.e.buf.WriteByte('}')
}
