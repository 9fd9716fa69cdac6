package signature

import (
	"bytes"
	"encoding/json"

	"github.com/millrace/millrace/runtimes/jsontext"
)

// plain are the parameters of a schema that says nothing of them but their types, as those of most scripts do. Arguments that fit it are
// known to fit without being decoded; of others the schema itself has the word.
type plain struct {
	types    map[string]string // "": any value
	required []string
}

// newPlain reads a tidied schema; nil: it says more than types.
func newPlain(clean map[string]any, required []string) *plain {
	p := &plain{types: map[string]string{}, required: required}
	for key, v := range clean {
		props, isMap := v.(map[string]any)
		switch {
		case key == "required":
		case key != "properties" || !isMap:
			return nil
		default:
			for name, prop := range props {
				kind, ok := plainType(prop)
				if !ok {
					return nil
				}
				p.types[name] = kind
			}
		}
	}
	return p
}

func plainType(prop any) (kind string, ok bool) {
	fields, ok := prop.(map[string]any)
	if !ok {
		return "", false
	}
	for key, v := range fields {
		if kind, ok = v.(string); !ok || key != "type" {
			return "", false
		}
	}
	switch kind {
	case "", "string", "integer", "number", "boolean", "array", "object":
		return kind, true
	}
	return "", false
}

// fits says whether args certainly fit.
func (p *plain) fits(args json.RawMessage) bool {
	args = bytes.TrimSpace(args)
	if args[0] != '{' || !jsontext.Valid(args) {
		return false
	}
	var seen [16]bool
	if len(p.required) > len(seen) {
		return false
	}
	for at := skipSpace(args, 1); args[at] != '}'; {
		end := bytes.IndexByte(args[at+1:], '"') + at + 1
		name := args[at+1 : end]
		if bytes.IndexByte(name, '\\') >= 0 {
			return false
		}
		at = skipSpace(args, end+1)
		at = skipSpace(args, at+1) // the colon
		end = valueEnd(args, at)
		if kind, known := p.types[string(name)]; known && !isOf(args[at:end], kind) {
			return false
		}
		for i, r := range p.required {
			seen[i] = seen[i] || r == string(name)
		}
		if at = skipSpace(args, end); args[at] == ',' {
			at = skipSpace(args, at+1)
		}
	}
	for i := range p.required {
		if !seen[i] {
			return false
		}
	}
	return true
}

// skipSpace and valueEnd walk over JSON that is known to be valid.
func skipSpace(b []byte, at int) int {
	for b[at] == ' ' || b[at] == '\n' || b[at] == '\t' || b[at] == '\r' {
		at++
	}
	return at
}

func valueEnd(b []byte, at int) int {
	depth := 0
	for ; ; at++ {
		switch b[at] {
		case '"':
			at = jsontext.Text(b, at+1)
			if depth == 0 {
				return at
			}
			at-- // the loop goes on behind the quote
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return at // the end of what a number or a word is in
			}
			if depth--; depth == 0 {
				return at + 1
			}
		case ',', ' ', '\n', '\t', '\r':
			if depth == 0 {
				return at
			}
		}
	}
}

// isOf says whether a value is certainly of a type.
func isOf(v []byte, kind string) bool {
	switch c := v[0]; kind {
	case "":
		return true
	case "string":
		return c == '"'
	case "boolean":
		return c == 't' || c == 'f'
	case "array":
		return c == '['
	case "object":
		return c == '{'
	case "number":
		return c == '-' || c >= '0' && c <= '9'
	default: // integer
		if c == '-' {
			v = v[1:]
		}
		for _, c := range v {
			if c < '0' || c > '9' {
				return false
			}
		}
		return true
	}
}
