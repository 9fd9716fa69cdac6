package format

import (
	"bytes"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// JSON writes the flow: compact where it was not read from JSON, otherwise with the parts that are unchanged as they were.
func (f *Flow) JSON() []byte { return marshal(f) }

// YAML writes the flow as a document for people: fields in their order, text of several lines as blocks. Comments of a
// document that was read are not kept.
func (f *Flow) YAML() ([]byte, error) {
	n, err := scanJSON(marshal(f))
	if err != nil {
		return nil, fmt.Errorf("write flow: %w", err)
	}
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(toYAML(n)); err != nil {
		return nil, fmt.Errorf("write flow as YAML: %w", err)
	}
	if err := e.Close(); err != nil {
		return nil, fmt.Errorf("write flow as YAML: %w", err)
	}
	return b.Bytes(), nil
}

func toYAML(n *node) *yaml.Node {
	switch n.kind {
	case arrayNode:
		y := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		if len(n.items) == 0 {
			y.Style = yaml.FlowStyle
		}
		for _, item := range n.items {
			y.Content = append(y.Content, toYAML(item))
		}
		return y
	case objectNode:
		y := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		if len(n.members) == 0 {
			y.Style = yaml.FlowStyle
		}
		for _, m := range n.members {
			y.Content = append(y.Content, yamlString(m.name), toYAML(m.value))
		}
		return y
	case stringNode:
		return yamlString(n.text)
	case numberNode:
		tag := "!!int"
		if bytes.ContainsAny(n.raw, ".eE") {
			tag = "!!float"
		}
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: string(n.raw)}
	case boolNode:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: string(n.raw)}
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Value: "null"}
}

// yamlString writes s so that every reader of YAML, old ones too, takes it for the same string.
func yamlString(s string) *yaml.Node {
	y := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s}
	switch strings.ToLower(s) {
	case "y", "n", "yes", "no", "on", "off", "~", "<<", "=":
		y.Style = yaml.SingleQuotedStyle
		return y
	}
	switch {
	case strings.ContainsFunc(s, unprintable):
		y.Style = yaml.DoubleQuotedStyle
	case strings.HasPrefix(s, "!"), strings.HasPrefix(s, inlinePrefix):
		y.Style = yaml.SingleQuotedStyle
	case strings.Contains(s, "\n"):
		// A block cannot begin with white space, and one that ends lines with spaces is hard to see.
		if strings.TrimLeft(s, " \t\n\r") == s && !strings.Contains(s, " \n") && !strings.Contains(s, "\t") {
			y.Style = yaml.LiteralStyle
		} else {
			y.Style = yaml.DoubleQuotedStyle
		}
	}
	return y
}

func unprintable(r rune) bool {
	return r < 0x20 && r != '\n' && r != '\t' || r == 0x7f || r == 0x85 || r >= 0x80 && r < 0xa0 || r == 0x2028 || r == 0x2029 || r == 0xfeff
}
