package format

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// everything is a flow with each kind of module and each field, and with fields that nobody knows at every level.
func everything(t testing.TB) []byte {
	t.Helper()
	src, err := os.ReadFile(filepath.Join("testdata", "everything.json"))
	if err != nil {
		t.Fatal(err)
	}
	return src
}

// value is what JSON means, with numbers as they are written.
func value(t testing.TB, src []byte) any {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(src))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v in %s", err, src)
	}
	return v
}

func compact(t testing.TB, src []byte) string {
	t.Helper()
	var b bytes.Buffer
	if err := json.Compact(&b, src); err != nil {
		t.Fatalf("%v in %s", err, src)
	}
	return b.String()
}

func TestEverythingRoundTrips(t *testing.T) {
	src := everything(t)
	f, err := Parse(src)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := compact(t, f.JSON()), compact(t, src); got != want {
		t.Errorf("written\n%s\nread\n%s", got, want)
	}
	out, err := f.YAML()
	if err != nil {
		t.Fatal(err)
	}
	again, err := Parse(out)
	if err != nil {
		t.Fatalf("%v in\n%s", err, out)
	}
	if got, want := value(t, again.JSON()), value(t, src); !reflect.DeepEqual(got, want) {
		t.Errorf("by way of YAML\n%v\nread\n%v\n%s", got, want, out)
	}
}

// TestEveryFieldIsRead fails when a field of a type is missing in everything.json, so that no field goes untested.
func TestEveryFieldIsRead(t *testing.T) {
	f, err := Parse(everything(t))
	if err != nil {
		t.Fatal(err)
	}
	set := map[string]bool{}
	var look func(v reflect.Value)
	look = func(v reflect.Value) {
		switch v.Kind() {
		case reflect.Pointer, reflect.Interface:
			if !v.IsNil() {
				look(v.Elem())
			}
		case reflect.Slice:
			for i := range v.Len() {
				look(v.Index(i))
			}
		case reflect.Map:
			for _, k := range v.MapKeys() {
				look(v.MapIndex(k))
			}
		case reflect.Struct:
			for i := range v.NumField() {
				field := v.Type().Field(i)
				if !field.IsExported() || field.Type == sourceType {
					continue
				}
				name := v.Type().Name() + "." + field.Name
				set[name] = set[name] || !v.Field(i).IsZero()
				look(v.Field(i))
			}
		}
	}
	look(reflect.ValueOf(f))
	for name, ok := range set {
		if !ok {
			t.Errorf("%s is not set by everything.json", name)
		}
	}
	if len(set) < 100 {
		t.Errorf("found only %d fields", len(set))
	}
}

func TestPositions(t *testing.T) {
	yaml := "summary: s\nvalue:\n  modules:\n    - id: a\n      stop_after_if:\n        expr: result.x\n      value:\n        type: identity\n"
	js := `{"summary": "s", "value": {"modules": [
  {"id": "a", "stop_after_if": {"expr": "é"},
   "value": {"type": "identity"}}]}}`
	for name, c := range map[string]struct {
		src       string
		expr, typ Pos
	}{
		"yaml": {yaml, Pos{6, 15}, Pos{8, 15}},
		"json": {js, Pos{2, 41}, Pos{3, 22}},
	} {
		f, err := Parse([]byte(c.src))
		if err != nil {
			t.Fatal(err)
		}
		m := f.Value.Modules[0]
		if got := m.StopAfterIf.At("expr"); got != c.expr {
			t.Errorf("%s: expr at %v, want %v", name, got, c.expr)
		}
		if got := m.Value.(*Identity).At("type"); got != c.typ {
			t.Errorf("%s: type at %v, want %v", name, got, c.typ)
		}
		if got := m.At("retry"); got != m.Pos() {
			t.Errorf("%s: a field that is missing is at %v, want the module's %v", name, got, m.Pos())
		}
	}
}

func TestProblems(t *testing.T) {
	cases := []struct{ name, src, want string }{
		{"not json", `{"summary": }`, `line 1, column 13: not valid JSON: invalid character '}' looking for beginning of value`},
		{"ends early", `{"summary": "a"`, `line 1, column 15: not valid JSON: unexpected end of JSON input`},
		{"more", `{"value": {"modules": []}, "summary": ""} x`, `line 1, column 43: not valid JSON: invalid character 'x' after top-level value`},
		{"not yaml", "a: [1", "not valid YAML: "},
		{"yaml line", "a: 1\nb: :\n  - x: y: z\n", "line 2, column 1: not valid YAML: "},
		{"empty", "", "line 1, column 1: the document is empty"},
		{"list", "[]", "is a list, should be an object"},
		{"nothing", "null", "is null, should be an object"},
		{"no value", "summary: a", "line 1, column 1: value: is missing"},
		{"no modules", "summary: a\nvalue: {}", "line 2, column 8: value.modules: is missing"},
		{"kind", "summary: a\nvalue: {modules: [{id: x, value: {type: frob}}]}", `line 2, column 41: module "x": value.type: no such kind of step: frob (use one of `},
		{"no kind", "summary: a\nvalue: {modules: [{id: x, value: {}}]}", `module "x": value.type: is missing`},
		{"wrong type", "summary: a\nvalue:\n  modules:\n  - id: x\n    cache_ttl: long\n    value: {type: identity}", `line 5, column 16: module "x": cache_ttl: is a string, should be a number`},
		{"deep", "summary: a\nvalue:\n  modules:\n  - id: x\n    value:\n      type: forloopflow\n      iterator: {type: static, value: []}\n      modules:\n      - id: y\n        value: {type: script}", `line 10, column 16: module "y": value.path: is missing`},
		{"twice", `{"summary":"a","value":{"modules":[{"id":"x","id":"y","value":{"type":"identity"}}]}}`, `module "y": id: is given twice`},
		{"fraction", "summary: a\nvalue: {modules: [], priority: 1.5}", "value.priority: is 1.5, should be a whole number"},
		{"timeout", "summary: a\nvalue: {modules: [{id: x, timeout: soon, value: {type: identity}}]}", `module "x": timeout: is a string (write a number, or`},
		{"transform", "summary: a\nvalue: {modules: [{id: x, sleep: {type: magic}, value: {type: identity}}]}", `module "x": sleep.type: no such kind of input: magic`},
		{"argument", "summary: a\nvalue: {modules: [{id: x, value: {type: flow, path: f/a/b, input_transforms: {n: {value: 1}}}}]}", `module "x": value.input_transforms.n.type: is missing`},
		{"null module", "summary: a\nvalue: {modules: [null]}", "line 2, column 19: value.modules: holds null"},
		{"number", "summary: a\nvalue: {modules: [], cache_ttl: .inf}", "JSON has no such number: .inf"},
		{"utf8", "{\"summary\": \"\xff\"}", "the document is not UTF-8"},
		{"key", "? [a]\n: b\n", "the name of a field is a list or an object"},
		{"cycle", "&a [*a]", ""},
		{"deepest", strings.Repeat("[", 600) + strings.Repeat("]", 600), "nested more than 500 levels deep"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse([]byte(c.src))
			var problems Problems
			if !errors.As(err, &problems) {
				t.Fatalf("error %v (%T), want Problems", err, err)
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("error\n%s\nwant\n%s", err, c.want)
			}
		})
	}
}

func TestAllProblemsAreReported(t *testing.T) {
	_, err := Parse([]byte("summary: 1\nvalue: {modules: [{id: 2, value: {type: script}}, {value: 3}]}"))
	var problems Problems
	if !errors.As(err, &problems) || len(problems) != 4 {
		t.Errorf("%d problems, want 4:\n%v", len(problems), err)
	}
}

// TestLenient holds what the format's own server takes although its schema asks for more or for something else.
func TestLenient(t *testing.T) {
	src := `value:
  modules:
    - value: {type: rawscript, language: mock, content: x}
    - id: l
      timeout: {type: javascript, expr: flow_input.t}
      delete_after_use: true
      stop_after_if: {expr: 'true'}
      value:
        type: forloopflow
        iterator: {type: static}
        parallelism: {type: static, value: 2}
        modules:
          - value: {type: script, path: u/a/b, hash: 00000000000000ff, input_transform: {x: {type: static, value: 1}}}
summary: null
`
	f, err := Parse([]byte(src))
	if err != nil {
		t.Fatal(err)
	}
	raw, loop := f.Value.Modules[0], f.Value.Modules[1]
	if raw.Inputs() != nil || loop.Timeout.Input.Expr != "flow_input.t" {
		t.Errorf("inputs %v, timeout %v", raw.Inputs(), loop.Timeout)
	}
	if n, ok := loop.DeleteAfter(); n != 0 || !ok {
		t.Error("delete_after_use means delete_after_secs 0")
	}
	if s := loop.StopAfterIf; s.SkipIfStopped || s.ErrorMessage != nil {
		t.Errorf("stop %+v", s)
	}
	b := loop.Value.(*ForLoop)
	if !b.SkipFailures() || b.Parallel || string(b.Parallelism.Input.Value) != "2" {
		t.Errorf("loop %+v", b)
	}
	script := b.Modules[0].Value.(*Script)
	if script.Inputs["x"] == nil || script.Hash != "00000000000000ff" {
		t.Errorf("script %+v", script)
	}
	f.Value.FillIDs()
	if raw.ID != "a" || b.Modules[0].ID != "b" {
		t.Errorf("ids %q and %q", raw.ID, b.Modules[0].ID)
	}
}

func TestDefaults(t *testing.T) {
	f, err := Parse([]byte(`{"summary":"","value":{"modules":[
		{"id":"a","value":{"type":"forloopflow","iterator":{"type":"static","value":[]},"modules":[],"skip_failures":false}},
		{"id":"b","value":{"type":"whileloopflow","modules":[]}},
		{"id":"c","value":{"type":"branchall","branches":[{"modules":[]},{"modules":[],"skip_failure":false}]}},
		{"id":"d","value":{"type":"branchall","branches":[],"parallel":false}}]}}`))
	if err != nil {
		t.Fatal(err)
	}
	m := f.Value.Modules
	if m[0].Value.(*ForLoop).SkipFailures() || m[1].Value.(*WhileLoop).SkipFailures {
		t.Error("a loop that says so, and a while loop, end at a failure")
	}
	all := m[2].Value.(*BranchAll)
	if !all.Parallel() || !all.Branches[0].SkipFailure() || all.Branches[1].SkipFailure() {
		t.Error("branches are parallel and skip failures unless told otherwise")
	}
	if m[3].Value.(*BranchAll).Parallel() {
		t.Error("these branches follow each other")
	}
}

func TestChangesAreWritten(t *testing.T) {
	f, err := Parse([]byte(`{"x":1.0,"summary":"s","value":{"same_worker":false,"modules":[{"id":"a","retry":{"constant":{"attempts":2e0}},
		"value":{"type":"rawscript","lock":"","content":"c","future":[1, 2],"language":"mock"}}]}}`))
	if err != nil {
		t.Fatal(err)
	}
	m := f.Value.Modules[0]
	m.Value.(*RawScript).Lock = "locked"
	m.Retry.Constant.Seconds = 5
	f.Value.SameWorker = true
	f.Value.Modules = append(f.Value.Modules, &Module{ID: "b", Value: &Identity{}}, &Module{ID: "c", Sleep: Expression("1"),
		Value: &ForLoop{Iterator: Constant(json.RawMessage(`[1]`))}})
	want := `{"x":1.0,"summary":"s","value":{"same_worker":true,"modules":[{"id":"a","retry":{"constant":{"attempts":2e0,"seconds":5}},` +
		`"value":{"type":"rawscript","lock":"locked","content":"c","future":[1,2],"language":"mock"}},` +
		`{"id":"b","value":{"type":"identity"}},{"id":"c","value":{"type":"forloopflow","iterator":{"type":"static","value":[1]},"modules":[]},` +
		`"sleep":{"type":"javascript","expr":"1"}}]}}`
	if got := compact(t, f.JSON()); got != want {
		t.Errorf("written\n%s\nwant\n%s", got, want)
	}
	m.Retry = nil
	if strings.Contains(string(f.JSON()), "retry") {
		t.Error("what was taken away is written")
	}
}

func TestYAMLFeatures(t *testing.T) {
	f, err := Parse([]byte(`
summary: &s merged
description: *s
schema: {<<: {type: object, a: 1}, a: 2, n: 0x10, f: 1_000.5, d: 2020-01-02, y: yes, t: ~}
value:
  modules:
    - id: a
      value: {type: rawscript, language: mock, content: !inline a.ts}
`))
	if err != nil {
		t.Fatal(err)
	}
	if f.Description != "merged" || f.Value.Modules[0].Value.(*RawScript).Content != "!inline a.ts" {
		t.Errorf("flow %+v", f)
	}
	want := map[string]any{"type": "object", "a": json.Number("2"), "n": json.Number("16"), "f": json.Number("1000.5"),
		"d": "2020-01-02", "y": "yes", "t": nil}
	if got := value(t, f.Schema); !reflect.DeepEqual(got, want) {
		t.Errorf("schema %v, want %v", got, want)
	}
}

func TestWalk(t *testing.T) {
	f, err := Parse(everything(t))
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	f.Value.Walk(func(m *Module, at Place) bool {
		if at.List[at.Index] != m {
			t.Errorf("%s is not where it is said to be", m.ID)
		}
		ids = append(ids, strings.Repeat(">", at.Depth)+m.ID)
		return m.ID != "while"
	})
	want := "preprocessor raw script sub loop >looped while one >first >otherwise all >left >right gate agent decision old failure"
	if got := strings.Join(ids, " "); got != want {
		t.Errorf("walked\n%s\nwant\n%s", got, want)
	}
	if f.Value.Find("otherwise") == nil || f.Value.Find("nowhere") != nil {
		t.Error("Find finds what is there")
	}
	if last, ok := (&Value{Modules: []*Module{{ID: "a", Sleep: Constant(json.RawMessage("1"))}}}).EndsWithWait(); !ok || VirtualID(last.ID) != "a-v" {
		t.Error("a last module that sleeps needs a module after it")
	}
}
