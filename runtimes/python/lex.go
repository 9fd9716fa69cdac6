package python

import (
	"strings"

	"github.com/millrace/millrace/runtimes"
	"github.com/millrace/millrace/runtimes/scan"
)

var language = scan.Language{
	LineComments: []string{"#"},
	Quotes: []scan.Quote{
		{Open: `"""`, Close: `"""`, Escape: true, Multiline: true},
		{Open: `'''`, Close: `'''`, Escape: true, Multiline: true},
		{Open: `"`, Close: `"`, Escape: true},
		{Open: `'`, Close: `'`, Escape: true},
	},
	Operators: []string{"...", "**=", "//=", "->", ":=", "**", "==", "!=", "<=", ">=", "//"},
	Newlines:  true,
	Prefixes:  "rbfuRBFU",
}

type token = scan.Token

// statement is a logical line: brackets and backslashes have joined what they join. A comment is no part of it.
type statement struct {
	indent int
	toks   []token
}

func (s statement) line() int { return s.toks[0].Line }

// is says whether the statement begins with the given words.
func (s statement) is(words ...string) bool {
	if len(s.toks) < len(words) {
		return false
	}
	for i, w := range words {
		if !s.toks[i].Is(w) {
			return false
		}
	}
	return true
}

// module is a source cut into statements.
type module struct {
	statements []statement
	comments   map[int]string // by line: without the mark, trimmed
	alone      map[int]bool   // lines that hold nothing but a comment
}

var closes = map[string]string{")": "(", "]": "[", "}": "{"}

// lex cuts src. The error is a *runtimes.SourceError for strings and brackets that do not end.
func lex(src string) (*module, error) {
	toks, err := scan.Tokens(strings.TrimPrefix(src, "\ufeff"), language)
	if err != nil {
		return nil, err
	}
	m := &module{comments: map[int]string{}, alone: map[int]bool{}}
	var current statement
	var open []token
	code := 0 // the last line with code
	end := func(indent int) {
		if len(current.toks) > 0 {
			m.statements = append(m.statements, current)
		}
		current = statement{indent: indent}
	}
	for _, t := range toks {
		switch {
		case t.Kind == scan.Comment:
			m.comments[t.Line] = strings.TrimSpace(t.Text[1:])
			m.alone[t.Line] = code != t.Line
			continue
		case t.Kind == scan.Newline || t.Kind == scan.EOF:
			if len(open) == 0 {
				end(0)
			}
			continue
		case t.Is(";") && len(open) == 0:
			end(current.indent)
			continue
		}
		if t.Kind == scan.Punct {
			if open, err = bracket(open, t); err != nil {
				return nil, err
			}
		}
		code = t.Line + strings.Count(t.Text, "\n")
		current.add(t)
	}
	if n := len(open); n > 0 {
		return nil, syntaxError(open[n-1].Line, "'"+open[n-1].Text+"' was never closed")
	}
	end(0)
	return m, nil
}

func bracket(open []token, t token) ([]token, error) {
	switch t.Text {
	case "(", "[", "{":
		return append(open, t), nil
	case ")", "]", "}":
		n := len(open)
		if n == 0 {
			return nil, syntaxError(t.Line, "unmatched '"+t.Text+"'")
		}
		if open[n-1].Text != closes[t.Text] {
			return nil, syntaxError(t.Line, "closing parenthesis '"+t.Text+"' does not match opening parenthesis '"+open[n-1].Text+"'")
		}
		return open[:n-1], nil
	}
	return open, nil
}

// add appends t. A number that begins with its point is one word.
func (s *statement) add(t token) {
	n := len(s.toks)
	if n == 0 && s.indent == 0 {
		s.indent = t.Col
	}
	if n > 0 && t.Kind == scan.Number && s.toks[n-1].Is(".") && s.toks[n-1].End() == t.Pos {
		operand := n > 1 && (s.toks[n-2].Kind == scan.Word || s.toks[n-2].Is(")") || s.toks[n-2].Is("]"))
		if !operand {
			s.toks[n-1].Kind, s.toks[n-1].Text = scan.Number, "."+t.Text
			return
		}
	}
	s.toks = append(s.toks, t)
}

func syntaxError(line int, message string) error {
	return &runtimes.SourceError{Name: "SyntaxError", Message: message, Line: line}
}
