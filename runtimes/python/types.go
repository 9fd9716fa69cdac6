package python

import (
	"encoding/json"
	"slices"
	"strings"
	"unicode"

	"github.com/millrace/millrace/runtimes"
	"github.com/millrace/millrace/runtimes/scan"
)

// typ is a type expression.
type typ struct {
	name  string // dotted; "" for a union and for what is no type
	args  []typ
	union []typ             // A | B
	lits  []json.RawMessage // of Literal
}

func (t typ) last() string { return t.name[strings.LastIndexByte(t.name, '.')+1:] }

// alternatives are the members of a union, None left out, and whether None was one.
func (t typ) alternatives() (out []typ, null bool) {
	inner := t.union
	switch t.last() {
	case "Optional":
		inner, null = t.args, true
	case "Union":
		inner = t.args
	case "Annotated", "NotRequired", "Required", "Final", "ReadOnly":
		if len(t.args) > 0 {
			return t.args[0].alternatives()
		}
	}
	if inner == nil {
		return []typ{t}, t.name == "None"
	}
	for _, a := range inner {
		if a.name == "None" || a.name == "NoneType" {
			null = true
			continue
		}
		sub, n := a.alternatives()
		out, null = append(out, sub...), null || n
	}
	return out, null
}

func (t typ) optional() bool {
	_, null := t.alternatives()
	return null
}

// parseType reads a type expression; of what it cannot read comes the zero typ, which allows anything.
func parseType(toks []token) typ { return parseTypeAt(toks, 0) }

func parseTypeAt(toks []token, depth int) typ {
	if len(toks) == 0 || depth > 50 {
		return typ{}
	}
	if parts := scan.Split(toks, "|"); len(parts) > 1 {
		t := typ{}
		for _, p := range parts {
			t.union = append(t.union, parseTypeAt(p, depth+1))
		}
		return t
	}
	first := toks[0]
	switch {
	case first.Is("(") && scan.Match(toks, 0) == len(toks)-1:
		return parseTypeAt(toks[1:len(toks)-1], depth+1)
	case first.Kind == scan.String && len(toks) == 1: // a forward reference
		if s, isBytes, ok := unquote(first.Text); ok && !isBytes {
			if m, err := lex(s); err == nil && len(m.statements) == 1 {
				return parseTypeAt(m.statements[0].toks, depth+1)
			}
		}
		return typ{}
	case first.Kind != scan.Word:
		return typ{}
	}
	t, i := typ{name: first.Text}, 1
	for i+1 < len(toks) && toks[i].Is(".") && toks[i+1].Kind == scan.Word {
		t.name += "." + toks[i+1].Text
		i += 2
	}
	if i == len(toks) {
		return t
	}
	if !toks[i].Is("[") || scan.Match(toks, i) != len(toks)-1 {
		return typ{}
	}
	for _, arg := range scan.Split(toks[i+1:len(toks)-1], ",") {
		if t.last() == "Literal" {
			if lit, ok := literal(arg, nil); ok {
				t.lits = append(t.lits, lit)
			}
		} else if len(arg) > 0 {
			t.args = append(t.args, parseTypeAt(arg, depth+1))
		}
	}
	return t
}

// simple are the types that need no look at their arguments, by the last part of their names.
var simple = map[string]runtimes.Schema{
	"str": {Type: "string"}, "int": {Type: "integer"}, "float": {Type: "number"}, "bool": {Type: "boolean"},
	"AnyStr": {Type: "string"}, "Text": {Type: "string"}, "Path": {Type: "string"}, "Decimal": {Type: "number"},
	"bytes":     {Type: "string", ContentEncoding: "base64"},
	"bytearray": {Type: "string", ContentEncoding: "base64"},
	"datetime":  {Type: "string", Format: "date-time"},
	"date":      {Type: "string", Format: "date"},
	"time":      {Type: "string", Format: "time"},
	"UUID":      {Type: "string", Format: "uuid"}, "EmailStr": {Type: "string", Format: "email"},
	"HttpUrl": {Type: "string", Format: "uri"}, "AnyUrl": {Type: "string", Format: "uri"},
	"None": {Type: "null"}, "Any": {}, "object": {}, "type": {}, "Callable": {}, "TypeVar": {},
	"complex": {}, "timedelta": {}, "DataFrame": {}, "ndarray": {}, "Enum": {},
}

var arrays = []string{"list", "List", "Sequence", "MutableSequence", "Iterable", "Iterator", "Collection", "tuple", "Tuple",
	"set", "Set", "frozenset", "FrozenSet", "AbstractSet", "deque", "Deque"}

var objects = []string{"dict", "Dict", "Mapping", "MutableMapping", "OrderedDict", "defaultdict", "DefaultDict", "TypedDict"}

// schema says what JSON fits t.
func (sc *scope) schema(t typ) runtimes.Schema {
	if sc.steps++; sc.steps > maxSteps {
		return runtimes.Schema{}
	}
	inner, _ := t.alternatives()
	switch len(inner) {
	case 0:
		return runtimes.Schema{Type: "null"}
	case 1:
		return sc.single(inner[0])
	}
	return sc.union(inner)
}

func (sc *scope) single(t typ) runtimes.Schema {
	last := t.last()
	if t.name == "" {
		return runtimes.Schema{}
	}
	if t.union != nil || last == "Optional" || last == "Union" {
		return sc.schema(t)
	}
	if last == "Literal" {
		return enumOf(t.lits)
	}
	if !strings.Contains(t.name, ".") {
		if s, ok := sc.named(t.name); ok {
			return s
		}
	}
	if s, ok := simple[last]; ok {
		return s
	}
	if slices.Contains(arrays, last) {
		s := runtimes.Schema{Type: "array"}
		if homogeneous(t) {
			if items := sc.schema(t.args[0]); !isAny(items) {
				s.Items = &items
			}
		}
		return s
	}
	if slices.Contains(objects, last) {
		s := runtimes.Schema{Type: "object"}
		if len(t.args) == 2 {
			if values := sc.schema(t.args[1]); !isAny(values) {
				s.AdditionalProperties = &values
			}
		}
		return s
	}
	if module, _, dotted := strings.Cut(t.name, "."); dotted && module != "wmill" || sc.imported[t.name] {
		return runtimes.Schema{}
	}
	return resource(last)
}

// homogeneous says whether all items of t are of its first argument: a tuple's are only if it says so.
func homogeneous(t typ) bool {
	if len(t.args) > 1 && strings.EqualFold(t.last(), "tuple") {
		return len(t.args) == 2 && (t.args[1].name == "" || t.args[1].name == t.args[0].name)
	}
	return len(t.args) > 0
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

func (sc *scope) union(inner []typ) runtimes.Schema {
	var alternatives []runtimes.Schema
	var lits []json.RawMessage
	var names []string
	plain := true
	for _, t := range inner {
		s := sc.single(t)
		if isAny(s) {
			return runtimes.Schema{}
		}
		lits = append(lits, s.Enum...)
		name, isName := s.Type.(string)
		plain = plain && isName && isAny(runtimes.Schema{Enum: s.Enum, Format: s.Format, ContentEncoding: s.ContentEncoding,
			Items: s.Items, Properties: s.Properties, OneOf: s.OneOf, AdditionalProperties: s.AdditionalProperties})
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
		s.Title = t.last()
		alternatives = append(alternatives, s)
	}
	if len(lits) > 0 && !slices.ContainsFunc(alternatives, func(s runtimes.Schema) bool { return s.Enum == nil }) {
		return enumOf(lits)
	}
	if plain && len(names) == 1 {
		return runtimes.Schema{Type: names[0]}
	}
	if plain {
		return runtimes.Schema{Type: names}
	}
	return runtimes.Schema{OneOf: alternatives}
}

// enumOf allows exactly the given values.
func enumOf(lits []json.RawMessage) runtimes.Schema {
	s := runtimes.Schema{Enum: lits}
	for i, lit := range lits {
		t := typeOf(lit)
		if i > 0 && t != s.Type {
			s.Type = nil
			break
		}
		s.Type = t
	}
	return s
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
