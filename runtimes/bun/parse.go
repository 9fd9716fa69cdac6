package bun

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/millrace/millrace/runtimes"
	"github.com/millrace/millrace/runtimes/scan"
)

// Parse reads the signature of the exported main from its text, without running anything. What only running tells (a default
// that is a call, a type of another module) is left open.
func (*Bun) Parse(text string) (runtimes.Signature, error) {
	s := lex(text)
	fs := functions(s)
	sig := runtimes.Signature{HasPreprocessor: fs.exported("preprocessor") != nil}
	main := fs.exported("main")
	if main == nil {
		return sig, s.err // an unfinished string may hide it
	}
	sig.HasMain, sig.Async = true, main.async
	params, err := parameters(s, main)
	if err != nil {
		return runtimes.Signature{}, err
	}
	docs := readDoc(s.comment(main.start))
	sig.Doc = docs.text
	for _, p := range params {
		p.Doc = docs.params[p.Name]
		sig.Params = append(sig.Params, p.Param)
	}
	sig.Result = result(s, main)
	return sig, nil
}

// result is the schema of what f says it returns; nil: it says nothing that a schema could.
func result(s *source, f *function) *runtimes.Schema {
	if f.name >= 0 { // x => ...
		return nil
	}
	end := skipBracket(s.toks, f.open)
	if end >= len(s.toks) || !s.toks[end].Is(":") {
		return nil
	}
	sc := newScope(s)
	for _, g := range f.generics {
		sc.imported[g] = true
	}
	t := (&typeParser{src: s, toks: s.toks, at: end + 1}).parse()
	if t.shape == named && (t.name == "Promise" || t.name == "PromiseLike") && len(t.args) == 1 {
		t = t.args[0]
	}
	if t.shape == named && t.name == "void" {
		return nil
	}
	schema := sc.schema(t)
	if isAny(schema) {
		return nil
	}
	return &schema
}

// parameter is a parameter with what its value is made into.
type parameter struct {
	runtimes.Param
	kind string // "", "date", "bigint" or "bytes"
}

// order is the text after the name of an entry in the request: the parameters in order, each as [name, required, kind]. It is
// "" for a function that the parser does not find.
func order(text, entry string) string {
	s := lex(text)
	f := functions(s).exported(entry)
	if f == nil {
		return ""
	}
	params, err := parameters(s, f)
	if err != nil {
		return ""
	}
	list := make([][3]any, 0, len(params))
	for _, p := range params {
		list = append(list, [3]any{p.Name, p.Required, p.kind})
	}
	out, err := json.Marshal(list)
	if err != nil {
		return ""
	}
	return "\n" + string(out)
}

// parameters reads what is between the parentheses of f.
func parameters(s *source, f *function) ([]parameter, error) {
	toks := s.toks
	if f.name >= 0 { // x => ...
		return []parameter{{Param: runtimes.Param{Name: toks[f.name].Text, Required: true}}}, nil
	}
	end := scan.Match(toks, f.open)
	if end < 0 {
		return nil, syntaxError(toks[f.open].Line, "the parameters of main do not end")
	}
	sc := newScope(s)
	for _, g := range f.generics {
		sc.imported[g] = true
	}
	var out []parameter
	anonymous := 0
	p := &typeParser{src: s, toks: toks[:end], at: f.open + 1}
	for p.at < end {
		if p.take("...") {
			break // the rest takes what nobody names
		}
		one, err := sc.parameter(p, &anonymous)
		if err != nil {
			return nil, err
		}
		if one.Name != "this" {
			out = append(out, one)
		}
		if !p.take(",") && p.at < end {
			return nil, syntaxError(p.peek().Line, fmt.Sprintf("unexpected %q among the parameters of main", p.peek().Text))
		}
	}
	return out, nil
}

func (sc *scope) parameter(p *typeParser, anonymous *int) (parameter, error) {
	var out parameter
	var pattern []token
	switch t := p.peek(); {
	case t.Is("{") || t.Is("["):
		end := skipBracket(p.toks, p.at)
		pattern = p.toks[p.at:end]
		p.at = end
		*anonymous++
		out.Name = fmt.Sprintf("anon%d", *anonymous)
	case t.Kind == scan.Word:
		p.at++
		out.Name = t.Text
	default:
		return out, syntaxError(t.Line, fmt.Sprintf("unexpected %q among the parameters of main", t.Text))
	}
	out.Required = !p.take("?")
	typed := false
	if p.take(":") {
		typed = true
		t := p.parse()
		out.Schema = sc.schema(t)
		out.kind = kindOf(t)
		out.Required = out.Required && !sc.optional(t)
	}
	if pattern != nil {
		sc.destructured(&out.Schema, pattern, typed)
	}
	if !p.take("=") {
		return out, nil
	}
	start := p.at
	p.at = skipExpression(p.toks, p.at)
	out.Required = false
	if value, ok := literal(p.toks[start:p.at], sc.members); ok {
		out.Default = value
		if !typed && pattern == nil {
			out.Schema.Type = typeOf(value)
		}
	}
	return out, nil
}

// kindOf says what the wrapper makes of a value of type t.
func kindOf(t typ) string {
	if t.shape == union {
		kinds := map[string]bool{}
		for _, a := range t.args {
			if a.shape != named || a.name != "null" && a.name != "undefined" {
				kinds[kindOf(a)] = true
			}
		}
		for k := range kinds {
			if len(kinds) == 1 {
				return k
			}
		}
		return ""
	}
	if t.shape != named {
		return ""
	}
	switch t.name {
	case "Date":
		return "date"
	case "bigint":
		return "bigint"
	case "Uint8Array", "Buffer":
		return "bytes"
	}
	return ""
}

// destructured adds to a schema what the pattern { a, b = 2 } says: names, defaults.
func (sc *scope) destructured(s *runtimes.Schema, pattern []token, typed bool) {
	if pattern[0].Is("[") {
		if !typed {
			s.Type = "array"
		}
		return
	}
	if !typed {
		s.Type, s.Properties = "object", map[string]runtimes.Schema{}
	}
	if s.Properties == nil {
		return
	}
	for _, part := range scan.Split(pattern[1:max(1, len(pattern)-1)], ",") {
		if len(part) == 0 || part[0].Kind != scan.Word {
			continue
		}
		name := part[0].Text
		field, known := s.Properties[name]
		if typed && !known {
			continue
		}
		if eq := scan.Index(part, "="); eq > 0 {
			if value, ok := literal(part[eq+1:], sc.members); ok {
				field.Default = value
				if !typed {
					field.Type = typeOf(value)
				}
			}
			s.Required = slices.DeleteFunc(slices.Clone(s.Required), func(r string) bool { return r == name })
		} else if !typed {
			s.Required = append(s.Required, name)
		}
		s.Properties[name] = field
	}
}

// skipExpression returns the index after the expression at i: the next comma outside all brackets, or the end.
func skipExpression(toks []token, i int) int {
	for i < len(toks) && !toks[i].Is(",") {
		switch t := toks[i]; {
		case t.Is("(") || t.Is("[") || t.Is("{"):
			i = skipBracket(toks, i)
			continue
		case t.Is("<"): // new Map<string, number>()
			if end := skipAngles(toks, i); end < len(toks) && (toks[end].Is("(") || toks[end].Is("[")) || end == len(toks) && end > i {
				i = end
				continue
			}
		}
		i++
	}
	return i
}

// docs is what a JSDoc comment says.
type docs struct {
	text   string
	params map[string]string
}

var (
	docTag   = regexp.MustCompile(`^@(\w+)\s*(.*)$`)
	docParam = regexp.MustCompile(`^(?:\{[^}]*\}\s*)?\[?([\w$.]+)(?:\s*=[^\]]*)?\]?\s*(?:-\s*)?(.*)$`)
)

func readDoc(comment string) docs {
	d := docs{params: map[string]string{}}
	var text []string
	tag, current := "", ""
	for _, line := range strings.Split(comment, "\n") {
		line = strings.TrimSpace(line)
		if m := docTag.FindStringSubmatch(line); m != nil {
			tag, current = m[1], ""
			if tag == "param" || tag == "arg" || tag == "argument" {
				if p := docParam.FindStringSubmatch(m[2]); p != nil {
					current = p[1]
					d.params[current] = strings.TrimSpace(p[2])
				}
			}
			if tag == "description" || tag == "summary" {
				tag = ""
				text = append(text, m[2])
			}
			continue
		}
		switch {
		case tag == "":
			text = append(text, line)
		case current != "" && line != "":
			d.params[current] = strings.TrimSpace(d.params[current] + " " + line)
		}
	}
	d.text = strings.TrimSpace(strings.Join(text, "\n"))
	return d
}
