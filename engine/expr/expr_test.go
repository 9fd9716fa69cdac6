package expr

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
)

// scope is what most tests read.
func scope() Values {
	v := Values{
		{Name: "flow_input"}: json.RawMessage(`{"x": 5, "s": "aé😀", "list": [{"n": 1, "ok": true}, {"n": 2, "ok": false}], "o": {"k": {"l": [10, 20]}, "length": 7},
			"a-b": 1, "esc\u0061ped": 2, "dup": 1, "dup": 2, "big": 12345678901234567890, "none": null, "iter": {"index": 3, "value": "v"}, "q": "say \"hi\\\""}`),
		{Name: "flow_env"}:                  json.RawMessage(`{"STAGE": "test"}`),
		{Name: "previous_result"}:           json.RawMessage(`[1,2,3]`),
		{Name: "result"}:                    json.RawMessage(`{"done": true, "count": 3}`),
		{Name: "error"}:                     json.RawMessage(`{"name": "Boom", "message": "m"}`),
		{Name: "resume"}:                    json.RawMessage(`{"ok": true}`),
		{Name: Results, Key: "a"}:           json.RawMessage(`{"b": [1, {"c": "deep"}], "n": 1.50, "text": "t"}`),
		{Name: Results, Key: "a-b"}:         json.RawMessage(`"dashed"`),
		{Name: Results, Key: "list"}:        json.RawMessage(`[3, 1, 2]`),
		{Name: "variable", Key: "u/a/v"}:    json.RawMessage(`"secret"`),
		{Name: "resource", Key: "u/a/r"}:    json.RawMessage(`{"host": "h", "port": 1}`),
		{Name: "flow_user_state", Key: "k"}: json.RawMessage(`{"n": 9}`),
	}
	return v
}

// How an expression is answered.
const (
	byPath = "path"
	tame   = "tame"
	wild   = "wild"
)

var cases = []struct{ expr, want, how string }{
	// Paths and literals.
	{`flow_input.x`, `5`, byPath},
	{`flow_input["x"];`, `5`, byPath},
	{"\n flow_input['a-b'] ", `1`, byPath},
	{`flow_input.o.k.l[1]`, `20`, byPath},
	{`flow_input.list[1].n`, `2`, byPath},
	{`flow_input.list.length`, `2`, byPath},
	{`flow_input.s.length`, `4`, byPath},
	{`flow_input.o.length`, `7`, byPath},
	{`flow_input.escaped`, `2`, byPath},
	{`flow_input.dup`, `2`, byPath},
	{`flow_input.big`, `12345678901234567890`, byPath},
	{`flow_input.missing`, `null`, byPath},
	{`flow_input.missing?.deeper.still`, `null`, byPath},
	{`flow_input.none`, `null`, byPath},
	{`flow_input.iter.value`, `"v"`, byPath},
	{`flow_input.s[1]`, `"é"`, byPath},
	{`flow_input.list.map`, `null`, byPath},
	{`flow_env.STAGE`, `"test"`, byPath},
	{`results.a.b[1].c`, `"deep"`, byPath},
	{`results.a.n`, `1.50`, byPath},
	{`results["a-b"]`, `"dashed"`, byPath},
	{`results?.a?.b?.[0]`, `1`, byPath},
	{`results.missing`, `null`, byPath},
	{`results.missing.b.c`, `null`, byPath},
	{`previous_result`, `[1,2,3]`, byPath},
	{`previous_result[2]`, `3`, byPath},
	{`result.done`, `true`, byPath},
	{`error.name`, `"Boom"`, byPath},
	{`resumes`, `null`, byPath},
	{`variable("u/a/v")`, `"secret"`, byPath},
	{`await variable('u/a/v')`, `"secret"`, byPath},
	{`resource("u/a/r").host`, `"h"`, byPath},
	{`flow_user_state("k").n`, `9`, byPath},
	{`42`, `42`, byPath},
	{`-1.5`, `-1.5`, byPath},
	{`"a b"`, `"a b"`, byPath},
	{`'it is "so"'`, `"it is \"so\""`, byPath},
	{`true`, `true`, byPath},
	{`null`, `null`, byPath},
	{`undefined;`, `null`, byPath},

	// Tame expressions.
	{`flow_input.x + 1`, `6`, tame},
	{`flow_input.x > 3 && result.done`, `true`, tame},
	{`!result.done`, `false`, tame},
	{`flow_input.x === 5 ? "five" : results.missing.nothing`, `"five"`, tame},
	{"`hello ${flow_input.s} ${flow_input.x * 2}`", `"hello aé😀 10"`, tame},
	{`{a: flow_input.x, b: [results.a.n, null, undefined]}`, `{"a":5,"b":[1.5,null,null]}`, tame},
	{`({...resource("u/a/r"), extra: 1})`, `{"host":"h","port":1,"extra":1}`, tame},
	{`[...previous_result, ...results.list]`, `[1,2,3,3,1,2]`, tame},
	{`flow_input.list.map(x => x.n)`, `[1,2]`, tame},
	{`flow_input.list.filter(x => x.ok).length`, `1`, tame},
	{`flow_input.list.filter((x, i) => i > 0 && !x.ok).map(y => ({n: y.n, more: {...y}}))`, `[{"n":2,"more":{"n":2,"ok":false}}]`, tame},
	{`results.list.some(x => x === flow_input.x)`, `false`, tame},
	{`flow_input.s.toUpperCase().includes("A")`, `true`, tame},
	{`flow_input?.list?.find(x => x.n == 2)?.ok ?? 1`, `false`, tame},
	{`JSON.stringify(results.a)`, `"{\"b\":[1,{\"c\":\"deep\"}],\"n\":1.5,\"text\":\"t\"}"`, tame},
	{`Object.keys(flow_input.o)`, `["k","length"]`, tame},
	{`Math.max(flow_input.x, 7)`, `7`, tame},
	{`flow_input.s.split("").join("-")`, `"a-é-\ud83d-\ude00"`, tame},
	{`new Date(0).toISOString()`, `"1970-01-01T00:00:00.000Z"`, tame},
	{`flow_input[flow_env.STAGE]`, `null`, tame},
	{`results[flow_env.STAGE]`, `null`, tame},
	{`results["a"].b.length + results.list[0]`, `5`, tame},
	{`typeof flow_input.nope`, `"undefined"`, tame},
	{`0/0`, `null`, tame},
	{`flow_input.x // the input`, `5`, tame},
	{`flow_input.q`, `"say \"hi\\\""`, byPath},
	{`String(flow_input.x) + Number("3")`, `"53"`, tame},
	{`Boolean(results.missing)`, `false`, tame},
	{`flow_input.o["k"].l.at(-1)`, `20`, tame},

	// Everything else.
	{"let a = flow_input.x;\nlet b = a * 2;\nreturn {a, b}", `{"a":5,"b":10}`, wild},
	{"const a = flow_input.x\na + 1", `6`, wild},
	{"let y = 1; (y + 1) * 2", `4`, wild},
	{"if (flow_input.x > 3) { return 'big' } else { return 'small' }", `"big"`, wild},
	{"let sum = 0; for (const n of previous_result) sum += n; sum", `6`, wild},
	{`flow_input.list.reduce((a, b) => a + b.n, 0)`, `3`, wild},
	{`results.list.sort()`, `[1,2,3]`, wild},
	{`flow_input.list.map(x => "a" + x.n)`, `["a1","a2"]`, wild},
	{`(() => results.a.b[0])()`, `1`, wild},
	{`await results.list`, `[3,1,2]`, byPath},
	{"const v = await variable('u/a/v');\nreturn v + '!'", `"secret!"`, wild},
	{`(await resource("u/a/r")).port + 1`, `2`, wild},
	{`await Promise.all([1, Promise.resolve(2)])`, `[1,2]`, wild},
	{`Promise.resolve(7)`, `7`, wild},
	{"const key = 'list'; results[key][0]", `3`, wild},
	{"const {x, o: {k}} = flow_input; [x, k.l[0]]", `[5,10]`, wild},
	{"const results = {a: 1}; results.a", `1`, wild},
	{`flow_input.s.replace(/é/g, "e")`, `"ae😀"`, wild},
	{"try { flow_input.nope.deeper } catch (e) { e.name }", `null`, wild},
	{"function f(n) { return n < 2 ? n : f(n-1) + f(n-2) }; f(10)", `55`, wild},
	{"x = 5; x + 1", `6`, wild},
	{"`a ${[1,2].map(n => `${n}`).join()}`", `"a 1,2"`, wild},
	{`() => 1`, `null`, wild},
	{`new Map([[1, 2]]).size`, `1`, wild},
	{"return", `null`, wild},
	{`globalThis.process`, `null`, wild},
}

func TestEval(t *testing.T) {
	here := New(Config{})
	apart := New(Config{Helper: helperCommand()})
	t.Cleanup(apart.Close)
	for _, c := range cases {
		t.Run(c.expr, func(t *testing.T) {
			p, err := Compile(c.expr)
			if err != nil {
				t.Fatal(err)
			}
			how := wild
			if p.Plain() {
				how = byPath
			} else if p.Tame() {
				how = tame
			}
			if how != c.how {
				t.Errorf("is answered as %s, want %s", how, c.how)
			}
			for name, e := range map[string]*Evaluator{"here": here, "apart": apart} {
				got, err := e.Eval(context.Background(), c.expr, scope())
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if !same(got, c.want) {
					t.Errorf("%s: %s, want %s", name, got, c.want)
				}
			}
		})
	}
}

// same compares to the byte, but for white space and how letters are escaped.
func same(got json.RawMessage, want string) bool {
	if string(got) == want {
		return true
	}
	var a, b any
	return json.Unmarshal(got, &a) == nil && json.Unmarshal([]byte(want), &b) == nil && strings.ContainsAny(want, `\[{`) &&
		string(mustMarshal(a)) == string(mustMarshal(b))
}

func mustMarshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	return b
}

// TestPathsMeanWhatTheEngineSays asks the engine, too, for what is answered without it.
func TestPathsMeanWhatTheEngineSays(t *testing.T) {
	e := New(Config{})
	for _, c := range cases {
		if c.how != byPath || c.expr == `results.missing.b.c` || strings.Contains(c.expr, "big") { // null, however deep; digits that JavaScript loses
			continue
		}
		p, err := e.programs.engine(c.expr)
		if err != nil {
			t.Fatal(err)
		}
		got, err := e.Run(context.Background(), p, scope())
		var a, b any
		if err != nil || json.Unmarshal(got, &a) != nil || json.Unmarshal([]byte(c.want), &b) != nil || string(mustMarshal(a)) != string(mustMarshal(b)) {
			t.Errorf("%s: the engine says %s, %v; the path %s", c.expr, got, err, c.want)
		}
	}
}

func TestErrors(t *testing.T) {
	e := New(Config{})
	apart := New(Config{Helper: helperCommand()})
	t.Cleanup(apart.Close)
	cases := []struct {
		expr   string
		reason Reason
		pos    Pos
		msg    string
	}{
		{`flow_input.`, Syntax, Pos{1, 12}, ""},
		{"let a = 1;\nlet b = = 2;\na", Syntax, Pos{2, 9}, "Unexpected token ="},
		{``, Syntax, Pos{}, "is empty"},
		{` ; `, Syntax, Pos{}, "is empty"},
		{`1); foo(`, Syntax, Pos{}, ""},
		{`}); (function(){`, Syntax, Pos{}, "bracket too many"},
		{`1 }); (function(){ return 2`, Syntax, Pos{}, ""},
		{strings.Repeat("(", 2000) + "1" + strings.Repeat(")", 2000), Syntax, Pos{}, "nests more than 500 deep"},
		{strings.Repeat("1+", 40000) + "1", Syntax, Pos{}, "more than 64 KB"},
		{`flow_input.nope.deeper`, Thrown, Pos{1, 17}, "TypeError: Cannot read property 'deeper' of undefined"},
		{"let a = 1;\nflow_input.nope.deeper + a", Thrown, Pos{2, 17}, "TypeError: "},
		{`nope + 1`, Thrown, Pos{1, 1}, "ReferenceError: nope is not defined"},
		{`throw new Error("mine")`, Thrown, Pos{1, 7}, "Error: mine"},
		{`throw {a: 1}`, Thrown, Pos{}, "threw"},
		{`throw "text"`, Thrown, Pos{}, "threw text"},
		{`const a = {}; a.a = a; a`, Thrown, Pos{}, "circular"},
		{`await new Promise(() => {})`, Unsettled, Pos{}, "nothing settles"},
		{`await Promise.reject(new Error("no"))`, Thrown, Pos{}, "Error: no"},
		{`function f() { return f() + 1 }; f()`, TooMuch, Pos{}, "too deep"},
		{`variable("u/no/no") + 1`, NotGiven, Pos{}, "no such variable"},
		{`results.locked + 1`, NotGiven, Pos{}, "no such variable"},
		{`results.locked`, NotGiven, Pos{}, "no such variable"},
		{"const k = 'locked'; results[k]", NotGiven, Pos{}, "no such variable"},
		{"await variable('u/no/no')+1", NotGiven, Pos{}, "no such variable"},
	}
	for _, c := range cases {
		t.Run(c.expr[:min(len(c.expr), 40)], func(t *testing.T) {
			for name, e := range map[string]*Evaluator{"here": e, "apart": apart} {
				got, err := e.Eval(context.Background(), c.expr, refusing{scope()})
				var bad *Error
				if !errors.As(err, &bad) {
					t.Fatalf("%s: %s, error %v, want an *Error", name, got, err)
				}
				if bad.Reason != c.reason || !strings.Contains(bad.Msg, c.msg) || c.pos != (Pos{}) && bad.Pos != c.pos || bad.Expr != c.expr {
					t.Errorf("%s: %s at %v: %q, want %s at %v: %q", name, bad.Reason, bad.Pos, bad.Msg, c.reason, c.pos, c.msg)
				}
				if c.reason == NotGiven && !errors.Is(err, errRefused) {
					t.Errorf("%s: %v does not carry the scope's error", name, err)
				}
			}
		})
	}
}

var errRefused = errors.New("no such variable")

// refusing is a scope that does not have some things.
type refusing struct{ Values }

func (r refusing) Fetch(ctx context.Context, ref Ref) (json.RawMessage, error) {
	if ref.Key == "u/no/no" || ref.Key == "locked" {
		return nil, errRefused
	}
	return r.Values.Fetch(ctx, ref)
}

// recorder notes what is fetched.
type recorder struct {
	Values
	seen []Ref
}

func (r *recorder) Fetch(ctx context.Context, ref Ref) (json.RawMessage, error) {
	r.seen = append(r.seen, ref)
	return r.Values.Fetch(ctx, ref)
}

func TestFetchesOnlyWhatIsRead(t *testing.T) {
	e := New(Config{})
	apart := New(Config{Helper: helperCommand()})
	t.Cleanup(apart.Close)
	cases := []struct {
		expr string
		want []Ref
	}{
		{`1 + 1`, nil},
		{`results.a.n + results.a.text + results.list[0]`, []Ref{{Results, "a"}, {Results, "list"}}},
		{`flow_input.x ? 1 : variable("u/a/v")`, []Ref{{Name: "flow_input"}}},
		{`let k = "list"; results[k] && results[k][0]`, []Ref{{Results, "list"}}},
		{`variable("u/a/v") + variable("u/a/v")`, []Ref{{"variable", "u/a/v"}}},
	}
	for _, c := range cases {
		for name, e := range map[string]*Evaluator{"here": e, "apart": apart} {
			r := &recorder{Values: scope()}
			if _, err := e.Eval(context.Background(), c.expr, r); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(r.seen, c.want) {
				t.Errorf("%s: %s fetched %v, want %v", name, c.expr, r.seen, c.want)
			}
		}
	}
}

func TestReads(t *testing.T) {
	cases := []struct{ expr, want string }{
		{`results.a.b[0]`, `results.a.b.0 exact 1:1`},
		{`results.a.b.map(x => x.n).length + flow_input.x`, `results.a.b exact 1:1, flow_input.x exact 1:36`},
		{`results[flow_input.k].z`, `flow_input.k exact 1:9, results 1:1`},
		{`variable("u/a/v") + variable(flow_input.p)`, `variable.u/a/v exact 1:1, variable 1:21, flow_input.p exact 1:30`},
		{"const results = 1;\nflow_input?.a?.b + results", `flow_input.a.b exact 2:1`},
		{`{result, a: error.name}`, `result 1:2, error.name exact 1:13`},
		{`previous_result`, `previous_result exact 1:1`},
		{"`${results.a}`", `results.a exact 1:4`},
		{`(results) => results.a`, ``},
		{`nothing.results.a`, ``},
		{`({flow_input}) => 1`, ``},
		{`results["a"]["b c"]`, `results.a.b c exact 1:1`},
	}
	for _, c := range cases {
		p, err := Compile(c.expr)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range p.Reads() {
			s := strings.Join(append([]string{r.Name}, r.Path...), ".")
			if r.Exact {
				s += " exact"
			}
			got = append(got, s+" "+posString(r.Pos))
		}
		if s := strings.Join(got, ", "); s != c.want {
			t.Errorf("%s reads\n%s\nwant\n%s", c.expr, s, c.want)
		}
	}
	p, err := Compile("foo(bar.x); let baz = 1; baz; Math.max(1); flow_inpt.y; label: for (;;) { break label }")
	if err != nil {
		t.Fatal(err)
	}
	var unknown []string
	for _, u := range p.Unknown() {
		unknown = append(unknown, u.Name)
	}
	if !slices.Equal(unknown, []string{"foo", "bar", "flow_inpt"}) {
		t.Errorf("unknown names %v", unknown)
	}
	p, err = Compile("results.a + results.b.c + results.a.d")
	if err != nil {
		t.Fatal(err)
	}
	if ids, exact := p.Steps(); !slices.Equal(ids, []string{"a", "b"}) || !exact {
		t.Errorf("steps %v, %v", ids, exact)
	}
}

func posString(p Pos) string {
	return string(mustMarshal(p.Line)) + ":" + string(mustMarshal(p.Column))
}

func TestBool(t *testing.T) {
	e := New(Config{})
	for expr, want := range map[string]bool{`0`: false, `""`: false, `'a'`: true, `null`: false, `[]`: true, `({})`: true, `flow_input.x`: true,
		`results.missing`: false, `0/0`: false, `-1`: true, `flow_input.x - 5`: false, `" "`: true} {
		if got, err := e.Bool(context.Background(), expr, scope()); err != nil || got != want {
			t.Errorf("%s is %v, %v, want %v", expr, got, err, want)
		}
	}
	if Truthy(nil) || Truthy(json.RawMessage(" 0.0 ")) || !Truthy(json.RawMessage(" true")) {
		t.Error("Truthy")
	}
}
