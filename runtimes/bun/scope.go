package bun

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/millrace/millrace/runtimes/scan"
)

// maxSteps bounds the work for one signature: types that name each other twice would otherwise double with each name.
const maxSteps = 4000

// scope holds what the file itself says of the names in types.
type scope struct {
	types    map[string]definition
	enums    map[string][]json.RawMessage
	members  map[string]json.RawMessage // of enums: "Color.Red" -> "red"
	imported map[string]bool            // from anywhere but Windmill's client
	busy     map[string]bool            // names being looked at, against types that contain themselves
	steps    int                        // types looked at so far
}

// definition is a type alias, an interface, or a class.
type definition struct {
	typ    typ
	params []string // of generics: anything
}

// newScope reads the top level of s.
func newScope(s *source) *scope {
	sc := &scope{types: map[string]definition{}, enums: map[string][]json.RawMessage{}, members: map[string]json.RawMessage{},
		imported: map[string]bool{}, busy: map[string]bool{}}
	for i := 0; i < len(s.toks); i++ {
		t := s.toks[i]
		next := token{}
		if i+1 < len(s.toks) {
			next = s.toks[i+1]
		}
		switch {
		case t.Is("(") || t.Is("[") || t.Is("{"):
			i = skipBracket(s.toks, i) - 1
		case t.Is("import"):
			i = sc.readImport(s, i)
		case t.Kind == scan.Word && next.Kind != scan.Word:
		case t.Is("type"):
			i = sc.readAlias(s, i+1)
		case t.Is("interface"):
			i = sc.readInterface(s, i+1)
		case t.Is("enum"):
			i = sc.readEnum(s, i+1)
		}
	}
	return sc
}

// readImport notes names that come from elsewhere, so that they are not taken for resource types.
func (sc *scope) readImport(s *source, i int) int {
	var names []string
	for j := i + 1; j < len(s.toks); j++ {
		switch t := s.toks[j]; {
		case t.Kind == scan.String:
			if from, _ := unquote(t.Text); !strings.HasPrefix(packageOf(from), "windmill-client") {
				for _, n := range names {
					sc.imported[n] = true
				}
			}
			return j
		case t.Is(";") || t.Is("("):
			return j - 1
		case t.Kind == scan.Word && !t.Is("as") && !t.Is("from") && !t.Is("type"):
			names = append(names, t.Text)
		}
	}
	return len(s.toks)
}

// generics reads <T, U extends V> at index i and returns the names and the index after.
func generics(toks []token, i int) ([]string, int) {
	if i >= len(toks) || !toks[i].Is("<") {
		return nil, i
	}
	end := skipAngles(toks, i)
	var names []string
	for j := i + 1; j < end; j++ {
		if toks[j].Kind == scan.Word && (toks[j-1].Is("<") || toks[j-1].Is(",")) {
			names = append(names, toks[j].Text)
		}
	}
	return names, max(end, i+1)
}

func (sc *scope) readAlias(s *source, i int) int {
	name := s.toks[i].Text
	params, at := generics(s.toks, i+1)
	if at >= len(s.toks) || !s.toks[at].Is("=") {
		return i
	}
	p := &typeParser{src: s, toks: s.toks, at: at + 1}
	sc.types[name] = definition{typ: p.parse(), params: params}
	return max(p.at-1, at)
}

func (sc *scope) readInterface(s *source, i int) int {
	name := s.toks[i].Text
	params, at := generics(s.toks, i+1)
	p := &typeParser{src: s, toks: s.toks, at: at}
	out := typ{shape: intersection}
	if p.take("extends") {
		for {
			out.args = append(out.args, p.postfix())
			if !p.take(",") {
				break
			}
		}
	}
	if !p.peek().Is("{") {
		return i
	}
	out.args = append(out.args, p.primary())
	if before, ok := sc.types[name]; ok && before.typ.shape == intersection { // declared in parts
		out.args = append(before.typ.args, out.args...)
	}
	sc.types[name] = definition{typ: out, params: params}
	return max(p.at-1, at)
}

func (sc *scope) readEnum(s *source, i int) int {
	if i+1 >= len(s.toks) || !s.toks[i+1].Is("{") {
		return i
	}
	name, end := s.toks[i].Text, skipBracket(s.toks, i+1)
	next := 0
	for _, part := range scan.Split(s.toks[i+2:max(i+2, end-1)], ",") {
		if len(part) == 0 {
			continue
		}
		member := part[0].Text
		if part[0].Kind == scan.String {
			member, _ = unquote(part[0].Text)
		}
		value := json.RawMessage(strconv.Itoa(next))
		if len(part) > 2 && part[1].Is("=") {
			v, ok := literal(part[2:], sc.members)
			if !ok { // computed: nobody knows all the values
				delete(sc.enums, name)
				sc.imported[name] = true
				return end - 1
			}
			value = v
		}
		if n, err := strconv.Atoi(string(value)); err == nil {
			next = n + 1
		}
		sc.members[name+"."+member] = value
		sc.enums[name] = append(sc.enums[name], value)
	}
	return end - 1
}
