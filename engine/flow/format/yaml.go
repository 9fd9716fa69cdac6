package format

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"

	"go.yaml.in/yaml/v3"
)

// builder turns YAML's tree into nodes. Aliases are written out, so the nodes are counted: a page of YAML can stand for more
// than a machine holds.
type builder struct {
	nodes int
	depth int
}

// scanYAML reads the first document of src.
func scanYAML(src []byte) (*node, error) {
	if len(src) > maxBytes {
		return nil, Problems{{Msg: fmt.Sprintf("the document has more than %d MB", maxBytes>>20)}}
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(src, &doc); err != nil {
		return nil, Problems{yamlProblem(err)}
	}
	if len(doc.Content) == 0 {
		return nil, Problems{{Pos: Pos{Line: 1, Column: 1}, Msg: "the document is empty"}}
	}
	return (&builder{}).node(doc.Content[0])
}

// yamlProblem takes the line out of the message of a YAML error: "yaml: line 3: did not find ...".
func yamlProblem(err error) Problem {
	msg := strings.TrimPrefix(err.Error(), "yaml: ")
	var line int
	if _, scanErr := fmt.Sscanf(msg, "line %d:", &line); scanErr != nil {
		return Problem{Msg: "not valid YAML: " + msg}
	}
	_, msg, _ = strings.Cut(msg, ": ")
	return Problem{Pos: Pos{Line: line, Column: 1}, Msg: "not valid YAML: " + msg}
}

func place(y *yaml.Node) Pos { return Pos{Line: y.Line, Column: y.Column} }

func (b *builder) node(y *yaml.Node) (*node, error) {
	if b.nodes++; b.nodes > maxNodes {
		return nil, Problems{{Pos: place(y), Msg: fmt.Sprintf("the document has more than %d values", maxNodes)}}
	}
	if b.depth++; b.depth > maxDepth {
		return nil, Problems{{Pos: place(y), Msg: fmt.Sprintf("nested more than %d levels deep", maxDepth)}}
	}
	defer func() { b.depth-- }()
	n := &node{pos: place(y)}
	switch y.Kind {
	case yaml.AliasNode: // the parser refuses an anchor that contains itself only when it decodes; the depth ends it here
		return b.node(y.Alias)
	case yaml.SequenceNode:
		n.kind, n.items = arrayNode, []*node{}
		for _, item := range y.Content {
			child, err := b.node(item)
			if err != nil {
				return nil, err
			}
			n.items = append(n.items, child)
		}
		return n, nil
	case yaml.MappingNode:
		n.kind = objectNode
		return n, b.members(n, y)
	}
	return n, b.scalar(n, y)
}

func (b *builder) members(n *node, y *yaml.Node) error {
	var merged []*node
	for i := 0; i+1 < len(y.Content); i += 2 {
		key := y.Content[i]
		value, err := b.node(y.Content[i+1])
		if err != nil {
			return err
		}
		if key.ShortTag() == "!!merge" {
			merged = append(merged, value)
			continue
		}
		if key.Kind == yaml.AliasNode {
			key = key.Alias
		}
		if key.Kind != yaml.ScalarNode {
			return Problems{{Pos: place(key), Msg: "the name of a field is a list or an object"}}
		}
		n.members = append(n.members, member{name: key.Value, pos: place(key), value: value})
	}
	for _, other := range merged {
		if err := n.merge(other); err != nil {
			return err
		}
	}
	return nil
}

// merge adds the members of another mapping, or of several, that n lacks: YAML's "<<".
func (n *node) merge(other *node) error {
	switch other.kind {
	case arrayNode:
		for _, item := range other.items {
			if err := n.merge(item); err != nil {
				return err
			}
		}
		return nil
	case objectNode:
		for _, m := range other.members {
			if n.get(m.name) == nil {
				n.members = append(n.members, m)
			}
		}
		return nil
	}
	return Problems{{Pos: other.pos, Msg: "only an object can be merged with <<"}}
}

func (b *builder) scalar(n *node, y *yaml.Node) error {
	switch tag := y.ShortTag(); tag {
	case "!!null":
		n.kind, n.raw = nullNode, []byte("null")
	case "!!bool":
		var v bool
		if err := y.Decode(&v); err != nil {
			return Problems{{Pos: n.pos, Msg: "not a boolean: " + y.Value}}
		}
		n.kind, n.raw = boolNode, fmt.Append(nil, v)
	case "!!int", "!!float":
		raw, err := number(y)
		if err != nil {
			return Problems{{Pos: n.pos, Msg: err.Error()}}
		}
		n.kind, n.raw = numberNode, raw
	case "!inline": // content: !inline a.ts, without the quotes that others write
		n.kind, n.text = stringNode, inlinePrefix+y.Value
	default: // strings, and what JSON has no type for: dates, binary data, tags of others
		n.kind, n.text = stringNode, y.Value
	}
	return nil
}

// number returns the JSON text of a YAML number: as written where that is JSON too, so that no digit is lost.
func number(y *yaml.Node) ([]byte, error) {
	if raw := []byte(y.Value); json.Valid(raw) {
		return raw, nil
	}
	var v any
	if err := y.Decode(&v); err != nil {
		return nil, errors.New("not a number: " + y.Value)
	}
	if f, ok := v.(float64); ok && (math.IsInf(f, 0) || math.IsNaN(f)) {
		return nil, errors.New("JSON has no such number: " + y.Value)
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, errors.New("not a number: " + y.Value)
	}
	return raw, nil
}
