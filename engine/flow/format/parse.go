package format

import (
	"bytes"
	"encoding/json"
)

// Parse reads a whole flow: an object with summary, value and schema. JSON and YAML are told apart by their first character.
// The error is of type Problems; the flow comes along as far as it could be read, so that an editor can show more than one
// message, but it may lack what is required.
func Parse(src []byte) (*Flow, error) {
	f := &Flow{}
	return f, parse(src, f)
}

// ParseValue reads what a flow does, without summary and schema: the value alone, as a preview sends it.
func ParseValue(src []byte) (*Value, error) {
	v := &Value{}
	return v, parse(src, v)
}

func parse(src []byte, target any) error {
	scan := scanYAML
	if first := bytes.TrimLeft(bytes.TrimPrefix(src, []byte("\xef\xbb\xbf")), " \t\r\n"); len(first) > 0 && (first[0] == '{' || first[0] == '[') {
		scan = scanJSON
	}
	n, err := scan(src)
	if err != nil {
		return err
	}
	d := decoder{}
	d.into(target, n, "")
	if n.kind == nullNode {
		d.wrong(n, "", "an object")
	}
	if len(d.problems) > 0 {
		return d.problems
	}
	return nil
}

// MarshalJSON writes the flow as JSON.
func (f *Flow) MarshalJSON() ([]byte, error) { return marshal(f), nil }

// MarshalJSON writes the value as JSON.
func (v *Value) MarshalJSON() ([]byte, error) { return marshal(v), nil }

// MarshalJSON writes the module as JSON.
func (m *Module) MarshalJSON() ([]byte, error) { return marshal(m), nil }

// UnmarshalJSON reads the flow from JSON.
func (f *Flow) UnmarshalJSON(src []byte) error { return parseJSON(src, f) }

// UnmarshalJSON reads the value from JSON.
func (v *Value) UnmarshalJSON(src []byte) error { return parseJSON(src, v) }

// UnmarshalJSON reads the module from JSON.
func (m *Module) UnmarshalJSON(src []byte) error { return parseJSON(src, m) }

func parseJSON(src []byte, target any) error {
	n, err := scanJSON(bytes.Clone(src)) // nodes keep the text, which belongs to the caller
	if err != nil {
		return err
	}
	d := decoder{}
	d.into(target, n, "")
	if len(d.problems) > 0 {
		return d.problems
	}
	return nil
}

func marshal(v any) json.RawMessage {
	e := encoder{}
	e.value(v, nil)
	return e.buf.Bytes()
}
