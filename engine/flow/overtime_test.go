package flow

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// TestOvertime: a loop, or branches, that run for longer than their timeout are stopped, and have failed when what was at work has ended.
func TestOvertime(t *testing.T) {
	t.Parallel()
	slow := modules(raw("x", `"sleep":{"type":"static","value":90}`), raw("y", ""))
	const late = `{"error":{"name":"Timeout","message":"step l ran longer than its timeout","step_id":"l"}}`
	for name, c := range map[string]struct{ flow, trace, result string }{
		"a loop": {value(module("l", `{"type":"forloopflow","iterator":{"type":"static","value":[1,2]},"modules":`+slow+`}`, `"timeout":60`), raw("b", "")),
			`x="x" 1m0s stop l l failed`, late},
		"in time": {value(module("l", `{"type":"forloopflow","iterator":{"type":"static","value":[1]},"modules":`+slow+`}`, `"timeout":120`), raw("b", "")),
			`x="x" 1m30s y="y" b="b"`, `"b"`},
		"a while loop": {value(module("l", `{"type":"whileloopflow","modules":`+slow+`}`, `"timeout":{"type":"javascript","expr":"100"}`)), `x="x" 1m30s y="y" x="x" 10s stop l l failed`, late},
		"one branch":   {value(module("l", `{"type":"branchone","branches":[],"default":`+slow+`}`, `"timeout":60`)), `x="x" 1m0s stop l l failed`, late},
		"all branches, and it goes on": {value(module("l", `{"type":"branchall","branches":[{"modules":`+slow+`},{"modules":`+slow+`}]}`, `"timeout":60,"continue_on_error":true`), raw("b", "")),
			`x="x" x="x" 1m0s stop l l failed b="b"`, `"b"`},
		"each attempt has its own": {value(module("l", `{"type":"branchone","branches":[],"default":`+slow+`}`, `"timeout":60,"retry":{"constant":{"attempts":1,"seconds":5}}`)),
			`x="x" 1m0s stop l 5s x="x" 1m0s stop l l failed`, late},
		"a timeout that throws": {value(module("l", `{"type":"branchone","branches":[],"default":`+slow+`}`, `"timeout":{"type":"javascript","expr":"throw"}`)), `l failed`,
			`{"error":{"name":"ExpressionError","message":"timeout: thrown","step_id":"l"}}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			r := h.flow(c.flow, `{}`)
			if got := strings.Join(h.trace, " "); got != c.trace {
				t.Errorf("it did  %s\nwanted %s", got, c.trace)
			}
			if string(r.result) != c.result {
				t.Errorf("it ended with %s", r.result)
			}
		})
	}
}

// TestOvertimeAgain: items that were told to stop and have not are told again.
func TestOvertimeAgain(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	d := Root(parse(t, value(module("l", `{"type":"branchall","branches":[{"modules":`+modules(raw("x", ""))+`}]}`, `"timeout":60`))), false)
	r := h.begin(d, nil, 0)
	r.step(Begin{})
	state := r.run
	for _, wait := range []time.Duration{time.Minute, stopAgain} {
		if !state.Wake().Equal(h.now.Add(wait)) {
			t.Fatalf("it wakes at %s", state.Wake())
		}
		h.now = h.now.Add(wait)
		var effects []Effect
		state, effects = Step(d, state, Due{}, r)
		if _, stop := effects[0].(Stop); !stop || state.Phase != Running {
			t.Fatalf("%+v, %+v", effects, state)
		}
	}
	if state, _ = Step(d, state, Ended{}, r); state.Phase != Over {
		t.Errorf("%+v", state)
	}
}

// TestParams: an expression of an input sees the step's inputs that are known already.
func TestParams(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	var got map[string]json.RawMessage
	h.job = func(id string, _ int, args map[string]json.RawMessage) (any, bool) {
		if id == "a" {
			got = args
		}
		return nil, true
	}
	h.flow(value(`{"id":"a","value":{"type":"rawscript","content":"","language":"x","input_transforms":{"a":{"type":"javascript","expr":"params.z"},
		"b":{"type":"javascript","expr":"params.a"},"z":{"type":"static","value":7}}}}`, raw("b", "")), `{}`)
	if b, _ := json.Marshal(got); string(b) != `{"a":7,"b":7,"z":7}` {
		t.Errorf("%s", b)
	}
}
