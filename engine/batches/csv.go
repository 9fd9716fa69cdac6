package batches

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// table reads CSV. The first line names the arguments; cells are typed by the script's schema.
type table struct {
	in   *meter
	r    *csv.Reader
	cols []col
	line int // of the row before
}

// col is one column: the argument's name as JSON, and what its cells are.
type col struct {
	name   string
	quoted []byte
	kind   string // "" and "string": kept as text
}

// newTable reads the head.
func newTable(m *meter, schema json.RawMessage) (*table, error) {
	b := bufio.NewReaderSize(m, lookAhead)
	if first, err := b.Peek(len(mark)); err == nil && bytes.Equal(first, mark) {
		b.Discard(len(mark)) //nolint:errcheck // they are there
	}
	t := &table{in: m, r: csv.NewReader(b)}
	t.r.ReuseRecord = true
	head, err := t.r.Read()
	if errors.Is(err, io.EOF) {
		return nil, &rowError{"there are no rows: the body is empty"}
	}
	if err != nil {
		return nil, m.fault("line 1", csvError(err))
	}
	kinds, known := schemaKinds(schema)
	for i, name := range head {
		if err := t.column(i, strings.TrimSpace(name), kinds, known); err != nil {
			return nil, err
		}
	}
	return t, nil
}

func (t *table) column(i int, name string, kinds map[string]string, known bool) error {
	place := fmt.Sprintf("line 1, column %d", i+1)
	kind, has := kinds[name]
	switch {
	case name == "":
		return wrong(place, "an argument needs a name")
	case !utf8.ValidString(name):
		return wrong(place, "not valid UTF-8")
	case slices.ContainsFunc(t.cols, func(c col) bool { return c.name == name }):
		return wrong(place, "%q is there twice", name)
	case known && !has:
		return wrong(place, "the script has no argument %q; it has %s", name, strings.Join(slices.Sorted(maps.Keys(kinds)), ", "))
	}
	t.cols = append(t.cols, col{name: name, quoted: append(quote(name), ':'), kind: kind})
	return nil
}

// schemaKinds reads the types of the properties of a JSON schema; known is false when it does not say which there are.
func schemaKinds(schema json.RawMessage) (kinds map[string]string, known bool) {
	var s struct {
		Properties map[string]struct {
			Type json.RawMessage `json:"type"`
		} `json:"properties"`
		Additional json.RawMessage `json:"additionalProperties"`
	}
	if json.Unmarshal(schema, &s) != nil {
		return nil, false
	}
	kinds = map[string]string{}
	for name, p := range s.Properties {
		kinds[name] = kindOf(p.Type)
	}
	open := len(s.Additional) > 0 && string(s.Additional) != "false"
	return kinds, len(kinds) > 0 && !open
}

// kindOf reads a type: one name, or several of which null does not count.
func kindOf(raw json.RawMessage) string {
	var one string
	if json.Unmarshal(raw, &one) == nil {
		return one
	}
	var several []string
	if json.Unmarshal(raw, &several) == nil {
		several = slices.DeleteFunc(several, func(s string) bool { return s == "null" })
		if len(several) == 1 {
			return several[0]
		}
	}
	return ""
}

func (t *table) next() (row, error) {
	t.in.again()
	cells, err := t.r.Read()
	if errors.Is(err, io.EOF) && t.in.err == nil {
		return row{}, io.EOF
	}
	if err != nil {
		return row{}, t.in.fault(fmt.Sprintf("after line %d", t.line), csvError(err))
	}
	out := []byte{'{'}
	for i, cell := range cells {
		if cell == "" {
			continue // the argument is absent
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(out, t.cols[i].quoted...)
		var ok bool
		if out, ok = t.cols[i].append(out, cell); !ok {
			line, pos := t.r.FieldPos(i)
			return row{}, wrong(fmt.Sprintf("line %d, column %d (%s, character %d)", line, i+1, t.cols[i].name, pos), "%q is not %s", short([]byte(cell)), article(t.cols[i].kind))
		}
	}
	t.line, _ = t.r.FieldPos(0)
	return row{args: append(out, '}'), line: int64(t.line)}, nil
}

// csvError makes the package's error one that can follow a place.
func csvError(err error) error {
	var p *csv.ParseError
	if !errors.As(err, &p) {
		return err
	}
	place := fmt.Sprintf("line %d", p.Line)
	if errors.Is(p.Err, csv.ErrFieldCount) {
		return wrong(place, "it has another number of cells than the first line")
	}
	return wrong(fmt.Sprintf("%s, character %d", place, p.Column), "%v", p.Err)
}

// append adds a cell as JSON; false: it does not fit.
func (c col) append(out []byte, cell string) ([]byte, bool) {
	switch c.kind {
	case "integer":
		s := strings.TrimSpace(cell)
		return append(out, s...), s != "" && strings.Trim(s, "-0123456789") == "" && json.Valid([]byte(s))
	case "number":
		s := strings.TrimSpace(cell)
		return append(out, s...), s != "" && (s[0] == '-' || (s[0] >= '0' && s[0] <= '9')) && json.Valid([]byte(s))
	case "boolean":
		s := strings.ToLower(strings.TrimSpace(cell))
		return append(out, s...), s == "true" || s == "false"
	case "object":
		return c.nested(out, cell, '{')
	case "array":
		return c.nested(out, cell, '[')
	}
	return append(out, quote(cell)...), utf8.ValidString(cell)
}

func (c col) nested(out []byte, cell string, begin byte) ([]byte, bool) {
	s := strings.TrimSpace(cell)
	return append(out, s...), s != "" && s[0] == begin && utf8.ValidString(s) && json.Valid([]byte(s))
}

func article(kind string) string {
	switch kind {
	case "integer", "object", "array":
		if kind == "integer" {
			return "an integer"
		}
		return "a JSON " + kind
	case "number":
		return "a number"
	case "boolean":
		return "true or false"
	}
	return "valid UTF-8"
}

// quote writes a JSON string, without HTML escapes.
func quote(s string) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if e.Encode(s) != nil { // strings always encode
		return []byte(`""`)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
