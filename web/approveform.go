package web

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
)

// field is an input of a form that was made from a JSON Schema.
type field struct {
	ID, Name, Label, Help string
	// Kind is what the page draws: an input's type, or tick, choice, area.
	Kind           string
	Value          string
	Checked        bool
	Required       bool
	Step, Min, Max string
	Choices        []choice

	schema property
}

type choice struct {
	Value, Label string
	Chosen       bool
}

// property is what we read of the schema of a field; whatever else it says is left to the flow.
type property struct {
	Type        any               `json:"type"`
	Title       string            `json:"title"`
	Description string            `json:"description"`
	Format      string            `json:"format"`
	Default     json.RawMessage   `json:"default"`
	Enum        []json.RawMessage `json:"enum"`
	Items       struct {
		Type any `json:"type"`
	} `json:"items"`
	Minimum   *float64 `json:"minimum"`
	Maximum   *float64 `json:"maximum"`
	MinLength *int     `json:"minLength"`
	MaxLength *int     `json:"maxLength"`
}

// kind is the type of a property, or the first of several that is not null.
func kindOf(t any) string {
	switch t := t.(type) {
	case string:
		return t
	case []any:
		for _, one := range t {
			if s, ok := one.(string); ok && s != "null" {
				return s
			}
		}
	}
	return ""
}

// fieldsOf makes the inputs of a form; a schema that is none has none.
func fieldsOf(schema json.RawMessage) []field {
	var doc struct {
		Properties map[string]json.RawMessage `json:"properties"`
		Required   []string                   `json:"required"`
		Order      []string                   `json:"order"`
	}
	if json.Unmarshal(schema, &doc) != nil {
		return nil
	}
	var names []string
	for name := range doc.Properties {
		names = append(names, name)
	}
	place := func(name string) int {
		if i := slices.Index(doc.Order, name); i >= 0 {
			return i
		}
		return len(doc.Order)
	}
	slices.SortFunc(names, func(a, b string) int {
		if d := place(a) - place(b); d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	var out []field
	for i, name := range names {
		var p property
		if json.Unmarshal(doc.Properties[name], &p) != nil {
			continue
		}
		f := field{ID: "f" + strconv.Itoa(i), Name: "f." + name, Label: name, Help: p.Description, Required: slices.Contains(doc.Required, name), schema: p}
		if p.Title != "" {
			f.Label = p.Title
		}
		f.draw()
		out = append(out, f)
	}
	return out
}

// draw decides what a field looks like, and what stands in it first.
func (f *field) draw() {
	p := f.schema
	f.Kind, f.Value = "text", plain(p.Default)
	switch kindOf(p.Type) {
	case "boolean":
		f.Kind, f.Checked, f.Value = "tick", string(p.Default) == "true", ""
		return
	case "integer":
		f.Kind, f.Step = "number", "1"
	case "number":
		f.Kind, f.Step = "number", "any"
	case "array":
		f.Kind = "area"
		if f.lines() {
			f.Help = strings.TrimSpace(f.Help + " One on each line.")
			var list []string
			if json.Unmarshal(p.Default, &list) == nil {
				f.Value = strings.Join(list, "\n")
			}
		} else {
			f.Help = strings.TrimSpace(f.Help + " As JSON.")
		}
	case "object", "":
		f.Kind, f.Help = "area", strings.TrimSpace(f.Help+" As JSON.")
		f.Value = string(p.Default)
	default:
		f.Kind = map[string]string{"date": "date", "date-time": "datetime-local", "time": "time", "email": "email", "uri": "url", "password": "password"}[p.Format]
		if f.Kind == "" {
			f.Kind = "text"
		}
		if t, err := time.Parse(time.RFC3339, f.Value); err == nil && f.Kind == "datetime-local" {
			f.Value = t.UTC().Format("2006-01-02T15:04")
		}
		if p.Format == "date-time" {
			f.Help = strings.TrimSpace(f.Help + " In UTC.")
		}
	}
	if f.Kind == "number" {
		f.Min, f.Max = number(p.Minimum), number(p.Maximum)
	}
	if len(p.Enum) > 0 && kindOf(p.Type) != "array" {
		f.Kind = "choice"
		for i, e := range p.Enum {
			f.Choices = append(f.Choices, choice{Value: strconv.Itoa(i), Label: plain(e), Chosen: same(e, p.Default)})
		}
	}
}

// lines tells whether a field is a list of texts.
func (f *field) lines() bool {
	t := kindOf(f.schema.Items.Type)
	return kindOf(f.schema.Type) == "array" && (t == "string" || t == "")
}

func same(a, b json.RawMessage) bool { return len(b) > 0 && plain(a) == plain(b) }

// plain is a JSON text without its quotes, and any other JSON as it is.
func plain(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	return string(raw)
}

func number(f *float64) string {
	if f == nil {
		return ""
	}
	return strconv.FormatFloat(*f, 'g', -1, 64)
}

// read takes what a form sent: the payload, and the same fields with what was written in them.
func read(fields []field, sent *fasthttp.Args) (payload json.RawMessage, err error) {
	out := map[string]any{}
	for i := range fields {
		f := &fields[i]
		name := strings.TrimPrefix(f.Name, "f.")
		text := strings.ReplaceAll(string(sent.Peek(f.Name)), "\r\n", "\n")
		if f.Kind == "tick" {
			f.Checked = text == "true"
			out[name] = f.Checked
			continue
		}
		value, given, problem := f.value(text)
		f.Value = text
		if f.Kind == "choice" {
			for n := range f.Choices {
				f.Choices[n].Chosen = f.Choices[n].Value == text
			}
		}
		switch {
		case problem != "" && err == nil:
			err = fmt.Errorf("%s: %s", f.Label, problem)
		case !given && f.Required && err == nil:
			err = fmt.Errorf("%s: it must be filled in", f.Label)
		case given:
			out[name] = value
		}
	}
	if err != nil || len(fields) == 0 {
		return nil, err
	}
	return json.Marshal(out)
}

// value reads what was written in a field.
func (f *field) value(text string) (value any, given bool, problem string) {
	p := f.schema
	if strings.TrimSpace(text) == "" {
		return nil, false, ""
	}
	switch {
	case f.Kind == "choice":
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 || n >= len(p.Enum) {
			return nil, false, "choose one"
		}
		return p.Enum[n], true, ""
	case f.Kind == "number":
		n, err := strconv.ParseFloat(text, 64)
		switch {
		case err != nil || math.IsNaN(n) || math.IsInf(n, 0):
			return nil, false, "it must be a number"
		case kindOf(p.Type) == "integer" && n != float64(int64(n)):
			return nil, false, "it must be a whole number"
		case p.Minimum != nil && n < *p.Minimum:
			return nil, false, "it must be at least " + number(p.Minimum)
		case p.Maximum != nil && n > *p.Maximum:
			return nil, false, "it must be at most " + number(p.Maximum)
		}
		return n, true, ""
	case f.Kind == "area" && f.lines():
		list := []string{}
		for line := range strings.SplitSeq(text, "\n") {
			if line = strings.TrimSpace(line); line != "" {
				list = append(list, line)
			}
		}
		return list, true, ""
	case f.Kind == "area":
		if !json.Valid([]byte(text)) {
			return nil, false, "it is not JSON"
		}
		return json.RawMessage(text), true, ""
	case f.Kind == "datetime-local":
		for _, layout := range []string{"2006-01-02T15:04", "2006-01-02T15:04:05"} {
			if t, err := time.Parse(layout, text); err == nil {
				return t.Format(time.RFC3339), true, ""
			}
		}
		return nil, false, "it must be a date and a time"
	case f.Kind == "date":
		if _, err := time.Parse("2006-01-02", text); err != nil {
			return nil, false, "it must be a date"
		}
	}
	if n := len([]rune(text)); p.MinLength != nil && n < *p.MinLength || p.MaxLength != nil && n > *p.MaxLength {
		return nil, false, "it is too short or too long"
	}
	return text, true, ""
}
