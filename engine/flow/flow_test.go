package flow

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/millrace/millrace/engine/flow/format"
)

// raw is a step that runs a script, with further fields of the module.
func raw(id, more string) string {
	if more != "" {
		more = "," + more
	}
	return `{"id":"` + id + `","value":{"type":"rawscript","content":"","language":"x"}` + more + `}`
}

func module(id, value, more string) string {
	if more != "" {
		more = "," + more
	}
	return `{"id":"` + id + `","value":` + value + more + `}`
}

func modules(list ...string) string { return "[" + strings.Join(list, ",") + "]" }

func value(list ...string) string { return `{"modules":` + modules(list...) + `}` }

// fails makes the steps named fail as often as said; -1: always.
func fails(times map[string]int) func(string, int, map[string]json.RawMessage) (any, bool) {
	return func(id string, n int, _ map[string]json.RawMessage) (any, bool) {
		most, ok := times[id]
		return id, !ok || (most >= 0 && n >= most)
	}
}

// TestFlows runs a flow for each thing that a field of the format says, and compares what happened, in its order.
func TestFlows(t *testing.T) {
	t.Parallel()
	loop := func(more, body string) string {
		return `{"type":"forloopflow","iterator":{"type":"static","value":[10,20,30]},"modules":` + body + more + `}`
	}
	for name, c := range map[string]struct {
		flow   string
		fails  map[string]int
		vote   *Vote
		trace  string
		result string
		ended  string // "", "failed", "skipped", "stopped"
	}{
		"no modules give the arguments": {flow: value(), result: `{"n":1}`},
		"one after another":             {flow: value(raw("a", ""), raw("b", "")), trace: `a="a" b="b"`, result: `"b"`},
		"identity":                      {flow: value(raw("a", ""), module("i", `{"type":"identity"}`, "")), trace: `a="a"`, result: `"a"`},
		"a failure ends it": {flow: value(raw("a", ""), raw("b", "")), fails: map[string]int{"a": -1}, trace: `a={"error":{"name":"Error","message":"a"}} a failed`,
			result: `{"error":{"name":"Error","message":"a"}}`, ended: "failed"},
		"continue_on_error": {flow: value(raw("a", `"continue_on_error":true`), raw("b", "")), fails: map[string]int{"a": -1},
			trace: `a={"error":{"name":"Error","message":"a"}} a failed b="b"`, result: `"b"`},
		"the failure module's result is the flow's": {flow: `{"modules":` + modules(raw("a", "")) + `,"failure_module":` + raw("failure", "") + `}`, fails: map[string]int{"a": -1},
			trace: `a={"error":{"name":"Error","message":"a"}} a failed failure="failure"`, result: `"failure"`, ended: "failed"},
		"retry, constant then exponential": {flow: value(raw("a", `"retry":{"constant":{"attempts":1,"seconds":3},"exponential":{"attempts":2,"seconds":2,"multiplier":5}}`)),
			fails: map[string]int{"a": 3}, result: `"a"`,
			trace: `a={"error":{"name":"Error","message":"a"}} 3s a={"error":{"name":"Error","message":"a"}} 20s a={"error":{"name":"Error","message":"a"}} 40s a="a"`},
		"retry at once": {flow: value(raw("a", `"retry":{"constant":{"attempts":1}}`)), fails: map[string]int{"a": -1}, ended: "failed",
			trace: `a={"error":{"name":"Error","message":"a"}} a={"error":{"name":"Error","message":"a"}} a failed`, result: `{"error":{"name":"Error","message":"a"}}`},
		"retry_if says no": {flow: value(raw("a", `"retry":{"constant":{"attempts":5},"retry_if":{"expr":"false"}}`)), fails: map[string]int{"a": 1}, ended: "failed",
			trace: `a={"error":{"name":"Error","message":"a"}} a failed`, result: `{"error":{"name":"Error","message":"a"}}`},
		"skip_if": {flow: value(raw("a", ""), raw("b", `"skip_if":{"expr":"previous_result == \"a\""}`), raw("c", "")), trace: `a="a" b skipped c="c"`, result: `"c"`},
		"a skipped step leaves the result as it is, and does not ask for approval": {
			flow: value(raw("a", ""), raw("b", `"skip_if":{"expr":"true"},"suspend":{"required_events":1}`)), trace: `a="a" b skipped`, result: `"a"`},
		"mock":                     {flow: value(raw("a", `"mock":{"enabled":true,"return_value":[7]}`)), result: `[7]`},
		"mock disabled":            {flow: value(raw("a", `"mock":{"enabled":false,"return_value":[7]}`)), trace: `a="a"`, result: `"a"`},
		"stop_after_if":            {flow: value(raw("a", `"stop_after_if":{"expr":"result == \"a\""}`), raw("b", "")), trace: `a="a"`, result: `"a"`, ended: "stopped"},
		"stop_after_if as skipped": {flow: value(raw("a", `"stop_after_if":{"expr":"true","skip_if_stopped":true}`), raw("b", "")), trace: `a="a"`, result: `"a"`, ended: "skipped"},
		"stop_after_if with an error": {flow: value(raw("a", `"stop_after_if":{"expr":"true","error_message":"no more","error_include_result":true}`), raw("b", "")),
			trace: `a="a" a failed`, result: `{"error":{"name":"EarlyStopError","message":"no more","step_id":"a","result":"a"}}`, ended: "failed"},
		"sleep is after the step":   {flow: value(raw("a", `"sleep":{"type":"static","value":90}`), raw("b", "")), trace: `a="a" 1m30s b="b"`, result: `"b"`},
		"a sleep of the last step":  {flow: value(raw("a", `"sleep":{"type":"static","value":5}`)), trace: `a="a" 5s`, result: `"a"`},
		"an expression that throws": {flow: value(raw("a", `"skip_if":{"expr":"throw"}`)), trace: `a failed`, result: `{"error":{"name":"ExpressionError","message":"skip_if: thrown","step_id":"a"}}`, ended: "failed"},
		"skip_expr skips all":       {flow: `{"modules":` + modules(raw("a", "")) + `,"skip_expr":"true"}`, result: `null`, ended: "skipped"},
		"a loop":                    {flow: value(module("l", loop("", modules(raw("x", ""))), "")), trace: `x="x" x="x" x="x"`, result: `["x","x","x"]`},
		"an empty list":             {flow: value(module("l", `{"type":"forloopflow","iterator":{"type":"static","value":[]},"modules":`+modules(raw("x", ""))+`}`, "")), result: `[]`},
		"no list":                   {flow: value(module("l", `{"type":"forloopflow","iterator":{"type":"static","value":{}},"modules":`+modules(raw("x", ""))+`}`, "")), trace: "l failed", result: `{"error":{"name":"ExpressionError","message":"iterator: it must give a list, not {}","step_id":"l"}}`, ended: "failed"},
		"a loop of two steps":       {flow: value(module("l", loop("", modules(raw("x", ""), raw("y", ""))), "")), trace: `x="x" y="y" x="x" y="y" x="x" y="y"`, result: `["y","y","y"]`},
		"a loop of nothing":         {flow: value(raw("a", ""), module("l", loop("", `[]`), "")), trace: `a="a"`, result: `["a","a","a"]`},
		"failures of a loop are skipped unless it says otherwise": {flow: value(module("l", loop("", modules(raw("x", ""))), "")), fails: map[string]int{"x": 1},
			trace: `x={"error":{"name":"Error","message":"x"}} x="x" x="x"`, result: `[{"error":{"name":"Error","message":"x"}},"x","x"]`},
		"skip_failures false ends the loop": {flow: value(module("l", loop(`,"skip_failures":false`, modules(raw("x", ""))), "")), fails: map[string]int{"x": 1}, ended: "failed",
			trace: `x={"error":{"name":"Error","message":"x"}} l failed`, result: `[{"error":{"name":"Error","message":"x"}}]`},
		"stop_after_if of a loop is asked after each iteration": {flow: value(module("l", loop("", modules(raw("x", ""))), `"stop_after_if":{"expr":"result == \"x\""}`), raw("b", "")),
			trace: `x="x" b="b"`, result: `"b"`},
		"stop_after_if of a step in a loop ends the loop": {flow: value(module("l", loop("", modules(raw("x", `"stop_after_if":{"expr":"flow_input.iter.index == 1"}`), raw("y", ""))), ""), raw("b", "")),
			trace: `x="x" y="y" x="x" b="b"`, result: `"b"`},
		"stop_after_all_iters_if": {flow: value(module("l", loop("", modules(raw("x", ""))), `"stop_after_all_iters_if":{"expr":"result == [\"x\",\"x\",\"x\"]"}`), raw("b", "")),
			trace: `x="x" x="x" x="x"`, result: `["x","x","x"]`, ended: "stopped"},
		"a while loop": {flow: value(module("w", `{"type":"whileloopflow","modules":`+modules(raw("x", `"stop_after_if":{"expr":"flow_input.iter.index >= 2"}`))+`}`, "")),
			trace: `x="x" x="x" x="x"`, result: `["x","x","x"]`},
		"a while loop ends with a failure": {flow: value(module("w", `{"type":"whileloopflow","modules":`+modules(raw("x", ""))+`}`, "")), fails: map[string]int{"x": -1}, ended: "failed",
			trace: `x={"error":{"name":"Error","message":"x"}} w failed`, result: `[{"error":{"name":"Error","message":"x"}}]`},
		"a while loop that nobody stops": {flow: value(module("w", `{"type":"whileloopflow","modules":[]}`, "")), trace: "w failed", ended: "failed",
			result: `{"error":{"name":"TooManyIterations","message":"the loop was not stopped within 1000000 iterations","step_id":"w"}}`},
		"branchone": {flow: value(module("b", `{"type":"branchone","branches":[{"expr":"","modules":`+modules(raw("x", ""))+`},{"expr":"true","modules":`+modules(raw("y", ""))+`}],"default":`+modules(raw("z", ""))+`}`, "")),
			trace: `y="y"`, result: `"y"`},
		"branchone by default": {flow: value(module("b", `{"type":"branchone","branches":[{"expr":"false","modules":`+modules(raw("x", ""))+`}],"default":`+modules(raw("z", ""), raw("zz", ""))+`}`, "")),
			trace: `z="z" zz="zz"`, result: `"zz"`},
		"an empty branch": {flow: value(raw("a", ""), module("b", `{"type":"branchone","branches":[],"default":[]}`, "")), trace: `a="a"`, result: `"a"`},
		"branchall":       {flow: value(module("b", `{"type":"branchall","branches":[{"modules":`+modules(raw("x", ""))+`},{"modules":`+modules(raw("y", ""), raw("z", ""))+`},{"modules":[]}]}`, "")), trace: `x="x" y="y" z="z"`, result: `["x","z",{"n":1}]`},
		"a branch that must not fail": {flow: value(module("b", `{"type":"branchall","parallel":false,"branches":[{"skip_failure":false,"modules":`+modules(raw("x", ""))+`},{"modules":`+modules(raw("y", ""))+`}]}`, "")),
			fails: map[string]int{"x": -1}, trace: `x={"error":{"name":"Error","message":"x"}} b failed`, result: `[{"error":{"name":"Error","message":"x"}}]`, ended: "failed"},
		"approved":    {flow: value(raw("a", `"suspend":{"required_events":2}`), raw("b", "")), vote: &Vote{Approved: true, By: "ann"}, trace: `a="a" gate a b="b"`, result: `"b"`},
		"disapproved": {flow: value(raw("a", `"suspend":{"required_events":2}`), raw("b", "")), vote: &Vote{By: "ann"}, trace: `a="a" gate a a failed`, result: `{"error":{"name":"SuspendDisapproved","message":"disapproved by ann","step_id":"a"}}`, ended: "failed"},
		"nobody answers": {flow: value(raw("a", `"suspend":{"required_events":1,"timeout":60}`), raw("b", "")), trace: `a="a" gate a 1m0s a failed`,
			result: `{"error":{"name":"SuspendTimeout","message":"0 of 1 approvals came in time","step_id":"a"}}`, ended: "failed"},
		"continue_on_disapprove_timeout": {flow: value(raw("a", `"suspend":{"required_events":1,"continue_on_disapprove_timeout":true}`), module("i", `{"type":"identity"}`, "")), trace: `a="a" gate a 30m0s`,
			result: `{"error":{"name":"SuspendTimeout","message":"0 of 1 approvals came in time","step_id":"a"}}`},
		"approval of the last step": {flow: value(raw("a", `"suspend":{"required_events":1}`)), vote: &Vote{Approved: true}, trace: `a="a" gate a`, result: `"a"`},
		"approval within parallel branches holds the flow": {vote: &Vote{Approved: true}, trace: `y="y" x="x" gate x z="z" b="b"`, result: `"b"`,
			flow: value(module("p", `{"type":"branchall","branches":[{"modules":`+modules(raw("x", `"suspend":{"required_events":1}`), raw("z", ""))+`},{"modules":`+modules(raw("y", ""))+`}]}`, ""), raw("b", ""))},
		"early_return names a step": {flow: `{"modules":` + modules(raw("a", ""), raw("b", "")) + `,"early_return":"a"}`, trace: `a="a" answer "a" b="b"`, result: `"b"`},
		"early_return is an expression, which is asked until it gives something": {flow: `{"modules":` + modules(raw("a", ""), raw("b", ""), raw("c", "")) + `,"early_return":"results.b"}`,
			trace: `a="a" b="b" answer "b" c="c"`, result: `"c"`},
		"models are refused": {flow: value(module("m", `{"type":"aiagent","tools":[]}`, "")), trace: "m failed", ended: "failed",
			result: `{"error":{"name":"NotSupported","message":"modules of the kind aiagent cannot be run","step_id":"m"}}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			h.job = fails(c.fails)
			h.vote = func(int) *Vote { return c.vote }
			r := h.flow(c.flow, `{"n":1}`)
			if got := strings.Join(h.trace, " "); got != c.trace {
				t.Errorf("it did  %s\nwanted %s", got, c.trace)
			}
			if r.end == nil {
				t.Fatal("it has no end")
			}
			ended := ""
			switch {
			case !r.end.OK:
				ended = "failed"
			case r.end.Skipped:
				ended = "skipped"
			case r.end.Stopped:
				ended = "stopped"
			}
			if ended != c.ended || string(r.result) != c.result {
				t.Errorf("it ended %q with %s\nwanted   %q with %s", ended, r.result, c.ended, c.result)
			}
		})
	}
}

// TestPreprocessor runs it for triggers only, and goes on with what it returned.
func TestPreprocessor(t *testing.T) {
	t.Parallel()
	v := parse(t, `{"modules":`+modules(module("i", `{"type":"identity"}`, ""))+`,"preprocessor_module":`+raw("preprocessor", "")+`}`)
	for external, want := range map[bool]string{true: `{"made":2}`, false: `{}`} {
		h := newHost(t)
		h.job = func(_ string, _ int, args map[string]json.RawMessage) (any, bool) {
			if len(args) == 0 {
				t.Error("it is not given what the trigger sent")
			}
			return map[string]int{"made": 2}, true
		}
		r := h.begin(Root(v, external), nil, 0)
		r.step(Begin{})
		h.drive(r)
		if string(r.result) != want {
			t.Errorf("external %v: %s", external, r.result)
		}
	}
}

// TestRecover: a failure module may say that the flow is well.
func TestRecover(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.job = func(id string, _ int, _ map[string]json.RawMessage) (any, bool) {
		return map[string]bool{"recover": true}, id == "failure"
	}
	if r := h.flow(`{"modules":`+modules(raw("a", ""))+`,"failure_module":`+raw("failure", "")+`}`, `{}`); !r.end.OK {
		t.Errorf("ended %+v", r.end)
	}
}

// TestParallelism never has more items at work than it may, and gives their results in their order, whichever ends first.
func TestParallelism(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.pick = func(n int) int { return n - 1 }
	most := 0
	h.check = func(r *hosted) {
		if r.run.Items != nil {
			most = max(most, r.run.Items.Running)
		}
	}
	h.job = func(_ string, _ int, args map[string]json.RawMessage) (any, bool) { return args["n"], true }
	r := h.flow(value(module("l", `{"type":"forloopflow","parallel":true,"parallelism":3,"iterator":{"type":"static","value":[0,1,2,3,4,5,6,7]},"modules":`+
		modules(module("x", `{"type":"rawscript","content":"","language":"x","input_transforms":{"n":{"type":"javascript","expr":"flow_input.iter.value"}}}`, ""))+`}`, "")), `{}`)
	if string(r.result) != `[0,1,2,3,4,5,6,7]` || most != 3 {
		t.Errorf("%s with %d at once", r.result, most)
	}
}

// TestCancel ends a flow whatever it is about, once.
func TestCancel(t *testing.T) {
	t.Parallel()
	for name, m := range map[string]string{"running": raw("a", ""), "waiting": raw("a", `"suspend":{"required_events":1}`),
		"sleeping": raw("a", `"sleep":{"type":"static","value":5}`), "retrying": raw("a", `"retry":{"constant":{"attempts":1,"seconds":5}}`)} {
		h := newHost(t)
		h.job = fails(map[string]int{"a": map[string]int{"retrying": -1}[name]})
		r := h.begin(Root(parse(t, value(m, raw("b", ""))), false), nil, 0)
		r.step(Begin{})
		for len(r.ready) > 0 && r.run.Phase != Phase(name) {
			f := r.ready[0]
			r.ready = r.ready[1:]
			f()
		}
		if r.run.Phase != Phase(name) {
			t.Errorf("%s: it is %s", name, r.run.Phase)
		}
		r.step(Canceled{By: "ann", Reason: "enough"})
		if r.end == nil || !r.end.Canceled || !strings.Contains(string(r.result), "canceled by ann: enough") {
			t.Errorf("%s: ended %+v with %s", name, r.end, r.result)
		}
		r.end = nil
		for _, late := range []Event{Canceled{By: "bob"}, Ended{OK: true}, Due{}, Vote{Approved: true}, Begin{}} {
			r.step(late)
		}
		if r.end != nil {
			t.Errorf("%s: it ended twice", name)
		}
	}
}

// TestStartsWith gives steps what their inputs say, and an input that throws is the step's failure.
func TestInputs(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.job = func(id string, _ int, args map[string]json.RawMessage) (any, bool) { return args, true }
	r := h.flow(value(raw("a", ""), module("b", `{"type":"script","path":"u/ann/x","input_transforms":{"s":{"type":"static","value":[1]},"e":{"type":"javascript","expr":"results.a"}}}`, "")), `{}`)
	if string(r.result) != `{"e":{},"s":[1]}` {
		t.Errorf("got %s", r.result)
	}
	r = newHost(t).flow(value(module("b", `{"type":"script","path":"u/ann/x","input_transforms":{"e":{"type":"javascript","expr":"throw"}}}`, `"retry":{"constant":{"attempts":2}}`)), `{}`)
	if r.end.OK || !strings.Contains(string(r.result), "input_transforms.e: thrown") {
		t.Errorf("got %s", r.result)
	}
}

// TestLongFlow has as many steps as somebody may write, none of which takes time: the stack must bear it.
func TestLongFlow(t *testing.T) {
	t.Parallel()
	v := &format.Value{}
	for range 10_000 {
		v.Modules = append(v.Modules, &format.Module{ID: "m", Value: &format.Identity{}})
	}
	h := newHost(t)
	r := h.begin(Root(v, false), nil, 0)
	r.step(Begin{})
	if r.end == nil || !r.end.OK {
		t.Errorf("ended %+v", r.end)
	}
}

// TestEndlessLoop: a loop that nobody stops ends as a failure that says so, though its iterations never fail.
func TestEndlessLoop(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.check = func(r *hosted) {
		if it := r.run.Items; it != nil && it.Next > 3 && it.Next < 10 {
			it.Next = maxIterations - 2 // nobody waits for a million
		}
	}
	r := h.flow(value(module("w", `{"type":"whileloopflow","modules":[`+raw("a", "")+`]}`, ""), raw("b", "")), `{}`)
	if r.end == nil || r.end.OK || !strings.Contains(string(r.result), "TooManyIterations") || !strings.Contains(string(r.result), "not stopped within 1000000 iterations") {
		t.Errorf("ended %+v with %s", r.end, r.result)
	}
	if n := h.runs["a"]; n > 10 || h.runs["b"] != 0 {
		t.Errorf("a ran %d times, b %d times", n, h.runs["b"])
	}
}
