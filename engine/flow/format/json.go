package format

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"sort"
	"unicode/utf8"
)

// Limits of a document. A flow of 10,000 steps has a few megabytes; nothing that a person wrote nests 500 deep.
const (
	maxBytes = 64 << 20
	maxDepth = 500
	maxNodes = 2 << 20
)

// scanner reads JSON into nodes.
type scanner struct {
	src   []byte
	lines []int // offsets of the first byte of each line
	dec   *json.Decoder
	depth int
	nodes int
	// last is the place that was asked for last, and seen its offset: places are asked for in their order, and a document may be one
	// long line.
	last Pos
	seen int
}

// scanJSON reads src, which must hold one JSON value.
func scanJSON(src []byte) (*node, error) {
	if len(src) > maxBytes {
		return nil, Problems{{Msg: fmt.Sprintf("the document has more than %d MB", maxBytes>>20)}}
	}
	src = bytes.TrimPrefix(src, []byte("\xef\xbb\xbf"))
	if !utf8.Valid(src) {
		return nil, Problems{{Msg: "the document is not UTF-8"}}
	}
	s := &scanner{src: src, lines: []int{0}, dec: json.NewDecoder(bytes.NewReader(src))}
	for i, c := range src {
		if c == '\n' {
			s.lines = append(s.lines, i+1)
		}
	}
	var bad *json.SyntaxError
	if err := json.Unmarshal(src, new(json.RawMessage)); errors.As(err, &bad) {
		return nil, s.problem(max(int(bad.Offset)-1, 0), "not valid JSON: %v", bad)
	} else if err != nil {
		return nil, s.problem(0, "not valid JSON: %v", err)
	}
	s.dec.UseNumber()
	return s.value()
}

func (s *scanner) at(offset int) Pos {
	offset = min(offset, len(s.src))
	line := sort.SearchInts(s.lines, offset+1) - 1
	from, column := s.lines[line], 1
	if s.last.Line == line+1 && s.seen <= offset {
		from, column = s.seen, s.last.Column
	}
	s.last, s.seen = Pos{Line: line + 1, Column: column + utf8.RuneCount(s.src[from:offset])}, offset
	return s.last
}

func (s *scanner) problem(offset int, format string, args ...any) error {
	return Problems{{Pos: s.at(offset), Msg: fmt.Sprintf(format, args...)}}
}

// token returns the next token with the offsets of its begin and end.
func (s *scanner) token() (tok json.Token, from, to int, err error) {
	from = int(s.dec.InputOffset())
	tok, err = s.dec.Token()
	to = int(s.dec.InputOffset())
	if err != nil { // it was valid a moment ago
		return nil, 0, 0, s.problem(to, "not valid JSON: %v", err)
	}
	for from < to && bytes.IndexByte([]byte(" \t\r\n,:"), s.src[from]) >= 0 {
		from++
	}
	return tok, from, to, nil
}

func (s *scanner) value() (*node, error) {
	tok, from, to, err := s.token()
	if err != nil {
		return nil, err
	}
	return s.rest(tok, from, to)
}

// rest reads the value that begins with tok.
func (s *scanner) rest(tok json.Token, from, to int) (*node, error) {
	if s.nodes++; s.nodes > maxNodes {
		return nil, s.problem(from, "the document has more than %d values", maxNodes)
	}
	n := &node{pos: s.at(from)}
	var err error
	switch t := tok.(type) {
	case json.Delim:
		if s.depth++; s.depth > maxDepth {
			return nil, s.problem(from, "nested more than %d levels deep", maxDepth)
		}
		if t == '{' {
			n.kind = objectNode
			err = s.object(n)
		} else {
			n.kind = arrayNode
			err = s.array(n)
		}
		s.depth--
		to = int(s.dec.InputOffset())
	case string:
		n.kind, n.text = stringNode, t
	case json.Number:
		n.kind = numberNode
	case bool:
		n.kind = boolNode
	}
	n.raw = s.src[from:to:to]
	return n, err
}

func (s *scanner) object(n *node) error {
	for {
		tok, from, _, err := s.token()
		if err != nil {
			return err
		}
		name, ok := tok.(string)
		if !ok { // the closing brace; anything else was refused by the decoder
			return nil
		}
		pos := s.at(from) // before the value's: places are asked for in their order
		value, err := s.value()
		if err != nil {
			return err
		}
		n.members = append(n.members, member{name: name, pos: pos, value: value})
	}
}

func (s *scanner) array(n *node) error {
	n.items = []*node{}
	for {
		tok, from, to, err := s.token()
		if err != nil {
			return err
		}
		if tok == json.Delim(']') {
			return nil
		}
		item, err := s.rest(tok, from, to)
		if err != nil {
			return err
		}
		n.items = append(n.items, item)
	}
}
