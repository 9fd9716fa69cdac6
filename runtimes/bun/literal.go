package bun

import (
	"encoding/json"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/millrace/millrace/runtimes/scan"
)

// values reads literals. Members of enums are literals too: what they stand for is known.
type values struct {
	toks    []token
	members map[string]json.RawMessage // "Color.Red" -> "red"
	depth   int
}

// literal returns the JSON of an expression that is a literal, or false.
func literal(toks []token, members map[string]json.RawMessage) (json.RawMessage, bool) {
	for i, t := range toks { // "x as const", "[] as string[]", "{} satisfies T"
		if i > 0 && t.Kind == scan.Word && (t.Text == "as" || t.Text == "satisfies") && outside(toks, i) {
			toks = toks[:i]
			break
		}
	}
	v := &values{toks: toks, members: members}
	out, ok := v.value()
	if !ok || len(v.toks) > 0 || !json.Valid(out) {
		return nil, false
	}
	return out, true
}

// outside says whether the token at i is in no bracket.
func outside(toks []token, i int) bool {
	depth := 0
	for _, t := range toks[:i] {
		switch {
		case t.Is("(") || t.Is("[") || t.Is("{"):
			depth++
		case t.Is(")") || t.Is("]") || t.Is("}"):
			depth--
		}
	}
	return depth == 0
}

func (v *values) take(word string) bool {
	if len(v.toks) == 0 || !v.toks[0].Is(word) {
		return false
	}
	v.toks = v.toks[1:]
	return true
}

func (v *values) value() (json.RawMessage, bool) {
	if len(v.toks) == 0 || v.depth > 100 {
		return nil, false
	}
	v.depth++
	defer func() { v.depth-- }()
	t := v.toks[0]
	switch {
	case t.Kind == scan.String:
		v.toks = v.toks[1:]
		s, ok := unquote(t.Text)
		return marshalText(s), ok
	case t.Kind == scan.Number:
		v.toks = v.toks[1:]
		return numberJSON(t.Text)
	case t.Is("."): // .5
		if len(v.toks) > 1 && v.toks[1].Kind == scan.Number && v.toks[1].Pos == t.End() {
			n := v.toks[1].Text
			v.toks = v.toks[2:]
			return numberJSON("0." + n)
		}
	case t.Is("-") || t.Is("+"):
		v.toks = v.toks[1:]
		out, ok := v.value()
		if !ok || out[0] < '0' || out[0] > '9' {
			return nil, false
		}
		if t.Text == "-" {
			out = append([]byte{'-'}, out...)
		}
		return out, true
	case t.Is("("):
		v.toks = v.toks[1:]
		out, ok := v.value()
		return out, ok && v.take(")")
	case t.Is("["):
		return v.array()
	case t.Is("{"):
		return v.object()
	case t.Kind == scan.Word:
		return v.name()
	}
	return nil, false
}

func (v *values) name() (json.RawMessage, bool) {
	word := v.toks[0].Text
	v.toks = v.toks[1:]
	switch word {
	case "null", "true", "false":
		return json.RawMessage(word), true
	}
	for len(v.toks) > 1 && v.toks[0].Is(".") && v.toks[1].Kind == scan.Word {
		word += "." + v.toks[1].Text
		v.toks = v.toks[2:]
	}
	out, ok := v.members[word]
	return out, ok
}

func (v *values) array() (json.RawMessage, bool) {
	v.toks = v.toks[1:]
	out, comma := []byte{'['}, true
	for !v.take("]") {
		if !comma {
			return nil, false
		}
		item, ok := v.value()
		if !ok {
			return nil, false
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(out, item...)
		comma = v.take(",")
	}
	return append(out, ']'), true
}

func (v *values) object() (json.RawMessage, bool) {
	v.toks = v.toks[1:]
	out, comma := []byte{'{'}, true
	for !v.take("}") {
		if !comma || len(v.toks) < 2 {
			return nil, false
		}
		var key json.RawMessage
		switch k := v.toks[0]; k.Kind {
		case scan.Word, scan.Number:
			key = marshalText(k.Text)
		case scan.String:
			s, ok := unquote(k.Text)
			if !ok {
				return nil, false
			}
			key = marshalText(s)
		default:
			return nil, false
		}
		v.toks = v.toks[1:]
		if !v.take(":") {
			return nil, false
		}
		item, ok := v.value()
		if !ok {
			return nil, false
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(append(append(out, key...), ':'), item...)
		comma = v.take(",")
	}
	return append(out, '}'), true
}

func marshalText(s string) json.RawMessage {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if e.Encode(s) != nil {
		return json.RawMessage(`""`)
	}
	return json.RawMessage(strings.TrimSuffix(b.String(), "\n"))
}

// unquote gives the value of a string literal; false for a template with expressions and for a regular expression.
func unquote(lit string) (string, bool) {
	if len(lit) < 2 || lit[0] == '/' || lit[0] == '`' && strings.Contains(lit, "${") {
		return "", false
	}
	body := lit[1 : len(lit)-1]
	if !strings.Contains(body, `\`) {
		return body, true
	}
	var b strings.Builder
	var high rune // first half of a surrogate pair
	for i := 0; i < len(body); {
		if body[i] != '\\' || i+1 == len(body) {
			b.WriteByte(body[i])
			i++
			continue
		}
		r, n := escape(body[i+1:])
		i += 1 + n
		switch {
		case r >= 0xd800 && r < 0xdc00:
			high = r
			continue
		case high != 0 && utf16.IsSurrogate(r):
			r = utf16.DecodeRune(high, r)
		}
		high = 0
		if r >= 0 {
			b.WriteRune(r)
		}
	}
	return b.String(), true
}

// escape reads what follows a backslash and says how long it is; -1 for nothing (a continued line).
func escape(s string) (rune, int) {
	hex := func(from, to int) (rune, int) {
		if to > len(s) {
			return utf8.RuneError, len(s)
		}
		n, err := strconv.ParseUint(s[from:to], 16, 32)
		if err != nil || n > utf8.MaxRune {
			return utf8.RuneError, to
		}
		return rune(n), to
	}
	switch s[0] {
	case 'n':
		return '\n', 1
	case 't':
		return '\t', 1
	case 'r':
		return '\r', 1
	case 'b':
		return '\b', 1
	case 'f':
		return '\f', 1
	case 'v':
		return '\v', 1
	case '0':
		return 0, 1
	case '\n':
		return -1, 1
	case 'x':
		return hex(1, 3)
	case 'u':
		if end := strings.IndexByte(s, '}'); strings.HasPrefix(s, "u{") && end > 0 {
			r, _ := hex(2, end)
			return r, end + 1
		}
		return hex(1, 5)
	}
	return utf8.DecodeRuneInString(s)
}

// numberJSON writes a JavaScript number the way JSON does.
func numberJSON(s string) (json.RawMessage, bool) {
	s = strings.TrimSuffix(strings.ToLower(strings.ReplaceAll(s, "_", "")), "n")
	if n, ok := new(big.Int).SetString(s, 0); ok && (len(s) < 2 || s[0] != '0' || strings.ContainsAny(s[1:2], "xob")) {
		return json.RawMessage(n.String()), true
	}
	s = strings.Replace(s, ".e", ".0e", 1)
	if strings.HasSuffix(s, ".") {
		s += "0"
	}
	if _, err := strconv.ParseFloat(s, 64); err != nil || !json.Valid([]byte(s)) {
		return nil, false
	}
	return json.RawMessage(s), true
}
