package workflow

import (
	"context"
	"encoding/json"
	"time"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store"
	"github.com/millrace/millrace/runtimes"
)

// task asks for a job. Those that are asked for together share commits, so that nobody waits here.
func (s *Session) task(a *ask) error {
	o, err := parseOptions(a.Options)
	if err != nil {
		return err
	}
	j := s.job(a, o)
	if a.Path != "" {
		switch err := s.host.cfg.Targets.Task(s.ctx, j, a.Path, a.Flow); engine.CodeOf(err) {
		case engine.NotFound:
			return s.refuse(a, "NoSuchTask", err)
		case engine.Forbidden, engine.Invalid, engine.Conflict:
			return s.refuse(a, "TaskRefused", err)
		default:
			if err != nil {
				return err
			}
		}
	}
	c := s.mark(a)
	if o.Retry != nil {
		c.Options = a.Options
	}
	w := s.waitFor(c)
	go s.start(s.ctx, w, j)
	return nil
}

// refuse stores that a task failed because there can be no job for it, so that it has failed whenever the workflow is started anew.
func (s *Session) refuse(a *ask, name string, why error) error {
	value, err := json.Marshal(map[string]any{"error": map[string]string{"name": name, "message": why.Error()}})
	if err != nil {
		return err
	}
	no, c := false, s.mark(a)
	c.OK, c.Value = &no, value
	if err := s.host.cfg.Queue.Checkpoint(s.ctx, c); err != nil {
		return err
	}
	s.process.Answer(encode(answer{Key: c.Key, Kind: c.Kind, Done: true, Value: value}))
	return nil
}

// job is the job of a task: the same code as the workflow's, for the same person, but another function of it.
func (s *Session) job(a *ask, o options) *engine.Job {
	of := s.claim.Job
	parent := of.ID
	j := &engine.Job{
		Workspace: of.Workspace, Kind: of.Kind, Path: of.Path, Hash: of.Hash, Language: of.Language, Source: of.Source, Lock: of.Lock,
		Tag: runtimes.IsolatedTag(of.Tag), Priority: of.Priority, Args: a.Value, Parent: &parent, CreatedBy: of.CreatedBy, Email: of.Email,
		PermissionedAs: of.PermissionedAs, Network: of.Network, Trigger: engine.TriggerWorkflow, TriggerPath: a.Name, Awaited: true,
	}
	if a.Path != "" {
		j.Kind, j.Path, j.Hash, j.Language, j.Source, j.Lock, j.Network, j.TriggerPath, j.Tag = "", "", 0, "", "", nil, "", "", o.Tag
	}
	if o.Tag != "" {
		j.Tag = o.Tag
	}
	if o.Priority != 0 {
		j.Priority = o.Priority
	}
	j.Timeout = time.Duration(o.Timeout * float64(time.Second))
	if len(j.Args) == 0 || string(j.Args) == "null" {
		j.Args = json.RawMessage("{}")
	}
	return j
}

// start stores the job of w, as was announced, and waits for it.
func (s *Session) start(ctx context.Context, w *wait, j *engine.Job) {
	next := *w.mark
	if !s.store(func() error { return s.host.cfg.Queue.PushTask(ctx, j, &next) }) {
		return
	}
	s.mu.Lock()
	w.mark = &next
	late := s.closed && !s.suspend
	s.mu.Unlock()
	if late { // the workflow has ended meanwhile
		s.drop(&next)
		return
	}
	s.follow(ctx, w)
}

// follow waits for the job of w. Jobs that other daemons run end without a signal here.
func (s *Session) follow(ctx context.Context, w *wait) {
	child := *w.mark.Child
	changed, stop := s.host.cfg.Bus.Await(child)
	defer stop()
	poll := 4 * time.Millisecond
	if s.host.cfg.Queue.Others() == 0 {
		poll = 2 * time.Second
	}
	for first := true; ; first = false {
		v, ok := s.host.cfg.Bus.Done(child)
		if !ok && (!first || w.mark.Result != "" || s.Replays()) {
			got, err := s.host.cfg.Queue.Get(ctx, s.claim.Job.Workspace, child)
			switch {
			case engine.CodeOf(err) == engine.NotFound && err != nil:
				v, ok = &engine.JobView{State: engine.StateFailure, Result: gone}, true
			case err == nil && got.FinishedAt != nil:
				v, ok = got, true
			}
		}
		if ok {
			s.over(ctx, w, v)
			return
		}
		t := time.NewTimer(poll)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-changed:
			t.Stop()
		case <-t.C:
			poll = min(2*poll, 4*time.Second)
		}
	}
}

var gone = json.RawMessage(`{"error":{"name":"ResultGone","message":"the task's job is not kept any more"}}`)

// over answers with the outcome of a task's job, or has the task tried again.
func (s *Session) over(ctx context.Context, w *wait, v *engine.JobView) {
	if v.State == engine.StateSuccess {
		s.answered(w, answer{OK: true, Value: v.Result, Job: w.mark.Child.String()})
		return
	}
	o, err := parseOptions(w.mark.Options)
	if err == nil && o.Retry != nil && v.State == engine.StateFailure && int(w.mark.Tries) < o.Retry.Attempts && v.ID == *w.mark.Child {
		s.retry(ctx, w, v, o.Retry)
		return
	}
	s.failed(ctx, w, v)
}

// failed stores that a task has failed for good, so that it is not tried again when the workflow is started anew, and tells so.
func (s *Session) failed(ctx context.Context, w *wait, v *engine.JobView) {
	if w.mark.Options != nil {
		no := false
		c := *w.mark
		c.OK, c.Value = &no, v.Result
		if !s.announce(w) || !s.store(func() error { return s.host.cfg.Queue.Checkpoint(ctx, &c) }) {
			return
		}
	}
	s.answered(w, answer{Value: v.Result, Job: w.mark.Child.String()})
}

// retry stores another job for a task.
func (s *Session) retry(ctx context.Context, w *wait, v *engine.JobView, r *retry) {
	if !s.announce(w) {
		return
	}
	c := *w.mark
	c.Tries++
	j := v.Job
	j.ScheduledFor, j.CreatedAt, j.IdempotencyKey, j.Awaited = time.Time{}, time.Time{}, "", true
	if d := r.delay(c.Tries); d > 0 {
		j.ScheduledFor = time.Now().Add(d)
	}
	s.mu.Lock()
	w.mark = copyOf(c)
	s.mu.Unlock()
	s.start(ctx, w, &j)
}

func copyOf(c store.Checkpoint) *store.Checkpoint { return &c }
