package jobs

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
)

// TestWaitLooksOnceMore: a wait that ends because nothing runs here any more finds a result that was stored just before.
func TestWaitLooksOnceMore(t *testing.T) {
	t.Parallel()
	s, m := setup(t)
	run := func() uuid.UUID {
		id, err := s.Run(t.Context(), ann, engine.RunRequest{Workspace: "main", Path: "f/a/b"})
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	ctx, end := context.WithCancelCause(t.Context())
	end(engine.ErrDrained)
	id := run()
	if _, err := s.Wait(ctx, ann, "main", id); !errors.Is(err, context.Canceled) {
		t.Errorf("a job that has no end: %v", err)
	}
	if err := m.Cancel(t.Context(), "main", id, "bob", ""); err != nil {
		t.Fatal(err)
	}
	if v, err := s.Wait(ctx, ann, "main", id); err != nil || v.State != engine.StateCanceled {
		t.Errorf("a job that has ended: %+v, %v", v, err)
	}
}

// away is a queue whose database cannot be reached the first times.
type away struct {
	*memory
	times atomic.Int32
}

func (a *away) Get(ctx context.Context, ws string, id uuid.UUID) (*engine.JobView, error) {
	if a.times.Add(-1) >= 0 {
		return nil, &engine.Error{Code: engine.Unavailable, Op: "job.get", Msg: "the database cannot be reached"}
	}
	return a.memory.Get(ctx, ws, id)
}

// TestWaitOutlastsTheDatabase: who waits for a job that was accepted is not sent away because the database is restarted meanwhile.
func TestWaitOutlastsTheDatabase(t *testing.T) {
	t.Parallel()
	s, m := setup(t)
	a := &away{memory: m}
	a.times.Store(2)
	s.cfg.Queue = a
	id, err := s.Run(t.Context(), ann, engine.RunRequest{Workspace: "main", Path: "f/a/b"})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Cancel(t.Context(), "main", id, "bob", ""); err != nil {
		t.Fatal(err)
	}
	if v, err := s.Wait(t.Context(), ann, "main", id); err != nil || v.State != engine.StateCanceled {
		t.Errorf("%+v, %v", v, err)
	}
}
