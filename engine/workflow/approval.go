package workflow

import (
	"context"
	"encoding/json"
	"time"

	"github.com/millrace/millrace/engine"
)

// late is what a workflow gets when nobody has answered.
var late = json.RawMessage(`{"error":{"name":"ApprovalTimeout","message":"nobody has answered in time"}}`)

// approval asks people. What they say is stored by others, see package control.
func (s *Session) approval(a *ask) error {
	if !(a.Seconds > 0) || a.Seconds > 1e9 {
		return engine.Errorf(engine.Invalid, "workflow.approval", "the timeout of an approval: want seconds, got %v", a.Seconds)
	}
	c := s.mark(a)
	c.Options = a.Options
	c.Wait = max(time.Duration(a.Seconds*float64(time.Second)), time.Microsecond)
	w := s.waitFor(c)
	ctx := s.ctx
	go func() {
		if s.store(func() error { return s.host.cfg.Queue.Checkpoint(ctx, c) }) {
			s.decide(ctx, w, c.Wait)
		}
	}()
	return nil
}

// decide waits for the answer to w, which anybody may have stored, here or elsewhere. It looks for it, because that is short: a workflow
// that only waits for people is ended soon, and the answer wakes it.
func (s *Session) decide(ctx context.Context, w *wait, d time.Duration) {
	s.mu.Lock()
	if s.closed || s.waits[w.mark.Key] != w {
		s.mu.Unlock()
		return
	}
	w.due = time.Now().Add(d)
	end := time.NewTimer(max(d, 0))
	w.timer = end
	s.turn()
	s.mu.Unlock()
	for poll := quiet; ; poll = min(2*poll, 2*time.Second) {
		ok, value, err := s.host.cfg.Store.ApprovalOutcome(ctx, w.mark.ID, w.mark.N, late)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			s.host.cfg.Log.Warn().Err(err).Msg("look for the answer to a workflow")
		case ok != nil:
			s.answered(w, answer{OK: *ok, Value: value})
			return
		}
		t := time.NewTimer(poll)
		select {
		case <-ctx.Done():
		case <-end.C:
		case <-t.C:
		}
		t.Stop()
	}
}
