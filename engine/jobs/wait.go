package jobs

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
)

// lastLook is how long a wait that ends because this daemon has drained may look for the result once more.
const lastLook = 5 * time.Second

// Wait blocks until the job is completed; it returns ctx's error when ctx ends first. One that ends by engine.ErrDrained still finds
// what was stored just before.
func (s *Jobs) Wait(ctx context.Context, p engine.Principal, ws string, id uuid.UUID) (*engine.JobView, error) {
	if err := s.cfg.Gate.Can(p, "read", ws, ""); err != nil {
		return nil, err
	}
	changed, stop := s.cfg.Bus.Await(id)
	defer stop()
	v, err := s.wait(ctx, changed, ws, id)
	if err == nil || ctx.Err() == nil || !errors.Is(context.Cause(ctx), engine.ErrDrained) {
		return v, err
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastLook)
	defer cancel()
	if v, lost := s.result(last, ws, id); lost == nil && v != nil {
		return v, nil
	}
	return nil, err
}

func (s *Jobs) wait(ctx context.Context, changed <-chan struct{}, ws string, id uuid.UUID) (*engine.JobView, error) {
	poll := s.firstLook()
	for first := true; ; first = false {
		if v, ok := s.cfg.Bus.Done(id); ok && v.Workspace == ws {
			return v, nil
		}
		_, here := s.cfg.Live.Get(id)
		if !first && !here {
			v, err := s.result(ctx, ws, id)
			away := engine.CodeOf(err) == engine.Unavailable && ctx.Err() == nil // the job is safe, and the database comes back
			if !away && (err != nil || v != nil) {
				return v, err
			}
		}
		t := time.NewTimer(poll)
		select {
		case <-ctx.Done():
			t.Stop()
			return nil, ctx.Err()
		case <-changed:
			t.Stop()
		case <-t.C: // another daemon may run it: look, ever less often
			poll = min(2*poll, time.Second)
		}
	}
}

// result looks for a completed job, or a flow that has an answer already; nil: there is none.
func (s *Jobs) result(ctx context.Context, ws string, id uuid.UUID) (*engine.JobView, error) {
	v, err := s.cfg.Queue.Get(ctx, ws, id)
	if err != nil || v.FinishedAt != nil {
		return v, err
	}
	return s.early(ctx, v)
}

// firstLook is how long a wait trusts the bus alone: jobs that other daemons run end without a signal here.
func (s *Jobs) firstLook() time.Duration {
	if s.cfg.Others != nil && s.cfg.Others() == 0 {
		return 500 * time.Millisecond
	}
	return 4 * time.Millisecond
}
