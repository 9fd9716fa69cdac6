package runner_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/queue"
	"github.com/millrace/millrace/engine/store/storetest"
)

// webhook pushes a flow that got a request.
func (b *box) webhook(value, event string) uuid.UUID {
	b.t.Helper()
	j := &engine.Job{Workspace: "main", Kind: engine.KindFlowPreview, Tag: "flow", Source: value, Args: json.RawMessage(`{"event":` + event + `}`),
		CreatedBy: "ann", Email: "ann@example.org", PermissionedAs: "u/ann", Trigger: engine.TriggerWebhook}
	if _, err := b.runner.Push(b.t.Context(), j); err != nil {
		b.t.Fatal(err)
	}
	b.end(j.ID)
	return j.ID
}

func preprocessor(content string, list ...string) string {
	return `{"preprocessor_module":` + raw("preprocessor", content, js("n", "flow_input.event.n"), "") + `,` + modules(list...)[1:]
}

// TestPreprocessor: what the preprocessor returns is the flow's arguments from then on, for all of its steps, also those within loops and
// after a wait, and for who looks at the job.
func TestPreprocessor(t *testing.T) {
	t.Parallel()
	b := open(t, storetest.URL(t), func(c *queue.Config) { c.InlineLimit = 100 })
	loop := `{"id":"l","value":{"type":"forloopflow","iterator":{"type":"javascript","expr":"[1,2]"},"modules":[` + raw("x", "x", js("v", "flow_input.n.length"), "") + `,` +
		raw("y", "y", js("v", "results.x.v + flow_input.iter.value + flow_input.n.length"), "") + `]}}`
	text := preprocessor("pre", raw("a", "a", js("n", "flow_input.n"), `"sleep":{"type":"static","value":0.2}`), raw("b", "b", js("n", "flow_input.n"), ""), loop,
		raw("z", "z", js("n", "flow_input.n")+","+js("e", "flow_input.event === undefined")+","+js("l", "results.l"), ""))
	for _, n := range []string{"x", strings.Repeat("x", 200)} {
		id := b.webhook(text, `{"n":"`+n+`"}`)
		want := `{"e":true,"l":[{"v":3},{"v":4}],"n":"x"}`
		if len(n) > 1 {
			want = `{"e":true,"l":[{"v":401},{"v":402}],"n":"` + n + `"}`
		}
		if o := b.outcome(id); string(o.Result) != want {
			t.Errorf("%s with %s, wanted %s", o.State, o.Result, want)
		}
		if v, err := b.queue.Get(t.Context(), "main", id); err != nil || !v.Preprocessed || string(v.Args) != `{"n":"`+n+`"}` {
			t.Errorf("the job: %+v, %v", v, err)
		}
		before := count(b, "pre")
		again, err := b.steer().Restart(t.Context(), ann, "main", id, engine.RestartRequest{Step: "b"})
		if err != nil {
			t.Fatal(err)
		}
		if o := b.outcome(again); string(o.Result) != want || count(b, "pre") != before {
			t.Errorf("restarted: %s with %s, wanted %s", o.State, o.Result, want)
		}
	}
	b.empty()
}

// TestPreprocessorFails: what cannot be arguments is a failure of the preprocessor, and the job keeps the request.
func TestPreprocessorFails(t *testing.T) {
	t.Parallel()
	b := open(t, storetest.URL(t), nil)
	b.step = func(j *engine.Job) (json.RawMessage, bool) {
		switch j.Source {
		case "list":
			return json.RawMessage(`[1]`), true
		case "fails":
			return json.RawMessage(`{"error":{"name":"Error"}}`), false
		}
		return j.Args, true
	}
	for content, want := range map[string]string{"list": "PreprocessorError", "fails": `"Error"`} {
		id := b.webhook(preprocessor(content, raw("a", "a", "", "")), `{"n":1}`)
		if o := b.outcome(id); o.State != engine.StateFailure || !strings.Contains(string(o.Result), want) {
			t.Errorf("%s: %s with %s", content, o.State, o.Result)
		}
		if v, err := b.queue.Get(t.Context(), "main", id); err != nil || v.Preprocessed || string(v.Args) != `{"event":{"n":1}}` {
			t.Errorf("%s: %+v, %v", content, v, err)
		}
	}
	b.empty()
}
