package signature

import (
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/millrace/millrace/runtimes"
)

func TestSchema(t *testing.T) {
	got := Schema(runtimes.Signature{Params: []runtimes.Param{
		{Name: "z", Schema: runtimes.Schema{Type: "integer"}, Doc: "how <many>", Required: true},
		{Name: "a", Schema: runtimes.Schema{Type: "string", Format: "date-time"}, Default: json.RawMessage(`"now"`)},
		{Name: "bad", Default: json.RawMessage(`{`)},
	}})
	want := `{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object","properties":{` +
		`"z":{"type":"integer","description":"how <many>"},"a":{"type":"string","default":"now","format":"date-time"},"bad":{}},` +
		`"required":["z"],"order":["z","a","bad"]}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if empty := Schema(runtimes.Signature{}); !strings.Contains(string(empty), `"properties":{},"required":[],"order":[]`) {
		t.Errorf("empty: %s", empty)
	}
}

const document = `{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object","additionalProperties":false,
"properties":{
 "n":{"type":"integer","minimum":1},
 "s":{"type":"string","format":"email","default":null},
 "e":{"type":"string","enum":["a","b"]},
 "t":{"type":"string","pattern":"^x"},
 "l":{"type":"array","items":{"type":"number"}},
 "o":{"type":"object","properties":{"k":{"type":"string"}},"required":["k"]},
 "r":{"type":"object","format":"resource-postgresql"},
 "u":{"oneOf":[{"type":"object","properties":{"label":{"enum":["x"]},"v":{"type":"integer"}}},{"type":"object","properties":{"label":{"enum":["y"]}}}]},
 "b":{"type":"bytes"},"any":{},"odd":{"type":"string","pattern":"(","enum":[],"required":true,"$ref":"https://x/y","minLength":-1}
},"required":["n"],"order":["n"]}`

func TestCheck(t *testing.T) {
	v, err := Compile(json.RawMessage(document))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ args, want string }{
		{`{"n":1}`, ""},
		{`{"n":2.0}`, ""},
		{`{"n":123456789012345678901234567890}`, ""},
		{`{"n":1,"extra":[1]}`, ""},
		{`{"n":"$var:u/a/n","o":"$res:u/a/o","l":["$var:x"]}`, ""},
		{`{"n":1,"s":null,"e":null,"l":null,"o":null,"r":null,"u":null}`, ""},
		{`{"n":1,"s":"no address"}`, ""},
		{`{"n":1,"r":{"host":"h"}}`, ""},
		{`{"n":1,"r":"$res:u/a/db"}`, ""},
		{`{"n":1,"b":1,"any":[],"odd":"x"}`, ""},
		{`{"n":1,"u":{"label":"y"}}`, ""},
		{`{"n":1,"u":{"label":"x","v":"$var:u/a/v"}}`, ""},
		{``, "n: missing, want integer"},
		{`{}`, "n: missing, want integer"},
		{`{"n":"1"}`, "n: got string, want integer"},
		{`{"n":null}`, "n: got null, want integer"},
		{`{"n":1.5}`, "n: got number, want integer"},
		{`{"n":0}`, "n: minimum: got 0, want 1"},
		{`{"n":1,"e":"c"}`, `e: value must be one of 'a', 'b'`},
		{`{"n":1,"t":"y"}`, `t: 'y' does not match pattern '^x'`},
		{`{"n":1,"l":[1,"2"]}`, "l[1]: got string, want number"},
		{`{"n":1,"o":{}}`, "o.k: missing"},
		{`{"n":1,"o":{"k":1}}`, "o.k: got number, want string"},
		{`{"n":1,"r":"postgres://"}`, "r: got string, want object"},
		{`{"n":1,"u":{"label":"z"}}`, "u: fits none of the alternatives"},
		{`{"n":true,"l":{}}`, "l: got object, want array\nn: got boolean, want integer"},
		{`[1]`, "arguments: want a JSON object"},
		{`{"n":`, "arguments: not valid JSON"},
	} {
		err := v.Check(json.RawMessage(c.args))
		if c.want == "" {
			if err != nil {
				t.Errorf("%s: %v", c.args, err)
			}
			continue
		}
		var f *runtimes.Failure
		if !errors.As(err, &f) || f.Name != ArgumentError || !strings.HasPrefix(f.Message, c.want) {
			t.Errorf("%s: got %v, want %s", c.args, err, c.want)
		}
	}
}

func TestUnusableSchemaAcceptsObjects(t *testing.T) {
	for _, c := range []struct {
		schema string
		usable bool
	}{{"", true}, {"null", false}, {"{", false}, {"[]", false}, {`{"type":"strange","properties":7}`, true}} {
		v, err := Compile(json.RawMessage(c.schema))
		if (err == nil) != c.usable {
			t.Errorf("%q: got %v", c.schema, err)
		}
		if err := v.Check(json.RawMessage(`{"n":1}`)); err != nil {
			t.Errorf("%q: %v", c.schema, err)
		}
		if err := v.Check(json.RawMessage(`3`)); err == nil {
			t.Errorf("%q accepts arguments that are no object", c.schema)
		}
	}
}

func TestCheckConcurrently(t *testing.T) {
	v, err := Compile(json.RawMessage(document))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 100 {
				if v.Check(json.RawMessage(`{"n":1,"l":[1,2]}`)) != nil || v.Check(json.RawMessage(`{}`)) == nil {
					t.Error("wrong verdict")
				}
			}
		})
	}
	wg.Wait()
}

func FuzzCheck(f *testing.F) {
	f.Add(document, `{"n":1,"u":{"label":"y"}}`)
	f.Add(`{"properties":{"a":{"items":{"type":["string","null"]}}}}`, `{"a":[1,null]}`)
	f.Fuzz(func(t *testing.T, schema, args string) {
		v, _ := Compile(json.RawMessage(schema))
		var f *runtimes.Failure
		if err := v.Check(json.RawMessage(args)); err != nil && !errors.As(err, &f) {
			t.Fatalf("not a failure: %v", err)
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	v, _ := Compile(json.RawMessage(document))
	b.ReportAllocs()
	for b.Loop() {
		_ = v.Check(json.RawMessage(`{"n":1,"s":"x","l":[1,2]}`))
	}
}
