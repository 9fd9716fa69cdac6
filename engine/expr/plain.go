package expr

import (
	"context"
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
)

// plain is an expression that needs no engine: a literal, or a path into a value.
type plain struct {
	literal json.RawMessage // when not nil
	ref     Ref
	path    []step
}

// step is one member of a path.
type step struct {
	name     string
	optional bool // ?.
}

// Literals that mean the same in JavaScript and JSON.
var (
	numberLiteral = regexp.MustCompile(`^-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,15})?$`)
	stringLiteral = regexp.MustCompile(`^("[^"\\\x00-\x1f]*"|'[^'\\\x00-\x1f]*')$`)
)

// parsePlain recognises plain expressions; nil for all others.
func parsePlain(source string) *plain {
	s := strings.TrimSpace(strings.TrimRight(strings.TrimSpace(source), "; \t\r\n"))
	switch {
	case s == "undefined":
		return &plain{literal: json.RawMessage("null")}
	case s == "true", s == "false", s == "null", numberLiteral.MatchString(s) && s != "-0":
		return &plain{literal: json.RawMessage(s)}
	case stringLiteral.MatchString(s):
		quoted, err := json.Marshal(s[1 : len(s)-1])
		if err != nil {
			return nil
		}
		return &plain{literal: quoted}
	}
	r := pathReader{s: s}
	if rest, ok := strings.CutPrefix(s, "await "); ok {
		r.s = strings.TrimSpace(rest)
	}
	return r.read()
}

// pathReader reads results.a["b"]?.c[0].
type pathReader struct {
	s string
	i int
}

func (r *pathReader) read() *plain {
	name := r.identifier()
	p := &plain{ref: Ref{Name: name}}
	switch {
	case isFunction(name):
		key, ok := r.call()
		if !ok {
			return nil
		}
		p.ref.Key = key
	case !isName(name):
		return nil
	}
	for r.i < len(r.s) {
		next, ok := r.step()
		if !ok || next.name == "__proto__" {
			return nil
		}
		p.path = append(p.path, next)
	}
	if name == Results {
		if len(p.path) == 0 || p.path[0].name == "length" {
			return nil
		}
		p.ref.Key, p.path = p.path[0].name, p.path[1:]
	}
	return p
}

func (r *pathReader) identifier() string {
	from := r.i
	for r.i < len(r.s) {
		c := r.s[r.i]
		letter := c == '_' || c == '$' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (r.i == from || c < '0' || c > '9') {
			break
		}
		r.i++
	}
	return r.s[from:r.i]
}

func (r *pathReader) skip(prefix string) bool {
	if strings.HasPrefix(r.s[r.i:], prefix) {
		r.i += len(prefix)
		return true
	}
	return false
}

// quoted reads a string without escapes.
func (r *pathReader) quoted() (string, bool) {
	if r.i >= len(r.s) || r.s[r.i] != '"' && r.s[r.i] != '\'' {
		return "", false
	}
	end := strings.IndexByte(r.s[r.i+1:], r.s[r.i])
	if end < 0 {
		return "", false
	}
	text := r.s[r.i+1 : r.i+1+end]
	r.i += end + 2
	return text, !strings.ContainsAny(text, "\\\n\r")
}

// call reads ("key").
func (r *pathReader) call() (string, bool) {
	if !r.skip("(") {
		return "", false
	}
	key, ok := r.quoted()
	return key, ok && r.skip(")")
}

func (r *pathReader) step() (next step, ok bool) {
	next.optional = r.skip("?.")
	switch {
	case r.skip("["):
		if text, ok := r.quoted(); ok {
			next.name = text
			return next, r.skip("]")
		}
		end := strings.IndexByte(r.s[r.i:], ']')
		if end < 0 {
			return next, false
		}
		index := r.s[r.i : r.i+end]
		n, err := strconv.ParseUint(index, 10, 31)
		if err != nil || strconv.FormatUint(n, 10) != index {
			return next, false
		}
		r.i += end + 1
		next.name = index
		return next, true
	case next.optional || r.skip("."):
		next.name = r.identifier()
		return next, next.name != ""
	}
	return next, false
}

// value looks the path up. handled is false when an engine has to say what it means, which it then does from the start.
func (p *plain) value(_ context.Context, o *once) (raw json.RawMessage, handled bool, err error) {
	if p.literal != nil {
		return p.literal, true, nil
	}
	b, err := o.fetch(p.ref)
	if err != nil {
		return nil, true, err
	}
	raw = b
	absent := b == nil
	for _, s := range p.path {
		if absent || first(raw) == 'n' {
			if s.optional || p.ref.Name == Results { // under results what is missing is null, however deep
				return json.RawMessage("null"), true, nil
			}
			return nil, false, nil
		}
		value, ok, sure := property(raw, s.name)
		if !sure {
			return nil, false, nil
		}
		raw, absent = value, !ok
	}
	if absent {
		return json.RawMessage("null"), true, nil
	}
	return raw, true, nil
}
