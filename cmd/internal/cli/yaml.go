package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"

	"go.yaml.in/yaml/v3"
)

// yamlValues bounds what aliases can blow a file up to.
const yamlValues = 100_000

// readObject reads a file that holds one object, in YAML or JSON, as JSON. Keys keep their order.
func readObject(file string) (json.RawMessage, error) {
	src, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(src, &doc); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	y := yamlJSON{left: yamlValues}
	if len(doc.Content) != 1 || doc.Content[0].Kind != yaml.MappingNode {
		return nil, fmt.Errorf("%s holds no object: it must be lines of NAME: VALUE", file)
	}
	if err := y.value(doc.Content[0]); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return y.out.Bytes(), nil
}

// yamlJSON writes YAML as JSON, as YAML 1.2 reads it: dates and words like yes are text.
type yamlJSON struct {
	out  bytes.Buffer
	left int
}

func (y *yamlJSON) value(n *yaml.Node) error {
	if y.left--; y.left < 0 {
		return errors.New("it holds too much")
	}
	switch n.Kind {
	case yaml.AliasNode:
		return y.value(n.Alias)
	case yaml.MappingNode:
		return y.mapping(n)
	case yaml.SequenceNode:
		y.out.WriteByte('[')
		for i, item := range n.Content {
			if i > 0 {
				y.out.WriteByte(',')
			}
			if err := y.value(item); err != nil {
				return err
			}
		}
		y.out.WriteByte(']')
		return nil
	case yaml.ScalarNode:
		return y.scalar(n)
	}
	return fmt.Errorf("line %d: this is no value", n.Line)
}

func (y *yamlJSON) mapping(n *yaml.Node) error {
	seen := map[string]bool{}
	y.out.WriteByte('{')
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		switch {
		case key.Kind != yaml.ScalarNode || key.ShortTag() == "!!merge":
			return fmt.Errorf("line %d: a key must be a word", key.Line)
		case seen[key.Value]:
			return fmt.Errorf("line %d: %s is there twice", key.Line, key.Value)
		}
		seen[key.Value] = true
		if i > 0 {
			y.out.WriteByte(',')
		}
		if err := y.encode(key.Value); err != nil {
			return err
		}
		y.out.WriteByte(':')
		if err := y.value(n.Content[i+1]); err != nil {
			return err
		}
	}
	y.out.WriteByte('}')
	return nil
}

func (y *yamlJSON) scalar(n *yaml.Node) error {
	var v any
	switch n.ShortTag() {
	case "!!null", "!!bool", "!!int", "!!float":
		if err := n.Decode(&v); err != nil {
			return fmt.Errorf("line %d: %w", n.Line, err)
		}
	default:
		v = n.Value
	}
	if f, ok := v.(float64); ok && (math.IsNaN(f) || math.IsInf(f, 0)) {
		return fmt.Errorf("line %d: %s is no number of JSON", n.Line, n.Value)
	}
	return y.encode(v)
}

func (y *yamlJSON) encode(v any) error {
	b, err := json.Marshal(v)
	y.out.Write(b)
	return err
}
