package runner_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store/storetest"
)

// TestSquash: the steps of a squashed loop tell which process they share: one for each script and run of the loop, whether an iteration is
// a job or a run.
func TestSquash(t *testing.T) {
	t.Parallel()
	b := open(t, storetest.URL(t), nil)
	b.step = func(j *engine.Job) (json.RawMessage, bool) {
		key, err := b.runner.Squash(t.Context(), j)
		if err != nil {
			return json.RawMessage(`"failed"`), false
		}
		return fmt.Appendf(nil, "%q", key), true
	}
	loop := func(kind, more, mods string) string {
		return `{"id":"l","value":{"type":"` + kind + `","modules":[` + mods + `]` + more + `}}`
	}
	const list = `,"iterator":{"type":"static","value":[1,2]}`
	x, y, stop := raw("x", "x", "", ""), raw("y", "y", "", ""), raw("x", "x", "", `"stop_after_if":{"expr":"flow_input.iter.index >= 1"}`)
	for name, c := range map[string]struct{ flow, want string }{
		"jobs":             {loop("forloopflow", list+`,"squash":true`, x), `["%[1]s/l","%[1]s/l"]`},
		"runs":             {loop("forloopflow", list+`,"squash":true`, x+","+y), `["%[1]s/l/y","%[1]s/l/y"]`},
		"a while loop":     {loop("whileloopflow", `,"squash":true`, stop), `["%[1]s/l/x","%[1]s/l/x"]`},
		"not squashed":     {loop("forloopflow", list, x), `["",""]`},
		"in parallel":      {loop("forloopflow", list+`,"squash":true,"parallel":true`, x+","+y), `["",""]`},
		"deeper":           {loop("forloopflow", list+`,"squash":true`, `{"id":"o","value":{"type":"branchone","branches":[],"default":[`+x+`,`+y+`]}}`), `["",""]`},
		"outside of loops": {x, `""`},
	} {
		id, _ := b.ask(modules(c.flow), `{}`)
		want := c.want
		if strings.Contains(want, "%") {
			want = fmt.Sprintf(want, id)
		}
		if o := b.outcome(id); string(o.Result) != want {
			t.Errorf("%s: %s with %s, wanted %s", name, o.State, o.Result, want)
		}
	}
	b.empty()
}
