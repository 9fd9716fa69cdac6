package python

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/millrace/millrace/runtimes"
	"github.com/millrace/millrace/runtimes/scan"
)

// maxSteps bounds the work for one signature: types that name each other twice would otherwise double with each name.
const maxSteps = 4000

// scope holds what the file itself says of the names in annotations.
type scope struct {
	classes  map[string]*class
	aliases  map[string]typ
	imported map[string]bool
	members  map[string]json.RawMessage // of enums: "Color.RED" -> "red"
	busy     map[string]bool            // names being looked at, against types that contain themselves
	steps    int                        // types looked at so far
}

// class is a class statement of the top level.
type class struct {
	name    string
	bases   []typ
	partial bool // TypedDict with total=False
	data    bool // decorated with @dataclass or the like
	body    []statement

	computed bool // an enum with a value that only running tells
}

func newScope(m *module) *scope {
	sc := &scope{classes: map[string]*class{}, aliases: map[string]typ{}, imported: map[string]bool{},
		members: map[string]json.RawMessage{}, busy: map[string]bool{}}
	var current *class
	data := false
	for _, s := range m.statements {
		if s.indent > 0 {
			if current != nil {
				current.body = append(current.body, s)
			}
			continue
		}
		current = nil
		switch {
		case s.is("@"):
			data = data || strings.Contains(joined(s.toks[1:]), "dataclass") || strings.Contains(joined(s.toks[1:]), "define")
			continue
		case s.is("class") && len(s.toks) > 1:
			current = readClass(s)
			current.data = data
			sc.classes[current.name] = current
		case s.is("from"):
			sc.readImport(s)
		case len(s.toks) > 2 && s.toks[0].Kind == scan.Word && s.toks[1].Is("="):
			sc.readAlias(s.toks[0].Text, s.toks[2:])
		case s.is("type") && len(s.toks) > 3 && s.toks[2].Is("="):
			sc.readAlias(s.toks[1].Text, s.toks[3:])
		}
		data = false
	}
	for _, c := range sc.classes {
		sc.readMembers(c)
	}
	return sc
}

func joined(toks []token) string {
	var b strings.Builder
	for _, t := range toks {
		b.WriteString(t.Text)
	}
	return b.String()
}

func readClass(s statement) *class {
	c := &class{name: s.toks[1].Text}
	colon := scan.Index(s.toks, ":")
	if colon < 0 {
		colon = len(s.toks)
	}
	if open := scan.Index(s.toks[:colon], "("); open >= 0 {
		if end := scan.Match(s.toks[:colon], open); end > 0 {
			for _, base := range scan.Split(s.toks[open+1:end], ",") {
				if len(base) == 3 && base[1].Is("=") {
					c.partial = c.partial || base[0].Is("total") && base[2].Is("False")
					continue
				}
				c.bases = append(c.bases, parseType(base))
			}
		}
	}
	if colon+1 < len(s.toks) {
		c.body = []statement{{indent: 1, toks: s.toks[colon+1:]}}
	}
	return c
}

// readImport notes names that come from elsewhere, so that they are not taken for resource types.
func (sc *scope) readImport(s statement) {
	if len(s.toks) > 1 && s.toks[1].Is("wmill") {
		return
	}
	for i, t := range s.toks {
		if !t.Is("import") {
			continue
		}
		for _, part := range scan.Split(strip(s.toks[i+1:]), ",") {
			if len(part) == 0 {
				continue
			}
			local := part[len(part)-1].Text
			sc.imported[local] = true
			if original := part[0].Text; local != original { // datetime as dt
				if _, known := simple[original]; known || slices.Contains(arrays, original) || slices.Contains(objects, original) {
					sc.aliases[local] = typ{name: original}
				}
			}
		}
		return
	}
}

// strip takes away parentheses around the whole.
func strip(toks []token) []token {
	if len(toks) > 1 && toks[0].Is("(") && scan.Match(toks, 0) == len(toks)-1 {
		return toks[1 : len(toks)-1]
	}
	return toks
}

func (sc *scope) readAlias(name string, toks []token) {
	switch t := parseType(toks); {
	case t.name != "" || t.union != nil:
		sc.aliases[name] = t
	case len(toks) > 1 && toks[0].Is("TypedDict"):
		sc.aliases[name] = typ{name: "TypedDict"}
	case len(toks) > 4 && toks[0].Is("NewType") && toks[1].Is("("):
		if parts := scan.Split(strip(toks[1:]), ","); len(parts) > 1 {
			sc.aliases[name] = parseType(parts[1])
		}
	default:
		sc.imported[name] = true // TypeVar("T") and the like: what it allows only running tells
	}
}

// kindOf is the first base of c, its own bases included, that says what it is.
func (sc *scope) kindOf(c *class, depth int) string {
	for _, b := range c.bases {
		switch last := b.last(); last {
		case "Enum", "IntEnum", "StrEnum", "Flag", "IntFlag", "TypedDict", "BaseModel", "NamedTuple":
			return last
		default:
			if sc.steps++; sc.steps > maxSteps {
				return ""
			}
			if parent := sc.classes[last]; parent != nil && depth < 20 {
				if k := sc.kindOf(parent, depth+1); k != "" {
					return k
				}
			}
		}
	}
	if c.data {
		return "dataclass"
	}
	return ""
}

// readMembers notes the members of an enum class.
func (sc *scope) readMembers(c *class) {
	kind := sc.kindOf(c, 0)
	if !strings.HasSuffix(kind, "Enum") && !strings.HasSuffix(kind, "Flag") {
		return
	}
	next := 1
	for _, s := range c.body {
		if s.indent != c.body[0].indent || len(s.toks) < 3 || s.toks[0].Kind != scan.Word || !s.toks[1].Is("=") {
			continue
		}
		name, value := s.toks[0].Text, s.toks[2:]
		if lit, ok := literal(value, nil); ok {
			sc.members[c.name+"."+name] = lit
		} else if strings.HasSuffix(joined(value), "auto()") {
			if kind == "StrEnum" {
				sc.members[c.name+"."+name] = marshalText(strings.ToLower(name))
			} else {
				sc.members[c.name+"."+name] = json.RawMessage(strconv.Itoa(next))
			}
		} else {
			c.computed = true
		}
		next++
	}
}

// named is the schema of a name that the file defines.
func (sc *scope) named(name string) (runtimes.Schema, bool) {
	if sc.busy[name] {
		return runtimes.Schema{Type: "object"}, sc.classes[name] != nil || sc.aliases[name].name != ""
	}
	sc.busy[name] = true
	defer delete(sc.busy, name)
	if alias, ok := sc.aliases[name]; ok {
		s := sc.schema(alias)
		if sc.imported[name] {
			return s, true
		}
		if unicode.IsLower([]rune(name)[0]) && s.Type == "object" && s.Format == "" {
			s.Format = "resource-" + name // Windmill's way to write a resource type: postgresql = dict
		}
		return s, true
	}
	c := sc.classes[name]
	if c == nil {
		return runtimes.Schema{}, false
	}
	switch kind := sc.kindOf(c, 0); {
	case strings.HasSuffix(kind, "Flag") || c.computed:
		return runtimes.Schema{}, true
	case strings.HasSuffix(kind, "Enum"):
		var lits []json.RawMessage
		for _, s := range c.body {
			if lit, ok := sc.members[name+"."+s.toks[0].Text]; ok && len(s.toks) > 1 && s.toks[1].Is("=") {
				lits = append(lits, lit)
			}
		}
		return enumOf(lits), true
	case kind == "":
		return resource(name), true
	default:
		s := sc.record(c, 0)
		if kind == "TypedDict" && unicode.IsLower([]rune(name)[0]) {
			s.Format = "resource-" + name
		}
		return s, true
	}
}

// record is the schema of a class with fields, those of its bases included.
func (sc *scope) record(c *class, depth int) runtimes.Schema {
	s := runtimes.Schema{Type: "object", Properties: map[string]runtimes.Schema{}}
	for _, b := range c.bases {
		if sc.steps++; sc.steps > maxSteps {
			break
		}
		if parent := sc.classes[b.last()]; parent != nil && depth < 20 {
			inherited := sc.record(parent, depth+1)
			for k, v := range inherited.Properties {
				s.Properties[k] = v
			}
			s.Required = append(s.Required, inherited.Required...)
		}
	}
	for _, f := range c.body {
		if f.indent != c.body[0].indent || len(f.toks) < 3 || f.toks[0].Kind != scan.Word || !f.toks[1].Is(":") {
			continue
		}
		annotation, value := f.toks[2:], []token(nil)
		if eq := scan.Index(annotation, "="); eq >= 0 {
			annotation, value = annotation[:eq], annotation[eq+1:]
		}
		t := parseType(annotation)
		if t.last() == "ClassVar" {
			continue
		}
		field := sc.schema(t)
		required := value == nil && !t.optional() && t.last() != "NotRequired" && (!c.partial || t.last() == "Required")
		if value != nil {
			required = sc.fieldDefault(&field, value)
		}
		s.Properties[f.toks[0].Text] = field
		if required {
			s.Required = append(s.Required, f.toks[0].Text)
		}
	}
	if len(s.Properties) == 0 {
		s.Properties = nil
	}
	return s
}

// fieldDefault reads what follows the = of a field: a literal, or a call of field() or Field(). It says whether a value must
// be given all the same.
func (sc *scope) fieldDefault(field *runtimes.Schema, value []token) (required bool) {
	if lit, ok := literal(value, sc.members); ok {
		field.Default = lit
		return false
	}
	open := scan.Index(value, "(")
	if open < 1 || !strings.EqualFold(value[open-1].Text, "field") || scan.Match(value, open) != len(value)-1 {
		return false
	}
	required = true
	for i, arg := range scan.Split(value[open+1:len(value)-1], ",") {
		key := "default"
		if len(arg) > 2 && arg[1].Is("=") {
			key, arg = arg[0].Text, arg[2:]
		} else if i > 0 {
			continue
		}
		switch key {
		case "default":
			if len(arg) == 1 && arg[0].Is("...") {
				continue
			}
			required = false
			field.Default, _ = literal(arg, sc.members)
		case "default_factory":
			required = false
		case "description":
			if lit, ok := literal(arg, nil); ok {
				_ = json.Unmarshal(lit, &field.Description) // not text: no description
			}
		}
	}
	return required
}
