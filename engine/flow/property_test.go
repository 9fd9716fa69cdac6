package flow

import (
	"fmt"
	"strings"
	"testing"

	"encoding/json"

	"pgregory.net/rapid"
)

// genModules draws a list of modules, nested up to depth.
func genModules(t *rapid.T, depth int, ids *int, least int) string {
	n := rapid.IntRange(least, 3).Draw(t, "modules")
	list := make([]string, 0, n)
	for range n {
		list = append(list, genModule(t, depth, ids))
	}
	return modules(list...)
}

func genModule(t *rapid.T, depth int, ids *int) string {
	*ids++
	id := fmt.Sprintf("m%d", *ids)
	flag := func(name string) bool { return rapid.IntRange(0, 5).Draw(t, name) == 0 }
	var more []string
	for field, text := range map[string]string{
		"skip": `"skip_if":{"expr":"true"}`, "continue": `"continue_on_error":true`, "stop": `"stop_after_if":{"expr":"result == null"}`,
		"sleep": `"sleep":{"type":"static","value":3}`, "suspend": `"suspend":{"required_events":2,"timeout":9}`,
		"retry": `"retry":{"constant":{"attempts":2,"seconds":1}}`, "mock": `"mock":{"enabled":true,"return_value":1}`,
	} {
		if flag(field) {
			more = append(more, text)
		}
	}
	kinds := []string{"step", "step", "identity"}
	if depth > 0 {
		kinds = append(kinds, "for", "while", "one", "all")
	}
	b := func(name string) string { return fmt.Sprint(rapid.Bool().Draw(t, name)) }
	body := ""
	switch rapid.SampledFrom(kinds).Draw(t, "kind") {
	case "step":
		body = `{"type":"rawscript","content":"","language":"x"}`
	case "identity":
		body = `{"type":"identity"}`
	case "for":
		body = fmt.Sprintf(`{"type":"forloopflow","iterator":{"type":"static","value":[1,2,3,4]},"parallel":%s,"parallelism":2,"skip_failures":%s,"modules":%s}`,
			b("parallel"), b("skip_failures"), genModules(t, depth-1, ids, 0))
	case "while":
		*ids++ // always stopped
		body = fmt.Sprintf(`{"type":"whileloopflow","skip_failures":%s,"modules":%s}`, b("skip_failures"), modules(
			raw(fmt.Sprintf("m%d", *ids), `"continue_on_error":true,"stop_after_if":{"expr":"flow_input.iter.index >= 2"}`), genModule(t, depth-1, ids)))
	case "one":
		body = fmt.Sprintf(`{"type":"branchone","branches":[{"expr":"%s","modules":%s}],"default":%s}`, b("chosen"), genModules(t, depth-1, ids, 0), genModules(t, depth-1, ids, 0))
	case "all":
		body = fmt.Sprintf(`{"type":"branchall","parallel":%s,"branches":[{"skip_failure":%s,"modules":%s},{"modules":%s}]}`,
			b("parallel"), b("skip_failure"), genModules(t, depth-1, ids, 0), genModules(t, depth-1, ids, 0))
	}
	return module(id, body, strings.Join(more, ","))
}

// TestAnyFlow runs flows of every shape two deep, with failures, approvals and events in any order. Each comes to its end once, runs
// nothing afterwards, and counts what it has started; host checks at every event that the state can be stored and is not changed.
func TestAnyFlow(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		ids := 0
		text := `{"modules":` + genModules(rt, 2, &ids, 1)
		if rapid.Bool().Draw(rt, "failure module") {
			text += `,"failure_module":` + raw("failure", "")
		}
		h := newHost(t)
		h.pick = func(n int) int { return rapid.IntRange(0, n-1).Draw(rt, "next") }
		h.job = func(id string, n int, _ map[string]json.RawMessage) (any, bool) {
			return []any{id, nil}[rapid.IntRange(0, 1).Draw(rt, "result")], rapid.IntRange(0, 3).Draw(rt, "fails") > 0
		}
		h.vote = func(int) *Vote {
			return []*Vote{nil, {Approved: true, By: "ann"}, {By: "bob"}}[rapid.IntRange(0, 2).Draw(rt, "vote")]
		}
		h.check = func(r *hosted) {
			switch it := r.run.Items; {
			case it != nil && (it.Running < 0 || it.Running > it.Wide || it.Next < it.Running):
				rt.Fatalf("%s\nitems %+v", text, it)
			case (r.run.Phase == Over) != (r.end != nil):
				rt.Fatalf("%s\n%s with end %+v", text, r.run.Phase, r.end)
			}
		}
		root := h.flow(text+"}", `{}`)
		if root.end == nil {
			rt.Fatalf("%s\nstopped in %+v after %s", text, root.run, strings.Join(h.trace, " "))
		}
		for _, r := range h.live { // whatever was started has ended, and nothing is left to happen
			if len(r.ready) > 0 && r.run.Phase == Running {
				rt.Fatalf("%s\nended while %+v still runs", text, r.run)
			}
		}
		if !json.Valid(root.result) {
			rt.Fatalf("%s\nresult %s", text, root.result)
		}
	})
}
