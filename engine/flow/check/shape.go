package check

import (
	"encoding/json"
	"slices"
	"strings"
)

// shape is what a JSON Schema says of a value, as far as a check needs it. Nil: nothing is known.
type shape struct {
	kinds      []string // "object", "array", "string", "number", "integer", "boolean", "null"; none: any
	properties map[string]*shape
	required   []string
	closed     bool // no other properties
	open       bool // says that there may be others
	items      *shape
	fallback   bool // has a default
}

// Shapes of settings.
var (
	numbers = &shape{kinds: []string{"number"}}
	lists   = &shape{kinds: []string{"array"}}
)

// parseShape reads a JSON Schema; nil when it is none.
func parseShape(raw json.RawMessage) *shape { return parseShapeAt(raw, 0) }

func parseShapeAt(raw json.RawMessage, depth int) *shape {
	const deepest = 50
	var s struct {
		Type                 json.RawMessage            `json:"type"`
		Properties           map[string]json.RawMessage `json:"properties"`
		Required             json.RawMessage            `json:"required"`
		AdditionalProperties json.RawMessage            `json:"additionalProperties"`
		Items                json.RawMessage            `json:"items"`
		Default              json.RawMessage            `json:"default"`
		OneOf                []json.RawMessage          `json:"oneOf"`
		AnyOf                []json.RawMessage          `json:"anyOf"`
		Format               string                     `json:"format"`
	}
	if depth > deepest || len(raw) == 0 || raw[0] != '{' && !strings.HasPrefix(strings.TrimSpace(string(raw)), "{") ||
		json.Unmarshal(raw, &s) != nil {
		return nil
	}
	closed := string(s.AdditionalProperties) == "false"
	out := &shape{closed: closed, open: len(s.AdditionalProperties) > 0 && !closed, fallback: len(s.Default) > 0 && string(s.Default) != "null"}
	var one string
	if json.Unmarshal(s.Type, &one) == nil && one != "" {
		out.kinds = []string{one}
	} else if json.Unmarshal(s.Type, &out.kinds) != nil {
		out.kinds = nil
	}
	if len(s.OneOf) > 0 || len(s.AnyOf) > 0 || !known(out.kinds) || strings.HasPrefix(s.Format, "resource-") {
		out.kinds = nil // a resource may be given as the text of a reference
	}
	if json.Unmarshal(s.Required, &out.required) != nil {
		out.required = nil
	}
	out.items = parseShapeAt(s.Items, depth+1)
	for name, p := range s.Properties {
		if out.properties == nil {
			out.properties = make(map[string]*shape, len(s.Properties))
		}
		if out.properties[name] = parseShapeAt(p, depth+1); out.properties[name] == nil {
			out.properties[name] = &shape{}
		}
	}
	if s.Properties != nil && out.properties == nil {
		out.properties = map[string]*shape{}
	}
	return out
}

// declared is s, of what a source says that it returns: whoever declares the fields of an object means that there are no others.
func (s *shape) declared() *shape {
	if s == nil {
		return nil
	}
	s.closed = s.closed || len(s.properties) > 0 && !s.open
	s.items.declared()
	for _, p := range s.properties {
		p.declared()
	}
	return s
}

var allKinds = []string{"object", "array", "string", "number", "integer", "boolean", "null"}

func known(kinds []string) bool {
	for _, k := range kinds {
		if !slices.Contains(allKinds, k) {
			return false
		}
	}
	return true
}

// clashes tells whether no value can be of both shapes.
func (s *shape) clashes(other *shape) bool {
	if s == nil || other == nil || len(s.kinds) == 0 || len(other.kinds) == 0 {
		return false
	}
	for _, a := range s.kinds {
		for _, b := range other.kinds {
			number := (a == "number" || a == "integer") && (b == "number" || b == "integer")
			if a == b || number || b == "null" { // what may be null may be left out
				return false
			}
		}
	}
	return true
}

func (s *shape) String() string {
	if s == nil || len(s.kinds) == 0 {
		return "anything"
	}
	words := map[string]string{"object": "an object", "array": "a list", "string": "a string", "number": "a number",
		"integer": "a whole number", "boolean": "true or false", "null": "null"}
	var out []string
	for _, k := range s.kinds {
		out = append(out, words[k])
	}
	return strings.Join(out, " or ")
}

// at is the shape of a member; missing when the shape says that there is none.
func (s *shape) at(name string) (inner *shape, missing bool) {
	if s == nil {
		return nil, false
	}
	if len(s.kinds) == 1 && s.kinds[0] == "array" {
		switch {
		case name == "length":
			return &shape{kinds: []string{"integer"}}, false
		case strings.Trim(name, "0123456789") == "":
			return s.items, false
		}
		return nil, false
	}
	inner, ok := s.properties[name]
	return inner, !ok && s.closed && len(s.kinds) == 1 && s.kinds[0] == "object"
}

// shapeOfValue is the shape of a value that is written down.
func shapeOfValue(raw json.RawMessage) *shape {
	text := strings.TrimSpace(string(raw))
	if text == "" {
		return &shape{kinds: []string{"null"}}
	}
	kind := "number"
	switch text[0] {
	case '{':
		kind = "object"
	case '[':
		kind = "array"
	case '"':
		kind = "string"
	case 't', 'f':
		kind = "boolean"
	case 'n':
		kind = "null"
	}
	return &shape{kinds: []string{kind}}
}

// reference tells whether a written value stands for a resource or variable, whose shape is not known.
func reference(raw json.RawMessage) bool {
	text := strings.TrimSpace(string(raw))
	return strings.HasPrefix(text, `"$res:`) || strings.HasPrefix(text, `"$var:`) || strings.HasPrefix(text, `"$`)
}
