package signature

import (
	"encoding/json"
	"testing"
)

// What the plain way accepts, the schema accepts; what it is for is accepted.
func TestPlain(t *testing.T) {
	const schema = `{"$schema":"x","type":"object","required":["n"],"properties":{"n":{"type":"integer","description":"d"},"s":{"type":"string","default":"a"},
		"b":{"type":"boolean"},"f":{"type":"number"},"l":{"type":"array"},"o":{"type":"object"},"any":{}}}`
	v, err := Compile(json.RawMessage(schema))
	if err != nil || v.plain == nil {
		t.Fatalf("not plain: %v", err)
	}
	slow := *v
	slow.plain = nil
	for args, fast := range map[string]bool{
		`{"n":1}`: true, `{ "n" : -12 , "s" : "a\"}" , "b":false,"f":1.5e3,"l":[1,{"x":"]"}],"o":{"a":[]},"any":null , "more":[1] }`: true,
		`{"more":{"n":"}"},"n":1}`: true, `{"n":1.0}`: false, `{"n":"1"}`: false, `{"s":"x"}`: false, `{"n":1,"s":null}`: false, `{}`: false, `[]`: false,
		`{"n":1,"s":"$var:x"}`: true, `{"n":"$var:x"}`: false, `{"n":1,`: false, `{"\u006e":1}`: false, `{"n":1,"n":"a"}`: false, `{"o":{"n":1}}`: false, `1`: false,
		`{"n":1,"é":[],"":{}}`: true, "{\n\"n\":1\t}": true, `{"n":01}`: false,
	} {
		got := v.plain.fits(json.RawMessage(args))
		if got != fast {
			t.Errorf("%s: fits %v, want %v", args, got, fast)
		}
		if spaced := v.plain.fits(json.RawMessage(" \n" + args + "\t")); spaced != fast {
			t.Errorf("%s between spaces: fits %v, want %v", args, spaced, fast)
		}
		if a, b := v.Check(json.RawMessage(args)), slow.Check(json.RawMessage(args)); (a == nil) != (b == nil) || a != nil && a.Error() != b.Error() {
			t.Errorf("%s: %v, by the schema %v", args, a, b)
		}
	}
	for _, more := range []string{`{"properties":{"n":{"type":"integer","minimum":1}}}`, `{"properties":{"n":{"enum":[1]}}}`, `{"properties":{"n":{"type":["integer"]}}}`,
		`{"properties":{"n":{}},"additionalProperties":{"type":"string"}}`, `{"properties":{"n":true}}`, `{"properties":{"n":{"type":"array","items":{"type":"string"}}}}`} {
		if v, err := Compile(json.RawMessage(more)); err != nil || v.plain != nil && v.plain.fits(json.RawMessage(`{"n":0}`)) && v.Check(json.RawMessage(`{"n":0}`)) != nil {
			t.Errorf("%s: taken for plain, %v", more, err)
		}
	}
}

// FuzzPlain compares both ways.
func FuzzPlain(f *testing.F) {
	v, err := Compile(json.RawMessage(`{"required":["n"],"properties":{"n":{"type":"integer"},"s":{"type":"string"},"l":{"type":"array"}}}`))
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(`{"n":1,"s":"x","l":[{}]}`))
	f.Add([]byte(`{"s":"\"", "n" : -1}`))
	f.Fuzz(func(t *testing.T, args []byte) {
		slow := *v
		slow.plain = nil
		if len(args) > 0 && v.Check(args) == nil && slow.Check(args) != nil {
			t.Errorf("%q: accepted, by the schema %v", args, slow.Check(args))
		}
	})
}

func BenchmarkCheckPlain(b *testing.B) {
	v, err := Compile(json.RawMessage(`{"required":["n"],"properties":{"n":{"type":"integer"},"s":{"type":"string"}}}`))
	if err != nil {
		b.Fatal(err)
	}
	slow := *v
	slow.plain = nil
	for name, v := range map[string]*Validator{"plain": v, "schema": &slow} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := v.Check(json.RawMessage(`{"n": 12, "s": "some text"}`)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
