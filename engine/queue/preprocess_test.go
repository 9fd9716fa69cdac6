package queue

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store/storetest"
)

// TestPreprocessed: what a preprocessor has made takes the request's place wherever arguments are read, and stays there when the job is
// attempted again; an attempt that is not its worker's any more changes nothing.
func TestPreprocessed(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	cfg := quiet(storetest.New(t), nil)
	cfg.InlineLimit = 100
	q := start(t, cfg)
	large := `{"n":"` + strings.Repeat("x", 200) + `"}`
	for _, c := range []struct{ request, made string }{
		{`{"event":{"body":1}}`, `{"n": 1}`}, {`{"event":{"body":1}}`, large}, {`{"event":` + large + `}`, `{"n": 1}`}, {`{"event":` + large + `}`, large},
	} {
		j := noop()
		j.Trigger, j.Args = engine.TriggerWebhook, json.RawMessage(c.request)
		push(t, q, j)
		first := claim(t, q, 1, "noop")[0]
		if done, err := q.IsPreprocessed(ctx, j.ID); err != nil || done {
			t.Fatalf("before: %v, %v", done, err)
		}
		if v := get(t, q, j.ID); v.Preprocessed || string(v.Args) != c.request {
			t.Fatalf("before: %+v", v)
		}
		for range 2 { // also when the answer was lost
			if err := q.Preprocessed(ctx, first, json.RawMessage(c.made)); err != nil {
				t.Fatal(err)
			}
		}
		if err := q.HandBack(ctx, []*engine.Claim{first}); err != nil {
			t.Fatal(err)
		}
		second := claim(t, q, 1, "noop")[0]
		if second.Attempt != 2 || string(second.Job.Args) != c.made {
			t.Errorf("the second attempt: %d, %s", second.Attempt, second.Job.Args)
		}
		if done, err := q.IsPreprocessed(ctx, j.ID); err != nil || !done {
			t.Errorf("after: %v, %v", done, err)
		}
		if err := q.Preprocessed(ctx, first, json.RawMessage(`{"late":true}`)); engine.CodeOf(err) != engine.Conflict {
			t.Errorf("an attempt that is over: %v", err)
		}
		list, err := q.List(ctx, "main", engine.JobFilter{Kinds: []engine.JobKind{engine.KindNoop}, States: []engine.JobState{engine.StateRunning}, Page: 1, PerPage: 10})
		if err != nil || len(list) != 1 || !list[0].Preprocessed {
			t.Errorf("the list: %+v, %v", list, err)
		}
		finish(t, q, success(second))
		if v := get(t, q, j.ID); !v.Preprocessed || string(v.Args) != c.made {
			t.Errorf("after: %+v", v)
		}
	}
}

// TestPreprocessedTooLarge: what could not be asked for cannot be made of a request either.
func TestPreprocessedTooLarge(t *testing.T) {
	t.Parallel()
	cfg := quiet(storetest.New(t), nil)
	cfg.MaxPayload = 1000
	q := start(t, cfg)
	j := noop()
	push(t, q, j)
	c := claim(t, q, 1, "noop")[0]
	for args, code := range map[string]engine.Code{`{"n":"` + strings.Repeat("x", 1000) + `"}`: engine.TooLarge, `{"n":"\u0000"}`: engine.Invalid} {
		if err := q.Preprocessed(t.Context(), c, json.RawMessage(args)); engine.CodeOf(err) != code {
			t.Errorf("%.20s: %v", args, err)
		}
	}
	if v := get(t, q, j.ID); v.Preprocessed || string(v.Args) != string(j.Args) {
		t.Errorf("%+v", v)
	}
}
