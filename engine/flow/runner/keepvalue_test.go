package runner_test

import (
	"testing"
	"time"

	"github.com/millrace/millrace/engine/store/storetest"
)

// TestKeptLoops: a loop or branches whose result is kept run nothing when they depend on the same, and again when they do not.
func TestKeptLoops(t *testing.T) {
	t.Parallel()
	b := open(t, storetest.URL(t), nil)
	for name, kept := range map[string]string{
		"a loop":       `{"id":"l","cache_ttl":60,"value":{"type":"forloopflow","iterator":{"type":"static","value":[1,2]},"modules":[` + raw("x", "x", js("v", "results.a.v + flow_input.iter.value"), "") + `]}}`,
		"one branch":   `{"id":"l","cache_ttl":60,"value":{"type":"branchone","branches":[{"expr":"results.a.v > 1","modules":[` + raw("x", "x", js("v", "results.a.v"), "") + `]}],"default":[` + raw("y", "y", "", "") + `]}}`,
		"all branches": `{"id":"l","cache_ttl":60,"value":{"type":"branchall","branches":[{"modules":[` + raw("x", "x", js("v", "results.a.v"), "") + `]},{"modules":[` + raw("y", "y", js("p", "previous_result"), "") + `]}]}}`,
	} {
		flow := modules(raw("a", "a", js("v", "flow_input.n"), ""), kept, raw("z", "z", js("l", "results.l"), ""))
		ran := func(args string) (string, int) {
			b.mu.Lock()
			b.ran = nil
			b.mu.Unlock()
			o := b.run(flow, args)
			b.mu.Lock()
			defer b.mu.Unlock()
			return string(o.Result), len(b.ran)
		}
		first, n := ran(`{"n":5}`)
		if n < 3 {
			t.Fatalf("%s: %d steps ran: %s", name, n, first)
		}
		limit := time.Now().Add(20 * time.Second)
		again, m := ran(`{"n":5}`)
		for m != 2 && time.Now().Before(limit) { // it is kept soon after its end
			again, m = ran(`{"n":5}`)
		}
		if again != first || m != 2 {
			t.Errorf("%s: %s and then %s, with %d steps", name, first, again, m)
		}
		if other, k := ran(`{"n":6}`); other == first || k != n {
			t.Errorf("%s: with other arguments %s, with %d steps", name, other, k)
		}
	}
	b.empty()
}

// TestPreviousResultOfALoop: what comes after a loop sees its list also when that is a loop itself and has iterations behind it.
func TestPreviousResultOfALoop(t *testing.T) {
	t.Parallel()
	b := open(t, storetest.URL(t), nil)
	loop := func(id, inner string) string {
		return `{"id":"` + id + `","value":{"type":"forloopflow","iterator":{"type":"static","value":[1,2,3]},"modules":[` + inner + `]}}`
	}
	o := b.run(modules(loop("k", raw("x", "x", js("v", "flow_input.iter.value"), "")), loop("l", raw("y", "y", js("n", "previous_result.map(r => r.v ?? 'wrong').join('')"), ""))), `{}`)
	if string(o.Result) != `[{"n":"123"},{"n":"123"},{"n":"123"}]` {
		t.Errorf("%s with %s", o.State, o.Result)
	}
}
