package runner_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/flow/format"
	"github.com/millrace/millrace/engine/store/storetest"
)

// TestRestart takes up runs at every kind of place, and counts what runs again.
func TestRestart(t *testing.T) {
	t.Parallel()
	b := open(t, storetest.URL(t), nil)
	c := b.steer()
	loop := `{"id":"l","value":{"type":"forloopflow","iterator":{"type":"javascript","expr":"[0,1,2]"},"modules":[` + raw("x", "x", js("v", "flow_input.iter.value"), "") + `,` +
		raw("y", "y", js("v", "results.x.v + flow_input.n"), "") + `]}}`
	branch := `{"id":"o","value":{"type":"branchone","branches":[{"expr":"flow_input.n == 10","modules":[` + raw("p", "p", js("v", "flow_input.n"), "") + `,` + raw("q", "q", js("v", "results.p.v + flow_input.n"), "") + `]}],"default":[]}}`
	text := modules(raw("a", "a", js("v", "flow_input.n"), ""), loop, branch, raw("z", "z", js("a", "results.a.v")+","+js("l", "results.l.map(r => r.v)")+","+js("o", "results.o.v"), ""))
	id, _ := b.ask(text, `{"n":10}`)
	if o := b.outcome(id); string(o.Result) != `{"a":10,"l":[10,11,12],"o":20}` {
		t.Fatalf("%s with %s", o.State, o.Result)
	}
	one := 1
	for name, x := range map[string]struct {
		from   engine.RestartRequest
		ran    string
		result string
	}{
		"the first step":         {engine.RestartRequest{Step: "a"}, "a x y x y x y p q z", `{"a":20,"l":[20,21,22],"o":null}`},
		"the last step":          {engine.RestartRequest{Step: "z"}, "z", `{"a":10,"l":[10,11,12],"o":20}`},
		"an iteration":           {engine.RestartRequest{Step: "l", Item: &one}, "x y x y z", `{"a":10,"l":[10,21,22],"o":null}`},
		"a step of an iteration": {engine.RestartRequest{Step: "l", Item: &one, Nested: &engine.RestartRequest{Step: "y"}}, "y x y z", `{"a":10,"l":[10,21,22],"o":null}`},
		"a step of a branch":     {engine.RestartRequest{Step: "o", Nested: &engine.RestartRequest{Step: "q"}}, "q z", `{"a":10,"l":[10,11,12],"o":30}`},
		"up to a step":           {engine.RestartRequest{Step: "l", UpTo: "x"}, "x x x", `[{"v":0},{"v":1},{"v":2}]`},
	} {
		t.Run(name, func(t *testing.T) {
			b.mu.Lock()
			b.ran = nil
			b.mu.Unlock()
			x.from.Args = json.RawMessage(`{"n":20}`)
			if strings.HasPrefix(name, "the last") {
				x.from.Args = nil
			}
			again, err := c.Restart(t.Context(), ann, "main", id, x.from)
			if err != nil {
				t.Fatal(err)
			}
			o := b.outcome(again)
			if string(o.Result) != x.result {
				t.Errorf("%s with %s, wanted %s", o.State, o.Result, x.result)
			}
			b.mu.Lock()
			ran := strings.Join(b.ran, " ")
			b.mu.Unlock()
			if name == "the first step" {
				x.ran = strings.Replace(x.ran, "p q ", "", 1) // another branch is taken
			}
			if ran != x.ran {
				t.Errorf("ran %s, wanted %s", ran, x.ran)
			}
			s, _, err := c.Status(t.Context(), ann, "main", again)
			if err != nil || s.RestartedFrom == nil || s.RestartedFrom.FlowJobID != id || s.RestartedFrom.StepID != x.from.Step {
				t.Errorf("%+v, %v", s, err)
			}
		})
	}
	five := 5
	for name, x := range map[string]struct {
		id   uuid.UUID
		from engine.RestartRequest
		want engine.Code
	}{
		"no such step":      {id, engine.RestartRequest{Step: "nope"}, engine.Invalid},
		"no such iteration": {id, engine.RestartRequest{Step: "l", Item: &five}, engine.Invalid},
		"no iterations":     {id, engine.RestartRequest{Step: "a", Item: &one}, engine.Invalid},
		"nothing within":    {id, engine.RestartRequest{Step: "a", Nested: &engine.RestartRequest{Step: "x"}}, engine.Invalid},
		"no such job":       {engine.NewJobID(), engine.RestartRequest{Step: "a"}, engine.NotFound},
		"a version":         {id, engine.RestartRequest{Step: "a", Version: "latest"}, engine.Invalid},
	} {
		_, err := c.Restart(t.Context(), ann, "main", x.id, x.from)
		code(t, err, x.want, name)
	}
	b.empty()
}

// TestRestartOfALimitedFlow: a flow within that had to wait for its limit begins where it was told to, and a further attempt at it at its
// beginning.
func TestRestartOfALimitedFlow(t *testing.T) {
	t.Parallel()
	b := open(t, storetest.URL(t), nil)
	c := b.steer()
	b.deploy("f/x/one", &format.Flow{Value: value(t, `{"concurrent_limit":1,"modules":[`+raw("i", "i", js("v", "flow_input.n"), "")+`,`+
		raw("o", "o", js("v", "results.i.v + 1"), "")+`]}`)})
	text := modules(raw("a", "a", js("v", "flow_input.n"), ""),
		`{"id":"f","retry":{"constant":{"attempts":1}},"value":{"type":"flow","path":"f/x/one","input_transforms":{`+js("n", "results.a.v")+`}}}`)
	id, _ := b.ask(text, `{"n":4}`)
	if o := b.outcome(id); string(o.Result) != `{"v":5}` {
		t.Fatalf("%s with %s", o.State, o.Result)
	}
	for name, x := range map[string]struct {
		fails int
		ran   []string
	}{"it goes on": {0, []string{"o"}}, "a further attempt": {1, []string{"o", "i", "o"}}} {
		fails := x.fails
		b.mu.Lock()
		b.ran = nil
		b.step = func(j *engine.Job) (json.RawMessage, bool) {
			fails--
			return j.Args, fails < 0
		}
		b.mu.Unlock()
		again, err := c.Restart(t.Context(), ann, "main", id, engine.RestartRequest{Step: "f", Nested: &engine.RestartRequest{Step: "o"}})
		if err != nil {
			t.Fatal(err)
		}
		if o := b.outcome(again); string(o.Result) != `{"v":5}` {
			t.Errorf("%s: %s with %s", name, o.State, o.Result)
		}
		b.mu.Lock()
		if !slices.Equal(b.ran, x.ran) {
			t.Errorf("%s: ran %v, wanted %v", name, b.ran, x.ran)
		}
		b.mu.Unlock()
	}
	b.empty()
}

// TestParts runs parts of a flow that is not deployed.
func TestParts(t *testing.T) {
	t.Parallel()
	b := open(t, storetest.URL(t), nil)
	c := b.steer()
	text := modules(raw("a", "a", js("v", "flow_input.n"), ""),
		`{"id":"l","value":{"type":"forloopflow","iterator":{"type":"javascript","expr":"[5,6]"},"modules":[`+raw("x", "x", js("v", "flow_input.iter.value"), "")+`,`+
			raw("y", "y", js("v", "results.x.v + results.a.v + flow_input.iter.value"), "")+`]}}`, raw("z", "z", js("l", "results.l")+","+js("p", "previous_result"), ""))
	id, _ := b.ask(text, `{"n":1}`)
	b.outcome(id)
	run := engine.RunRequest{Workspace: "main", Kind: engine.KindFlowPreview, Source: text}
	for name, x := range map[string]struct {
		test   engine.FlowTest
		args   string
		ran    []string
		result string
	}{
		"up to a step":             {engine.FlowTest{UpTo: "a"}, `{"n":2}`, []string{"a"}, `{"v":2}`},
		"up to a step of a loop":   {engine.FlowTest{UpTo: "x"}, `{"n":2}`, []string{"a", "x", "x"}, `[{"v":5},{"v":6}]`},
		"one step of a run":        {engine.FlowTest{Only: "z", FromRun: &id}, ``, []string{"z"}, `{"l":[{"v":11},{"v":13}],"p":[{"v":11},{"v":13}]}`},
		"one step of an iteration": {engine.FlowTest{Only: "y", FromRun: &id, FromItem: 1}, ``, []string{"y"}, `{"v":13}`},
		"one step, with arguments": {engine.FlowTest{Only: "a"}, `{"n":9}`, []string{"a"}, `{"v":9}`},
		"one step of a loop":       {engine.FlowTest{Only: "x"}, `{"iter":{"index":0,"value":"v"}}`, []string{"x"}, `{"v":"v"}`},
		"from a step on": {engine.FlowTest{FromRun: &id, UpTo: "l", Restart: &engine.RestartRequest{Step: "l"}}, ``, []string{"x", "y", "x", "y"},
			`[{"v":11},{"v":13}]`},
	} {
		t.Run(name, func(t *testing.T) {
			b.mu.Lock()
			b.ran = nil
			b.mu.Unlock()
			r := run
			r.Args = json.RawMessage(x.args)
			got, err := c.Test(t.Context(), ann, r, x.test)
			if err != nil {
				t.Fatal(err)
			}
			if o := b.outcome(got); string(o.Result) != x.result {
				t.Errorf("%s with %s, wanted %s", o.State, o.Result, x.result)
			}
			b.mu.Lock()
			defer b.mu.Unlock()
			if !slices.Equal(b.ran, x.ran) {
				t.Errorf("ran %v, wanted %v", b.ran, x.ran)
			}
		})
	}
	for name, test := range map[string]engine.FlowTest{"no such step": {UpTo: "nope"}, "not that either": {Only: "nope"}, "both": {Only: "a", UpTo: "a"}, "a run for nothing": {FromRun: &id}} {
		_, err := c.Test(t.Context(), ann, run, test)
		code(t, err, engine.Invalid, name)
	}
}
