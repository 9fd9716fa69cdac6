package runner_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/flow/format"
	"github.com/millrace/millrace/engine/store/storetest"
)

// The containers, each around some modules; every loop runs twice and is left by its own means.
var containers = map[string]func(id, body string) string{
	"for loop": func(id, body string) string {
		return `{"id":"` + id + `","value":{"type":"forloopflow","iterator":{"type":"static","value":[1,2]},"modules":[` + body + `]}}`
	},
	"for loop that must not fail": func(id, body string) string {
		return `{"id":"` + id + `","value":{"type":"forloopflow","skip_failures":false,"iterator":{"type":"static","value":[1,2]},"modules":[` + body + `]}}`
	},
	"parallel loop": func(id, body string) string {
		return `{"id":"` + id + `","value":{"type":"forloopflow","parallel":true,"iterator":{"type":"static","value":[1,2]},"modules":[` + body + `]}}`
	},
	"while loop": func(id, body string) string {
		return `{"id":"` + id + `","stop_after_if":{"expr":"flow_input.iter.index >= 1"},"value":{"type":"whileloopflow","modules":[` + body +
			`,{"id":"` + id + `w","value":{"type":"identity"},"stop_after_if":{"expr":"flow_input.iter.index >= 1"}}]}}`
	},
	"branchone": func(id, body string) string {
		return `{"id":"` + id + `","value":{"type":"branchone","branches":[{"expr":"false","modules":[]},{"expr":"true","modules":[` + body + `]}],"default":[]}}`
	},
	"default branch": func(id, body string) string {
		return `{"id":"` + id + `","value":{"type":"branchone","branches":[],"default":[` + body + `]}}`
	},
	"branchall": func(id, body string) string {
		return `{"id":"` + id + `","value":{"type":"branchall","branches":[{"modules":[` + body + `]},{"modules":[` + raw(id+"o", "other", "", "") + `]}]}}`
	},
	"branchall in turn that must not fail": func(id, body string) string {
		return `{"id":"` + id + `","value":{"type":"branchall","parallel":false,"branches":[{"skip_failure":false,"modules":[` + body + `]},{"modules":[` +
			raw(id+"o", "other", "", "") + `]}]}}`
	},
	"flow": func(id, _ string) string {
		return `{"id":"` + id + `","value":{"type":"flow","path":"f/x/` + id + `"}}`
	},
}

// What the step in the middle does; one comes before it and one after.
var middles = map[string]string{
	"ok":                  raw("m", "middle", "", ""),
	"fails":               raw("m", "fail", "", ""),
	"fails but goes on":   raw("m", "fail", "", `"continue_on_error":true`),
	"is skipped":          raw("m", "middle", "", `"skip_if":{"expr":"true"}`),
	"stops":               raw("m", "middle", "", `"stop_after_if":{"expr":"true"}`),
	"stops as skipped":    raw("m", "middle", "", `"stop_after_if":{"expr":"true","skip_if_stopped":true}`),
	"stops with an error": raw("m", "middle", "", `"stop_after_if":{"expr":"true","error_message":"enough"}`),
}

// TestNesting runs every container within every other one, around a step that behaves in each way, on a real queue, and compares how
// the flow ends with what an interpreter says that knows nothing of states, events and stores.
func TestNesting(t *testing.T) {
	t.Parallel()
	b := open(t, storetest.URL(t), nil)
	b.step = func(j *engine.Job) (json.RawMessage, bool) {
		if j.Source == "fail" {
			return json.RawMessage(`{"error":{"name":"Error","message":"it fails"}}`), false
		}
		return fmt.Appendf(nil, "%q", j.Source), true
	}
	type asked struct {
		name string
		want outcome
		got  chan engine.Outcome
	}
	var all []asked
	for outer, around := range containers {
		for inner, within := range containers {
			for middle, step := range middles {
				n := len(all)
				body := raw("b", "before", "", "") + "," + step + "," + raw("a", "after", "", "")
				in, out := fmt.Sprintf("in%d", n), fmt.Sprintf("out%d", n)
				nested := within(in, body)
				if inner == "flow" {
					b.deploy("f/x/"+in, &format.Flow{Value: value(t, modules(body))})
				}
				nested += "," + raw("z", "behind", "", "")
				if outer == "flow" {
					b.deploy("f/x/"+out, &format.Flow{Value: value(t, modules(nested))})
				}
				text := modules(raw("s", "start", "", ""), around(out, nested), raw("e", "end", js("x", "previous_result"), ""))
				v := value(t, text)
				want := (&interpreter{flows: b.flows}).list(v.Modules, json.RawMessage(`{"n":1}`), nil)
				_, c := b.ask(text, `{"n":1}`)
				all = append(all, asked{outer + " of " + inner + " whose step " + middle, want, c})
			}
		}
	}
	for _, a := range all {
		o := <-a.got
		if (o.State == engine.StateSuccess) != a.want.ok || string(o.Result) != string(a.want.result) {
			t.Errorf("%s: %s with %s\nwanted %v with %s", a.name, o.State, o.Result, a.want.ok, a.want.result)
		}
	}
	b.empty()
}

// outcome is how a list of modules ended.
type outcome struct {
	ok, stopped bool
	result      json.RawMessage
}

// interpreter runs a flow as one reads it: no states, one step after another.
type interpreter struct{ flows map[string]*format.Flow }

func (i *interpreter) list(list []*format.Module, last json.RawMessage, iter *int) outcome {
	for _, m := range list {
		if m.SkipIf != nil && i.holds(m.SkipIf.Expr, iter) {
			continue
		}
		o := i.module(m, last, iter)
		if !o.ok && !m.ContinueOnError {
			return o
		}
		if last = o.result; o.stopped {
			return outcome{ok: true, stopped: true, result: last}
		}
		switch m.Value.(type) {
		case *format.ForLoop, *format.WhileLoop:
			continue
		}
		if s := m.StopAfterIf; s != nil && i.holds(s.Expr, iter) {
			if s.ErrorMessage != nil {
				return outcome{result: fmt.Appendf(nil, `{"error":{"name":"EarlyStopError","message":%q,"step_id":%q}}`, *s.ErrorMessage, m.ID)}
			}
			return outcome{ok: true, stopped: true, result: last}
		}
	}
	return outcome{ok: true, result: last}
}

// holds knows the few expressions of these flows.
func (*interpreter) holds(expr string, iter *int) bool {
	switch expr {
	case "true":
		return true
	case "flow_input.iter.index >= 1":
		return iter != nil && *iter >= 1
	}
	return false
}

func (i *interpreter) module(m *format.Module, last json.RawMessage, iter *int) outcome {
	switch b := m.Value.(type) {
	case *format.RawScript:
		if b.Content == "fail" {
			return outcome{result: json.RawMessage(`{"error":{"name":"Error","message":"it fails"}}`)}
		}
		return outcome{ok: true, result: fmt.Appendf(nil, "%q", b.Content)}
	case *format.Identity:
		return outcome{ok: true, result: last}
	case *format.SubFlow:
		o := i.list(i.flows[b.Path].Value.Modules, json.RawMessage(`{}`), nil)
		o.stopped = false
		return o
	case *format.BranchOne:
		chosen := b.Default
		for _, branch := range b.Branches {
			if i.holds(branch.Expr, iter) {
				chosen = branch.Modules
				break
			}
		}
		return i.list(chosen, i.arguments(iter), iter)
	case *format.BranchAll:
		return i.items(len(b.Branches), b.Parallel(), func(n int) (outcome, bool, bool) {
			o := i.list(b.Branches[n].Modules, i.arguments(iter), iter)
			return o, b.Branches[n].SkipFailure(), false
		})
	case *format.ForLoop:
		return i.items(2, b.Parallel, func(n int) (outcome, bool, bool) {
			o := i.list(b.Modules, nil, &n)
			return o, b.SkipFailures(), o.stopped
		})
	case *format.WhileLoop:
		return i.items(-1, false, func(n int) (outcome, bool, bool) {
			o := i.list(b.Modules, nil, &n)
			return o, b.SkipFailures, o.stopped || o.ok && m.StopAfterIf != nil && i.holds(m.StopAfterIf.Expr, &n)
		})
	}
	panic("no such module")
}

func (*interpreter) arguments(*int) json.RawMessage { return nil } // no list here is empty

// items collects results until one fails that must not, or stops the loop; together: all of them have begun by then.
func (*interpreter) items(n int, together bool, item func(n int) (o outcome, skip, stop bool)) outcome {
	var results []string
	failed := false
	for k := 0; n < 0 || k < n; k++ {
		o, skip, stop := item(k)
		results = append(results, string(o.result))
		failed = failed || !o.ok && !skip
		if (failed || stop) && !together {
			break
		}
	}
	return outcome{ok: !failed, result: json.RawMessage("[" + strings.Join(results, ",") + "]")}
}

// TestStateOfAWhileLoop: a step's own result is that of the iteration before, whether the iteration is a job or a run, and a later
// module's is too.
func TestStateOfAWhileLoop(t *testing.T) {
	t.Parallel()
	b := open(t, storetest.URL(t), nil)
	loop := func(mods string) string {
		return modules(`{"id":"w","value":{"type":"whileloopflow","modules":[` + mods + `]},"stop_after_if":{"expr":"flow_input.iter.index >= 3"}}`)
	}
	for name, x := range map[string]struct{ flow, want string }{
		"a job":   {loop(raw("x", "x", js("v", "(results.x?.v ?? 10) + 1"), "")), `[{"v":11},{"v":12},{"v":13},{"v":14}]`},
		"a run":   {loop(raw("x", "x", js("v", "(results.x?.v ?? 10) + 1"), `"sleep":{"type":"static","value":0.001}`)), `[{"v":11},{"v":12},{"v":13},{"v":14}]`},
		"a later": {loop(raw("x", "x", js("v", "(results.y?.v ?? 0) + 1"), "") + `,` + raw("y", "y", js("v", "results.x.v * 2"), "")), `[{"v":2},{"v":6},{"v":14},{"v":30}]`},
		"a for loop has none": {modules(`{"id":"w","value":{"type":"forloopflow","iterator":{"type":"static","value":[1,2]},"modules":[` +
			raw("x", "x", js("v", "results.x"), `"sleep":{"type":"static","value":0.001}`) + `]}}`), `[{"v":null},{"v":null}]`},
	} {
		if o := b.run(x.flow, `{}`); string(o.Result) != x.want {
			t.Errorf("%s: %s with %s", name, o.State, o.Result)
		}
	}
	b.empty()
}
