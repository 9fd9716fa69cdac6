package execute

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
)

// memory keeps what preprocessors make.
type memory struct {
	made map[uuid.UUID]string
	err  error
}

func (m *memory) Preprocessed(_ context.Context, c *engine.Claim, args json.RawMessage) error {
	m.made[c.Job.ID] = string(args)
	return m.err
}

func (m *memory) IsPreprocessed(_ context.Context, id uuid.UUID) (bool, error) {
	_, ok := m.made[id]
	return ok, nil
}

// braced answers for references in arguments: "$x" stands for "X".
type braced struct{}

func (braced) Fill(_ context.Context, _ *engine.Job, raw json.RawMessage) (json.RawMessage, error) {
	if string(raw) == `{"n":"$x"}` {
		return json.RawMessage(`{"n":"X"}`), nil
	}
	return raw, nil
}

// TestPreprocessed: arguments are made once, stored before main gets them, as they are, and are there for the attempts to come.
func TestPreprocessed(t *testing.T) {
	t.Parallel()
	x := setup(t)
	m := &memory{made: map[uuid.UUID]string{}}
	x.cfg.Requests, x.cfg.Values = m, braced{}
	c := preview("args") // of both functions
	c.Job.Trigger, c.Job.Args = engine.TriggerWebhook, json.RawMessage(`{"n":"$x"}`)
	run := func(want string) {
		t.Helper()
		if out, done := x.Execute(t.Context(), c); !done || string(out.Result) != want {
			t.Errorf("attempt %d: %s, want %s", c.Attempt, out.Result, want)
		}
	}
	run(`{"n":"X"}`)
	if m.made[c.Job.ID] != `{"n":"$x"}` {
		t.Errorf("stored %s", m.made[c.Job.ID])
	}
	m.made[c.Job.ID] = "once"
	c.Attempt = 2
	run(`{"n":"X"}`)
	if m.made[c.Job.ID] != "once" {
		t.Errorf("the second attempt stored %s", m.made[c.Job.ID])
	}
	delete(m.made, c.Job.ID) // the first one was lost before it came to that
	run(`{"n":"X"}`)
	if m.made[c.Job.ID] != `{"n":"$x"}` {
		t.Errorf("stored %s", m.made[c.Job.ID])
	}
	c.Attempt, m.err = 1, engine.Errorf(engine.Conflict, "job.preprocess", "it is another's")
	run(`{"error":{"name":"Error","message":"job.preprocess: it is another's"}}`)
}
