package python

import (
	"encoding/base64"
	"encoding/json"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/millrace/millrace/runtimes/scan"
)

// values reads literals. Names of enum members are literals too: what they stand for is known.
type values struct {
	toks    []token
	members map[string]json.RawMessage // "Color.RED" -> "red"
	depth   int
}

// literal returns the JSON of an expression that is a literal, or false.
func literal(toks []token, members map[string]json.RawMessage) (json.RawMessage, bool) {
	v := &values{toks: toks, members: members}
	out, ok := v.value()
	if !ok || len(v.toks) > 0 || !json.Valid(out) {
		return nil, false
	}
	return out, true
}

func (v *values) peek() string {
	if len(v.toks) == 0 || v.toks[0].Kind == scan.String {
		return ""
	}
	return v.toks[0].Text
}

func (v *values) take(word string) bool {
	if v.peek() != word {
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
	switch t.Kind {
	case scan.String:
		return v.strings()
	case scan.Number:
		v.toks = v.toks[1:]
		return numberJSON(t.Text)
	case scan.Word:
		return v.name()
	}
	switch t.Text {
	case "-", "+":
		v.toks = v.toks[1:]
		out, ok := v.value()
		if !ok || !(isDigit(out[0]) || out[0] == '-') {
			return nil, false
		}
		if t.Text == "-" {
			out = []byte(strings.Replace("-"+string(out), "--", "", 1))
		}
		return out, true
	case "[":
		return v.list("]")
	case "(":
		return v.list(")")
	case "{":
		return v.dict()
	}
	return nil, false
}

func (v *values) name() (json.RawMessage, bool) {
	word := v.toks[0].Text
	v.toks = v.toks[1:]
	switch word {
	case "None":
		return json.RawMessage("null"), true
	case "True":
		return json.RawMessage("true"), true
	case "False":
		return json.RawMessage("false"), true
	}
	for v.peek() == "." && len(v.toks) > 1 && v.toks[1].Kind == scan.Word {
		word += "." + v.toks[1].Text
		v.toks = v.toks[2:]
	}
	out, ok := v.members[strings.TrimSuffix(word, ".value")]
	return out, ok
}

// list reads up to the closing bracket. Parentheses around one value without a comma are no tuple.
func (v *values) list(end string) (json.RawMessage, bool) {
	v.toks = v.toks[1:]
	out, n, comma := []byte{'['}, 0, false
	for !v.take(end) {
		if n > 0 && !comma {
			return nil, false
		}
		item, ok := v.value()
		if !ok {
			return nil, false
		}
		if n > 0 {
			out = append(out, ',')
		}
		out = append(out, item...)
		n++
		comma = v.take(",")
	}
	if end == ")" && n == 1 && !comma {
		return out[1:], true
	}
	return append(out, ']'), true
}

// dict reads a dict, or a set, which becomes an array: what follows the first value tells.
func (v *values) dict() (json.RawMessage, bool) {
	v.toks = v.toks[1:]
	if v.take("}") {
		return json.RawMessage("{}"), true
	}
	var out []byte
	var isDict bool
	for n := 0; ; n++ {
		key, ok := v.value()
		if !ok {
			return nil, false
		}
		if n == 0 {
			isDict = v.peek() == ":"
			out = append(out, map[bool]byte{true: '{', false: '['}[isDict])
		} else {
			out = append(out, ',')
		}
		if isDict {
			if key[0] != '"' {
				key = marshalText(string(key))
			}
			if !v.take(":") {
				return nil, false
			}
			out = append(append(out, key...), ':')
			if key, ok = v.value(); !ok {
				return nil, false
			}
		}
		out = append(out, key...)
		comma := v.take(",")
		if v.take("}") {
			break
		}
		if !comma {
			return nil, false
		}
	}
	return append(out, map[bool]byte{true: '}', false: ']'}[isDict]), true
}

// strings joins adjacent literals. Bytes become base64, as arguments of that type are given.
func (v *values) strings() (json.RawMessage, bool) {
	var b strings.Builder
	isBytes := false
	for len(v.toks) > 0 && v.toks[0].Kind == scan.String {
		s, bytes, ok := unquote(v.toks[0].Text)
		if !ok {
			return nil, false
		}
		isBytes = isBytes || bytes
		b.WriteString(s)
		v.toks = v.toks[1:]
	}
	s := b.String()
	if isBytes {
		s = base64.StdEncoding.EncodeToString([]byte(s))
	}
	return marshalText(s), true
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

// unquote gives the value of one string literal; false for an f-string, whose value only running tells.
func unquote(lit string) (s string, isBytes, ok bool) {
	at := strings.IndexAny(lit, `"'`)
	prefix := strings.ToLower(lit[:at])
	if strings.Contains(prefix, "f") {
		return "", false, false
	}
	isBytes = strings.Contains(prefix, "b")
	width := 1
	if rest := lit[at:]; len(rest) >= 6 && rest[0] == rest[1] && rest[1] == rest[2] {
		width = 3
	}
	if len(lit) < at+2*width {
		return "", false, false
	}
	body := lit[at+width : len(lit)-width]
	if strings.Contains(prefix, "r") || !strings.Contains(body, `\`) {
		return body, isBytes, true
	}
	return unescape(body, isBytes), isBytes, true
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

var simpleEscapes = map[byte]string{
	'\n': "", '\\': `\`, '\'': "'", '"': `"`, 'a': "\a", 'b': "\b", 'f': "\f", 'n': "\n", 'r': "\r", 't': "\t", 'v': "\v",
}

func unescape(s string, isBytes bool) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		c := s[i]
		if out, ok := simpleEscapes[c]; ok {
			b.WriteString(out)
			continue
		}
		digits, base := 0, 16
		switch {
		case c == 'x':
			digits = 2
		case c == 'u' && !isBytes:
			digits = 4
		case c == 'U' && !isBytes:
			digits = 8
		case c >= '0' && c <= '7':
			base = 8
			for digits < 3 && i+digits < len(s) && s[i+digits] >= '0' && s[i+digits] <= '7' {
				digits++
			}
			i--
		}
		n, err := uint64(0), strconv.ErrSyntax
		if digits > 0 && i+digits < len(s) {
			n, err = strconv.ParseUint(s[i+1:i+1+digits], base, 32)
		}
		switch {
		case err != nil: // Python keeps the backslash of what is no escape
			b.WriteByte('\\')
			b.WriteByte(c)
			continue
		case isBytes:
			b.WriteByte(byte(n))
		case n > utf8.MaxRune:
			b.WriteRune(utf8.RuneError)
		default:
			b.WriteRune(rune(n))
		}
		i += digits
	}
	return b.String()
}

// numberJSON writes a Python number the way JSON does; complex numbers are none.
func numberJSON(s string) (json.RawMessage, bool) {
	s = strings.ToLower(strings.ReplaceAll(s, "_", ""))
	if len(s) > 1 && s[0] == '0' && strings.ContainsAny(s[1:2], "xob") {
		n, ok := new(big.Int).SetString(s, 0)
		if !ok {
			return nil, false
		}
		return json.RawMessage(n.String()), true
	}
	if strings.HasSuffix(s, "j") {
		return nil, false
	}
	if !strings.ContainsAny(s, ".e") {
		n, ok := new(big.Int).SetString(s, 10)
		if !ok {
			return nil, false
		}
		return json.RawMessage(n.String()), true
	}
	if strings.HasPrefix(s, ".") {
		s = "0" + s
	}
	whole, exponent, hasExponent := strings.Cut(s, "e")
	if strings.HasSuffix(whole, ".") {
		whole += "0"
	}
	if hasExponent {
		whole += "e" + exponent
	}
	f, err := strconv.ParseFloat(whole, 64)
	if err != nil {
		return nil, false
	}
	if !json.Valid([]byte(whole)) {
		return json.RawMessage(strconv.FormatFloat(f, 'g', -1, 64)), true
	}
	return json.RawMessage(whole), true
}
