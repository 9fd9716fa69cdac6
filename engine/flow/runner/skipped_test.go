package runner_test

import (
	"testing"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store/storetest"
)

// TestSkippedIsStored: whether a flow ended as skipped is known of its job for as long as that is kept.
func TestSkippedIsStored(t *testing.T) {
	t.Parallel()
	b := open(t, storetest.URL(t), nil)
	for name, x := range map[string]struct {
		flow    string
		skipped bool
	}{
		"skip_expr":                      {`{"skip_expr":"flow_input.n == 1","modules":[` + raw("a", "a", "", "") + `]}`, true},
		"stop_after_if that says so":     {modules(raw("a", "a", "", `"stop_after_if":{"expr":"true","skip_if_stopped":true}`), raw("b", "b", "", "")), true},
		"stop_after_if that does not":    {modules(raw("a", "a", "", `"stop_after_if":{"expr":"true"}`), raw("b", "b", "", "")), false},
		"a step that is skipped":         {modules(raw("a", "a", "", `"skip_if":{"expr":"true"}`), raw("b", "b", "", "")), false},
		"to its end":                     {modules(raw("a", "a", "", "")), false},
		"stop_after_if that is an error": {modules(raw("a", "a", "", `"stop_after_if":{"expr":"true","error_message":"no"}`)), false},
	} {
		id, _ := b.ask(x.flow, `{"n":1}`)
		b.outcome(id)
		v, err := b.db.JobGet(t.Context(), "main", id)
		if err != nil || v.Skipped != x.skipped {
			t.Errorf("%s: skipped %v, %v", name, v.Skipped, err)
		}
		list, err := b.db.JobList(t.Context(), "main", engine.JobFilter{Page: 1, PerPage: 100})
		if err != nil {
			t.Fatal(err)
		}
		for _, j := range list {
			if j.ID == id && j.Skipped != x.skipped {
				t.Errorf("%s: in lists skipped %v", name, j.Skipped)
			}
		}
	}
}
