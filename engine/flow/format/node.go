package format

import (
	"bytes"
	"encoding/json"
)

// kind is what a node is in JSON.
type kind uint8

const (
	nullNode kind = iota
	boolNode
	numberNode
	stringNode
	arrayNode
	objectNode
)

func (k kind) String() string {
	return [...]string{"null", "a boolean", "a number", "a string", "a list", "an object"}[k]
}

// node is a value of a document, with its place: what both JSON and YAML are read into. It is never changed once built.
type node struct {
	kind    kind
	pos     Pos
	raw     []byte // the JSON text as it was written; nil for what was read from YAML, except for scalars
	text    string // of a string: what it says
	items   []*node
	members []member
}

// member is one field of an object, in the order of the document.
type member struct {
	name  string
	pos   Pos
	value *node
}

// get returns the last member of that name: like JavaScript's JSON.parse, a later one wins.
func (n *node) get(name string) *node {
	if n == nil {
		return nil
	}
	for i := len(n.members) - 1; i >= 0; i-- {
		if n.members[i].name == name {
			return n.members[i].value
		}
	}
	return nil
}

// json returns the JSON text of n: the one it was read from if it was JSON.
func (n *node) json() json.RawMessage {
	if n.raw != nil {
		return n.raw
	}
	var b bytes.Buffer
	n.writeTo(&b)
	return b.Bytes()
}

func (n *node) writeTo(b *bytes.Buffer) {
	if n.raw != nil {
		b.Write(n.raw)
		return
	}
	switch n.kind {
	case arrayNode:
		b.WriteByte('[')
		for i, item := range n.items {
			if i > 0 {
				b.WriteByte(',')
			}
			item.writeTo(b)
		}
		b.WriteByte(']')
	case objectNode:
		b.WriteByte('{')
		for i, m := range n.members {
			if i > 0 {
				b.WriteByte(',')
			}
			b.Write(quote(m.name))
			b.WriteByte(':')
			m.value.writeTo(b)
		}
		b.WriteByte('}')
	case stringNode:
		b.Write(quote(n.text))
	default:
		b.WriteString("null")
	}
}

// quote is a JSON string without the escaping for HTML, which would turn code unreadable.
func quote(s string) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		return []byte(`""`) // a string is always encodable
	}
	return bytes.TrimRight(b.Bytes(), "\n")
}
