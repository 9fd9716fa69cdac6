package python

import (
	"encoding/json"
	"strings"

	"github.com/millrace/millrace/runtimes"
	"github.com/millrace/millrace/runtimes/scan"
)

// Parse reads the signature of main from its text, without running anything. What only running tells (a default that is a
// call, a class from another module) is left open: such a parameter accepts anything and is not required.
func (*Python) Parse(source string) (runtimes.Signature, error) {
	m, err := lex(source)
	if err != nil {
		return runtimes.Signature{}, err
	}
	var sig runtimes.Signature
	at := -1
	for i, s := range m.statements {
		if s.indent > 0 {
			continue
		}
		switch defined(s) {
		case "main":
			at = i // the last one counts, as it does in Python
		case "preprocessor":
			sig.HasPreprocessor = true
		}
	}
	if at < 0 {
		return sig, nil
	}
	def := m.statements[at]
	sig.HasMain, sig.Async = true, def.is("async")
	params, body, err := header(def)
	if err != nil {
		return runtimes.Signature{}, err
	}
	docs := docOf(m, at, body)
	sig.Doc = docs.text
	sc := newScope(m)
	for _, t := range def.toks[:max(0, scan.Index(def.toks, "("))] {
		sc.imported[t.Text] = true // def main[T](x: T)
	}
	for _, part := range scan.Split(params, ",") {
		p, ok, err := sc.param(part)
		if err != nil {
			return runtimes.Signature{}, err
		}
		if ok {
			p.Doc = docs.params[p.Name]
			sig.Params = append(sig.Params, p)
		}
	}
	sig.Result = sc.result(def)
	return sig, nil
}

// result is the schema of what a def says it returns; nil: it says nothing that a schema could.
func (sc *scope) result(def statement) *runtimes.Schema {
	rest := def.toks[scan.Match(def.toks, scan.Index(def.toks, "("))+1:]
	rest = rest[:scan.Index(rest, ":")]
	if len(rest) < 2 || !rest[0].Is("->") {
		return nil
	}
	s := sc.schema(parseType(rest[1:]))
	if isAny(s) {
		return nil
	}
	return &s
}

// defined is the name of the function that s defines.
func defined(s statement) string {
	toks := s.toks
	if s.is("async") {
		toks = toks[1:]
	}
	if len(toks) > 1 && toks[0].Is("def") {
		return toks[1].Text
	}
	return ""
}

// header splits a def into what is between its parentheses and what follows its colon.
func header(s statement) (params, body []token, err error) {
	open := scan.Index(s.toks, "(")
	end := -1
	if open >= 0 {
		end = scan.Match(s.toks, open)
	}
	if end < 0 {
		return nil, nil, syntaxError(s.line(), "expected '('")
	}
	rest := s.toks[end+1:]
	colon := scan.Index(rest, ":")
	if colon < 0 {
		return nil, nil, syntaxError(s.toks[end].Line, "expected ':'")
	}
	return s.toks[open+1 : end], rest[colon+1:], nil
}

// param reads one parameter; false for the marks / and *, for *args and **kwargs, and for nothing after a last comma.
func (sc *scope) param(toks []token) (runtimes.Param, bool, error) {
	if len(toks) == 0 || toks[0].Is("*") || toks[0].Is("**") || toks[0].Is("/") {
		return runtimes.Param{}, false, nil
	}
	if toks[0].Kind != scan.Word {
		return runtimes.Param{}, false, syntaxError(toks[0].Line, "invalid syntax")
	}
	p := runtimes.Param{Name: toks[0].Text, Required: true}
	rest, annotated := toks[1:], false
	if len(rest) > 0 && rest[0].Is(":") {
		annotation := rest[1:]
		rest = nil
		if eq := scan.Index(annotation, "="); eq >= 0 {
			annotation, rest = annotation[:eq], annotation[eq:]
		}
		if len(annotation) == 0 {
			return p, false, syntaxError(toks[0].Line, "invalid syntax")
		}
		t := parseType(annotation)
		p.Schema = sc.schema(t)
		p.Required = !t.optional()
		annotated = true
	}
	if len(rest) == 0 {
		return p, true, nil
	}
	if !rest[0].Is("=") || len(rest) == 1 {
		return p, false, syntaxError(rest[0].Line, "invalid syntax")
	}
	p.Required = false
	if value, ok := literal(rest[1:], sc.members); ok {
		p.Default = value
		if !annotated {
			p.Schema.Type = typeOf(value)
		}
	}
	return p, true, nil
}

// typeOf is the JSON Schema type of a value, nil for null.
func typeOf(value json.RawMessage) any {
	switch c := value[0]; {
	case c == '"':
		return "string"
	case c == 't' || c == 'f':
		return "boolean"
	case c == '[':
		return "array"
	case c == '{':
		return "object"
	case c == 'n':
		return nil
	case strings.ContainsAny(string(value), ".eE"):
		return "number"
	default:
		return "integer"
	}
}
