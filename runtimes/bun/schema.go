package bun

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"unicode"

	"github.com/millrace/millrace/runtimes"
)

// simple are the types that need no look at their arguments.
var simple = map[string]runtimes.Schema{
	"string": {Type: "string"}, "number": {Type: "number"}, "boolean": {Type: "boolean"}, "bigint": {Type: "integer"},
	"String": {Type: "string"}, "Number": {Type: "number"}, "Boolean": {Type: "boolean"}, "BigInt": {Type: "integer"},
	"Date": {Type: "string", Format: "date-time"}, "object": {Type: "object"}, "Object": {Type: "object"},
	"any": {}, "unknown": {}, "never": {}, "symbol": {}, "Function": {}, "void": {Type: "null"},
	"null": {Type: "null"}, "undefined": {Type: "null"}, "URL": {Type: "string", Format: "uri"}, "RegExp": {Type: "string"},
	"Uint8Array": {Type: "string", ContentEncoding: "base64"}, "Buffer": {Type: "string", ContentEncoding: "base64"},
	"ArrayBuffer": {Type: "string", ContentEncoding: "base64"},
	"Base64":      {Type: "string", ContentEncoding: "base64"}, "Email": {Type: "string", Format: "email"},
	"Sql": {Type: "string", Format: "sql"},
}

// schema says what JSON fits t.
func (sc *scope) schema(t typ) runtimes.Schema {
	if sc.steps++; sc.steps > maxSteps {
		return runtimes.Schema{}
	}
	switch t.shape {
	case lit:
		return enumOf([]json.RawMessage{t.value})
	case array:
		return sc.arrayOf(t.args)
	case object:
		return sc.record(t)
	case union:
		return sc.union(t)
	case intersection:
		return sc.merge(t.args)
	case named:
		return sc.named(t)
	}
	return runtimes.Schema{}
}

func (sc *scope) arrayOf(args []typ) runtimes.Schema {
	s := runtimes.Schema{Type: "array"}
	if len(args) > 0 {
		if items := sc.schema(args[0]); !isAny(items) {
			s.Items = &items
		}
	}
	return s
}

func (sc *scope) record(t typ) runtimes.Schema {
	s := runtimes.Schema{Type: "object"}
	if t.index != nil {
		if v := sc.schema(*t.index); !isAny(v) {
			s.AdditionalProperties = &v
		}
	}
	for _, f := range t.fields {
		if s.Properties == nil {
			s.Properties = map[string]runtimes.Schema{}
		}
		p := sc.schema(f.typ)
		if f.doc != "" && p.Description == "" {
			p.Description = readDoc(f.doc).text
		}
		s.Properties[f.name] = p
		if !f.optional && !sc.optional(f.typ) {
			s.Required = append(s.Required, f.name)
		}
	}
	return s
}

// optional says whether null or undefined are members of t.
func (sc *scope) optional(t typ) bool {
	sc.steps++
	switch {
	case sc.steps > maxSteps:
		return false
	case t.shape == named && (t.name == "null" || t.name == "undefined" || t.name == "void"):
		return true
	case t.shape == named && !sc.busy[t.name]:
		def, ok := sc.types[t.name]
		if !ok {
			return false
		}
		sc.busy[t.name] = true
		defer delete(sc.busy, t.name)
		return sc.optional(def.typ)
	case t.shape == union:
		return slices.ContainsFunc(t.args, sc.optional)
	}
	return false
}

// merge is an intersection: an object with the properties of all.
func (sc *scope) merge(args []typ) runtimes.Schema {
	out := runtimes.Schema{Type: "object"}
	for _, a := range args {
		s := sc.schema(a)
		if s.Type != "object" { // string & { brand: "x" }
			if s.Type != nil {
				return s
			}
			continue
		}
		if out.Format == "" {
			out.Format = s.Format
		}
		for k, v := range s.Properties {
			if out.Properties == nil {
				out.Properties = map[string]runtimes.Schema{}
			}
			out.Properties[k] = v
		}
		for _, r := range s.Required {
			if !slices.Contains(out.Required, r) {
				out.Required = append(out.Required, r)
			}
		}
		if s.AdditionalProperties != nil {
			out.AdditionalProperties = s.AdditionalProperties
		}
	}
	return out
}

func (sc *scope) named(t typ) runtimes.Schema {
	if strings.Contains(t.name, ".") {
		return sc.dotted(t.name)
	}
	if values, ok := sc.enums[t.name]; ok {
		return enumOf(values)
	}
	if def, ok := sc.types[t.name]; ok {
		if sc.busy[t.name] {
			return runtimes.Schema{Type: "object"}
		}
		sc.busy[t.name] = true
		defer delete(sc.busy, t.name)
		for _, p := range def.params {
			if !sc.imported[p] {
				sc.imported[p] = true
				defer delete(sc.imported, p)
			}
		}
		return sc.schema(def.typ)
	}
	if sc.imported[t.name] {
		return runtimes.Schema{}
	}
	if s, ok := sc.generic(t); ok {
		return s
	}
	if s, ok := simple[t.name]; ok {
		return s
	}
	return resource(t.name)
}

// dotted is a type of a namespace: wmill.Base64, RT.Postgresql, an enum's member.
func (sc *scope) dotted(name string) runtimes.Schema {
	if v, ok := sc.members[name]; ok {
		return enumOf([]json.RawMessage{v})
	}
	module, last, _ := strings.Cut(name, ".")
	if module == "RT" {
		return resource(last)
	}
	if sc.imported[module] || strings.Contains(last, ".") {
		return runtimes.Schema{}
	}
	switch last {
	case "Base64", "Email", "Sql":
		return simple[last]
	}
	if module == "wmill" || module == "windmill" {
		return resource(last)
	}
	return runtimes.Schema{}
}

// generic are the types of the language's library that are made of others.
func (sc *scope) generic(t typ) (runtimes.Schema, bool) {
	switch t.name {
	case "Array", "ReadonlyArray", "Set", "ReadonlySet", "Iterable", "ArrayLike":
		return sc.arrayOf(t.args), true
	case "Record", "Map", "ReadonlyMap":
		s := runtimes.Schema{Type: "object"}
		if len(t.args) == 2 {
			if v := sc.schema(t.args[1]); !isAny(v) {
				s.AdditionalProperties = &v
			}
		}
		return s, true
	}
	if len(t.args) == 0 {
		return runtimes.Schema{}, false
	}
	s := sc.schema(t.args[0])
	switch t.name {
	case "Promise", "Awaited", "Readonly", "NonNullable", "Required":
		return s, true
	case "Partial":
		s.Required = nil
		return s, true
	case "Pick", "Omit":
		if len(t.args) != 2 {
			return s, true
		}
		keys := sc.schema(t.args[1]).Enum
		listed := func(k string) bool {
			return slices.ContainsFunc(keys, func(v json.RawMessage) bool { return string(v) == string(marshalText(k)) })
		}
		kept := map[string]runtimes.Schema{}
		for k, v := range s.Properties {
			if listed(k) == (t.name == "Pick") {
				kept[k] = v
			}
		}
		s.Properties = kept
		s.Required = slices.DeleteFunc(slices.Clone(s.Required), func(k string) bool { return listed(k) != (t.name == "Pick") })
		return s, true
	}
	return runtimes.Schema{}, false
}

// resource is a type that only Windmill's convention gives a meaning.
func resource(name string) runtimes.Schema {
	for _, dynamic := range []string{"DynSelect_", "DynMultiselect_"} {
		if rest, ok := strings.CutPrefix(name, dynamic); ok {
			return runtimes.Schema{Type: "object", Format: strings.ToLower(strings.TrimSuffix(dynamic, "_")) + "-" + rest}
		}
	}
	return runtimes.Schema{Type: "object", Format: "resource-" + snake(name)}
}

func (sc *scope) union(t typ) runtimes.Schema {
	var all []runtimes.Schema
	var lits []json.RawMessage
	for _, a := range sc.flatten(t, 0) {
		s := sc.schema(a)
		if isAny(s) {
			return runtimes.Schema{}
		}
		if s.Title == "" && a.shape == named {
			s.Title = a.name
		}
		lits = append(lits, s.Enum...)
		all = append(all, s)
	}
	if len(all) == 0 {
		return runtimes.Schema{Type: "null"}
	}
	if len(all) == 1 {
		all[0].Title = ""
		return all[0]
	}
	if !slices.ContainsFunc(all, func(s runtimes.Schema) bool { return s.Enum == nil }) {
		return enumOf(lits)
	}
	if types, ok := plainTypes(all); ok {
		if len(types) == 1 {
			return runtimes.Schema{Type: types[0]}
		}
		return runtimes.Schema{Type: types}
	}
	label(all)
	return runtimes.Schema{OneOf: all}
}

// flatten lists the members of a union and of unions in it, without null and undefined.
func (sc *scope) flatten(t typ, depth int) []typ {
	sc.steps++
	switch {
	case sc.steps > maxSteps:
		return nil
	case t.shape == named && (t.name == "null" || t.name == "undefined" || t.name == "void"):
		return nil
	case t.shape == named && depth < 20 && sc.types[t.name].typ.shape == union:
		return sc.flatten(sc.types[t.name].typ, depth+1)
	case t.shape != union:
		return []typ{t}
	}
	var out []typ
	for _, a := range t.args {
		out = append(out, sc.flatten(a, depth)...)
	}
	return out
}

// plainTypes are the types of schemas that say nothing but a type, or a choice among values of it.
func plainTypes(all []runtimes.Schema) ([]string, bool) {
	var types []string
	for _, s := range all {
		name, ok := s.Type.(string)
		if !ok || s.Format != "" || s.ContentEncoding != "" || s.Items != nil || s.Properties != nil || s.AdditionalProperties != nil {
			return nil, false
		}
		if !slices.Contains(types, name) {
			types = append(types, name)
		}
	}
	return types, true
}

// label titles the alternatives of a union by the property that tells them apart, when there is one.
func label(all []runtimes.Schema) {
	for _, name := range append([]string{"label", "kind"}, slices.Sorted(maps.Keys(all[0].Properties))...) {
		if !tellsApart(all, name) {
			continue
		}
		for i := range all {
			if v := all[i].Properties[name].Enum[0]; v[0] == '"' {
				_ = json.Unmarshal(v, &all[i].Title) // it is text: we wrote it
			}
		}
		return
	}
}

func tellsApart(all []runtimes.Schema, name string) bool {
	seen := map[string]bool{}
	for _, s := range all {
		v := s.Properties[name].Enum
		if len(v) != 1 || seen[string(v[0])] {
			return false
		}
		seen[string(v[0])] = true
	}
	return true
}

// enumOf allows exactly the given values. All values of a boolean are no choice.
func enumOf(lits []json.RawMessage) runtimes.Schema {
	s := runtimes.Schema{Enum: lits}
	for i, v := range lits {
		t := typeOf(v)
		if i > 0 && t != s.Type {
			s.Type = nil
			break
		}
		s.Type = t
	}
	if s.Type == "boolean" && len(lits) > 1 {
		s.Enum = nil
	}
	return s
}

// typeOf is the JSON Schema type of a value, nil for null.
func typeOf(value json.RawMessage) any {
	switch value[0] {
	case '"':
		return "string"
	case 't', 'f':
		return "boolean"
	case '[':
		return "array"
	case '{':
		return "object"
	case 'n':
		return nil
	}
	return "number"
}

// isAny says whether s allows everything.
func isAny(s runtimes.Schema) bool {
	return s.Type == nil && s.Enum == nil && s.OneOf == nil && s.Format == "" && s.ContentEncoding == "" && s.Items == nil &&
		s.Properties == nil && s.AdditionalProperties == nil
}

// snake writes CamelCase as snake_case.
func snake(s string) string {
	var b strings.Builder
	runes := []rune(s)
	for i, r := range runes {
		if unicode.IsUpper(r) && i > 0 && runes[i-1] != '_' &&
			(!unicode.IsUpper(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1])) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}
