package format

import (
	"bytes"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// names are fields that mean something and fields that do not.
var fieldNames = func() []string {
	out := []string{"x", "x_new", "", "é", "<<", "yes"}
	for _, t := range []reflect.Type{reflect.TypeFor[Flow](), reflect.TypeFor[Value](), reflect.TypeFor[Module](), reflect.TypeFor[RawScript](),
		reflect.TypeFor[ForLoop](), reflect.TypeFor[Retry](), reflect.TypeFor[Suspend](), reflect.TypeFor[Note]()} {
		for _, f := range layoutOf(t).fields {
			out = append(out, f.name)
		}
	}
	return out
}()

// texts are strings that YAML might take for something else, or spoil.
var texts = rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"", "yes", "no", "on", "null", "~", "1", "0x1", "1e3", "1_0", ".inf", "- a", "a: b", "# c", "a #b",
	"!inline a.ts", "!x", "&a", "*a", "|", ">", "%", "@", "`", "'", "\"", "\\", "\t", " lead", "trail ", "a\nb", "a\n", "\na", "a\n\n\n", " a\nb", "a \nb", "a\n\tb",
	"\r\n", "a\rb", "\u0085", "\u2028", "\ufeff", "\u0000", "\u007f", "😀", "2020-01-01", "12:30:45", "=", "<<", "{", "[", "}", ",", "? a", "---", "...", "a\n---\nb", "a: |\n  b"}))

func anything(depth int) *rapid.Generator[any] {
	scalar := rapid.OneOf(
		rapid.Map(texts, func(s string) any { return s }),
		rapid.Map(rapid.SampledFrom([]string{"0", "-0", "1", "-17", "1.0", "1.50", "1e2", "1E+2", "123456789012345678901234567890", "0.1e-7", "1e400"}),
			func(s string) any { return json.Number(s) }),
		rapid.Just[any](nil), rapid.Map(rapid.Bool(), func(b bool) any { return b }))
	if depth == 0 {
		return scalar
	}
	inner := anything(depth - 1)
	return rapid.OneOf(scalar,
		rapid.Map(rapid.SliceOfN(inner, 0, 4), func(l []any) any { return l }),
		rapid.Map(rapid.MapOfN(rapid.OneOf(rapid.SampledFrom(fieldNames), texts), inner, 0, 6), func(m map[string]any) any { return m }))
}

// encode encodes without escaping, which JSON does not need.
func encode(t *rapid.T, v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	return bytes.TrimSpace(b.Bytes())
}

func decoded(t *rapid.T, src []byte) any {
	d := json.NewDecoder(bytes.NewReader(src))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v in %s", err, src)
	}
	return v
}

// TestUnknownFieldsSurvive puts fields with any value anywhere into a flow that has everything: what is read is written again,
// by way of JSON to the byte, by way of YAML to the value.
func TestUnknownFieldsSurvive(t *testing.T) {
	src := everything(t)
	rapid.Check(t, func(t *rapid.T) {
		root := decoded(t, src).(map[string]any)
		var spread func(v any)
		spread = func(v any) {
			switch v := v.(type) {
			case map[string]any:
				for _, name := range slices.Sorted(maps.Keys(v)) {
					if name != "input_transforms" { // where every name is that of an argument
						spread(v[name])
					}
				}
				if rapid.IntRange(0, 3).Draw(t, "here") == 0 {
					v["x_"+texts.Draw(t, "name")] = anything(3).Draw(t, "value")
				}
			case []any:
				for _, inner := range v {
					spread(inner)
				}
			}
		}
		spread(root)
		text := encode(t, root)
		f, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := f.JSON(); !bytes.Equal(got, text) {
			t.Fatalf("written\n%s\nread\n%s", got, text)
		}
		yaml, err := f.YAML()
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse(yaml)
		if err != nil {
			t.Fatalf("%v in\n%s", err, yaml)
		}
		if got, want := decoded(t, again.JSON()), decoded(t, text); !reflect.DeepEqual(got, want) {
			t.Fatalf("by way of YAML\n%v\nread\n%v\nYAML\n%s", got, want, yaml)
		}
	})
}

// TestAnythingIsReadOrRefused gives known fields any value: what is refused is refused with Problems, what is taken survives.
func TestAnythingIsReadOrRefused(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		module := func() map[string]any {
			m := rapid.MapOfN(rapid.SampledFrom(fieldNames), anything(2), 0, 5).Draw(t, "module")
			m["value"] = map[string]any{"type": rapid.SampledFrom(kindNames()).Draw(t, "kind"), "path": anything(1).Draw(t, "path"),
				"modules": []any{}, "branches": anything(2).Draw(t, "branches"), "default": []any{},
				"iterator": map[string]any{"type": "javascript", "expr": anything(0).Draw(t, "expr")}}
			return m
		}
		text := encode(t, map[string]any{"summary": anything(1).Draw(t, "summary"), "value": map[string]any{"modules": []any{module(), module()}}})
		f, err := Parse(text)
		if err != nil {
			if _, ok := err.(Problems); !ok {
				t.Fatalf("error %T: %v", err, err)
			}
			f.Value.Walk(func(*Module, Place) bool { return true }) // what could be read can be walked
			return
		}
		if got := f.JSON(); !bytes.Equal(got, text) {
			t.Fatalf("written\n%s\nread\n%s", got, text)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add(everything(f))
	f.Add([]byte(inlineFlow))
	f.Add([]byte("&a [*a]"))
	f.Add([]byte(`{"value":{"modules":[{"value":{"type":"branchone","branches":[{}]}}]}}`))
	f.Fuzz(func(t *testing.T, src []byte) {
		flow, err := Parse(src)
		if err != nil {
			if _, ok := err.(Problems); !ok {
				t.Fatalf("error %T: %v", err, err)
			}
			return
		}
		flow.Value.FillIDs()
		out := flow.JSON()
		again, err := Parse(out)
		if err != nil {
			t.Fatalf("written flow is refused: %v\n%s", err, out)
		}
		if got := again.JSON(); !bytes.Equal(got, out) {
			t.Errorf("written\n%s\nwritten again\n%s", out, got)
		}
		if _, err := flow.Folder(extension); err != nil {
			t.Errorf("folder: %v", err)
		}
	})
}
