package signature

import (
	"regexp"
	"slices"
	"strings"
)

var typeNames = []string{"string", "number", "integer", "boolean", "object", "array", "null"}

// tidy copies the part of a schema that arguments are checked against. Everything else is left out, with what no validator
// accepts (a made-up type, an empty enum, a pattern that is no regular expression) and what forms mean differently
// (additionalProperties: false, "format").
func tidy(in map[string]any, depth int) map[string]any {
	out := map[string]any{}
	if depth > 50 {
		return out
	}
	tidyType(in["type"], out)
	for _, key := range []string{"minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems"} {
		if n, ok := number(in[key]); ok && (n >= 0 || strings.HasSuffix(key, "imum")) {
			out[key] = in[key]
		}
	}
	if list, ok := in["enum"].([]any); ok && len(list) > 0 {
		out["enum"] = list
	}
	if s, ok := in["pattern"].(string); ok && s != "" {
		if _, err := regexp.Compile(s); err == nil {
			out["pattern"] = s
		}
	}
	if names := stringList(in["required"]); len(names) > 0 {
		out["required"] = names
	}
	for _, key := range []string{"items", "additionalProperties"} {
		if sub, ok := in[key].(map[string]any); ok {
			out[key] = tidy(sub, depth+1)
		}
	}
	if props, ok := in["properties"].(map[string]any); ok && len(props) > 0 {
		clean := make(map[string]any, len(props))
		for name, p := range props {
			sub, _ := p.(map[string]any)
			clean[name] = tidy(sub, depth+1)
		}
		out["properties"] = clean
	}
	for _, key := range []string{"oneOf", "anyOf"} {
		if list := schemaList(in[key], depth+1); len(list) > 0 {
			out["anyOf"] = list
		}
	}
	if f, ok := in["format"].(string); ok && strings.HasPrefix(f, "resource-") {
		// What a resource looks like is a matter of its type; a "$res:path" is excused later.
		return map[string]any{"type": "object"}
	}
	return out
}

func tidyType(t any, out map[string]any) {
	switch t := t.(type) {
	case string:
		if slices.Contains(typeNames, t) {
			out["type"] = t
		}
	case []any:
		var known []any
		for _, name := range t {
			s, _ := name.(string)
			if !slices.Contains(typeNames, s) {
				return
			}
			if !slices.Contains(known, name) {
				known = append(known, name)
			}
		}
		if len(known) > 0 {
			out["type"] = known
		}
	}
}

// stringList keeps the distinct strings of a list.
func stringList(v any) []any {
	list, _ := v.([]any)
	var out []any
	for _, x := range list {
		if s, ok := x.(string); ok && !slices.Contains(out, any(s)) {
			out = append(out, s)
		}
	}
	return out
}

func schemaList(v any, depth int) []any {
	list, _ := v.([]any)
	var out []any
	for _, x := range list {
		if sub, ok := x.(map[string]any); ok {
			out = append(out, tidy(sub, depth))
		}
	}
	return out
}

func number(v any) (float64, bool) {
	switch n := v.(type) {
	case interface{ Float64() (float64, error) }: // json.Number
		f, err := n.Float64()
		return f, err == nil
	case float64:
		return n, true
	}
	return 0, false
}

// typeName is what a message says that a property wants; "" when anything goes.
func typeName(schema any) string {
	m, _ := schema.(map[string]any)
	switch t := m["type"].(type) {
	case string:
		return t
	case []any:
		var names []string
		for _, n := range t {
			s, _ := n.(string)
			names = append(names, s)
		}
		return strings.Join(names, " or ")
	}
	return ""
}
