package format

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Types that are more than their fields.
type (
	// decodable reads itself.
	decodable interface {
		decode(d *decoder, n *node, field string)
	}
	// verifiable has rules of its own, which are looked at once its fields are read.
	verifiable interface {
		verify(d *decoder)
	}
)

// decoder reads nodes into the types of this package and collects what is wrong.
type decoder struct {
	problems Problems
	module   string
	path     []string // of fields within the module
}

func (d *decoder) problem(pos Pos, field, msg, hint string) {
	path := strings.Join(append(slices.Clone(d.path), field), ".")
	d.problems = append(d.problems, Problem{Module: d.module, Field: strings.Trim(path, "."), Pos: pos, Msg: msg, Hint: hint})
}

// into reads n into what target points to.
func (d *decoder) into(target any, n *node, field string) {
	d.value(reflect.ValueOf(target).Elem(), n, field)
}

func (d *decoder) value(v reflect.Value, n *node, field string) {
	if v.Kind() == reflect.Interface {
		d.body(v, n, field)
		return
	}
	if v.Type() == reflect.TypeFor[json.RawMessage]() {
		v.SetBytes(n.json())
		return
	}
	if n.kind == nullNode { // as if it was left out; it is written as null again
		return
	}
	if v.Kind() == reflect.Pointer {
		fresh := reflect.New(v.Type().Elem())
		d.value(fresh.Elem(), n, field)
		v.Set(fresh)
		return
	}
	if c, ok := v.Addr().Interface().(decodable); ok {
		c.decode(d, n, field)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.object(v, n, field)
	case reflect.Slice:
		d.list(v, n, field)
	case reflect.Map:
		d.dictionary(v, n, field)
	default:
		d.scalar(v, n, field)
	}
}

func (d *decoder) wrong(n *node, field, want string) {
	d.problem(n.pos, field, fmt.Sprintf("is %s, should be %s", n.kind, want), "")
}

func (d *decoder) scalar(v reflect.Value, n *node, field string) {
	switch v.Kind() {
	case reflect.String:
		if n.kind != stringNode {
			d.wrong(n, field, "a string")
			return
		}
		v.SetString(n.text)
	case reflect.Bool:
		if n.kind != boolNode {
			d.wrong(n, field, "true or false")
			return
		}
		v.SetBool(string(n.raw) == "true")
	case reflect.Int, reflect.Float64:
		f, err := strconv.ParseFloat(string(n.raw), 64)
		if n.kind != numberNode || err != nil {
			d.wrong(n, field, "a number")
			return
		}
		if v.Kind() == reflect.Float64 {
			v.SetFloat(f)
			return
		}
		if f != math.Trunc(f) || math.Abs(f) > 1<<53 {
			d.problem(n.pos, field, "is "+string(n.raw)+", should be a whole number", "")
			return
		}
		v.SetInt(int64(f))
	}
}

func (d *decoder) list(v reflect.Value, n *node, field string) {
	if n.kind != arrayNode {
		d.wrong(n, field, "a list")
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.items), len(n.items)))
	for i, item := range n.items {
		if item.kind == nullNode && v.Type().Elem().Kind() == reflect.Pointer {
			d.problem(item.pos, field, "holds null", "")
			v.Index(i).Set(reflect.New(v.Type().Elem().Elem())) // so that nobody meets nil
			continue
		}
		d.value(v.Index(i), item, field+"["+strconv.Itoa(i)+"]")
	}
}

func (d *decoder) dictionary(v reflect.Value, n *node, field string) {
	if n.kind != objectNode {
		d.wrong(n, field, "an object")
		return
	}
	v.Set(reflect.MakeMapWithSize(v.Type(), len(n.members)))
	d.path = append(d.path, field)
	for _, m := range n.members {
		item := reflect.New(v.Type().Elem()).Elem()
		d.value(item, m.value, m.name)
		if item.Kind() == reflect.Pointer && item.IsNil() {
			continue
		}
		v.SetMapIndex(reflect.ValueOf(m.name), item)
	}
	d.path = d.path[:len(d.path)-1]
}

func (d *decoder) object(v reflect.Value, n *node, field string) {
	if n.kind != objectNode {
		d.wrong(n, field, "an object")
		return
	}
	if s := sourceOf(v); s != nil {
		s.node = n
	}
	if v.Type() == reflect.TypeFor[Module]() {
		defer func(module string, path []string) { d.module, d.path = module, path }(d.module, d.path)
		if id := n.get("id"); id != nil && id.kind == stringNode {
			d.module, d.path, field = id.text, nil, ""
		}
	}
	if field != "" {
		d.path = append(d.path, field)
		defer func() { d.path = d.path[:len(d.path)-1] }()
	}
	d.members(v, n)
	if c, ok := v.Addr().Interface().(verifiable); ok {
		c.verify(d)
	}
}

func (d *decoder) members(v reflect.Value, n *node) {
	l := layoutOf(v.Type())
	given, seen := make([]bool, len(l.fields)), make([]bool, len(l.fields)) // a list that is null is given, and missing all the same
	for _, m := range n.members {
		i, known := l.byName[m.name]
		if !known {
			continue
		}
		if given[i] {
			d.problem(m.pos, m.name, "is given twice", "remove one of the two")
		}
		given[i] = true
		seen[i] = m.value.kind != nullNode || !l.fields[i].required || v.FieldByIndex(l.fields[i].index).Kind() != reflect.Slice
		d.value(v.FieldByIndex(l.fields[i].index), m.value, m.name)
	}
	for i, f := range l.fields {
		if f.required && !seen[i] {
			d.problem(n.pos, f.name, "is missing", "")
		}
	}
}

// body reads what a module does, whose type decides on its fields.
func (d *decoder) body(v reflect.Value, n *node, field string) {
	if n.kind != objectNode {
		d.wrong(n, field, "an object")
		return
	}
	kind := n.get("type")
	if kind == nil || kind.kind != stringNode {
		d.problem(n.pos, field+".type", "is missing", "say what kind of step it is, such as rawscript")
		return
	}
	empty := kinds[kind.text]
	if empty == nil {
		d.problem(kind.pos, field+".type", "no such kind of step: "+kind.text, "use one of "+strings.Join(kindNames(), ", "))
		return
	}
	b := empty()
	d.value(reflect.ValueOf(b).Elem(), n, field)
	v.Set(reflect.ValueOf(b))
}

func kindNames() []string {
	names := make([]string, 0, len(kinds))
	for name := range kinds {
		if name != "flowscript" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
