package runner

import (
	"context"
	"encoding/json"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/flow"
	"github.com/millrace/millrace/engine/store"
)

// Is tells whether a job is a flow of its own, which Begin begins.
func Is(j *engine.Job) bool { return j.Kind == engine.KindFlow || j.Kind == engine.KindFlowPreview }

// Begin makes a run of a flow's job that this process has claimed. It is nobody's then, until it ends. A flow that cannot be begun
// is an error; the job is the caller's to finish.
func (r *Runner) Begin(ctx context.Context, c *engine.Claim) error {
	root := c.Job.ID
	if c.Job.Step != "" && c.Job.Parent != nil { // it had to wait for its limit
		var err error
		if root, err = r.root(ctx, *c.Job.Parent); err != nil {
			return err
		}
	}
	e := &event{run: c.Job.ID, begin: c}
	r.handle(ctx, root, e)
	return e.err
}

// Push asks for a flow. It is born as a run, with its first steps, in the one commit that makes it durable, where this process can
// begin it at once and nothing else was said about when; otherwise it is queued like any job.
func (r *Runner) Push(ctx context.Context, j *engine.Job) (engine.PushResult, error) {
	if !Is(j) || j.ID != uuid.Nil || j.IdempotencyKey != "" || j.Batch != nil || j.Debounce != nil || j.Limit != nil ||
		!j.ScheduledFor.IsZero() || !r.cfg.Queue.FlowBegins(j) {
		return r.cfg.Queue.Push(ctx, j)
	}
	f, err := r.cfg.Queue.FlowJob(ctx, j)
	if err != nil {
		return engine.PushResult{}, err
	}
	f.Run = true
	e := &event{run: j.ID, birth: f}
	r.handle(ctx, j.ID, e)
	if e.err != nil && engine.CodeOf(e.err) != engine.Unavailable { // it cannot begin; who claims it says why
		return r.cfg.Queue.Push(ctx, j)
	}
	return engine.PushResult{ID: j.ID, Claimed: e.err == nil}, e.err
}

// Finish stores the outcome of a step's job, with what the flow does next. next is a job of it that the caller's slot, which takes jobs
// with the tags of slot, is to run now. An error of code NotFound: the job's flow is not there any more, and the outcome is not stored.
func (r *Runner) Finish(ctx context.Context, c *engine.Claim, out engine.Outcome, slot []string) (accepted bool, next *engine.Claim, err error) {
	root, err := r.root(ctx, *c.Job.Parent)
	if err != nil {
		return false, nil, err
	}
	e := &event{run: *c.Job.Parent, end: &out, job: c.Job, slot: slot}
	r.handle(ctx, root, e)
	if e.err != nil && e.next != nil { // the slot is still busy with this outcome
		if err := r.cfg.Queue.HandBack(ctx, []*engine.Claim{e.next}); err != nil {
			r.cfg.Log.Warn().Err(err).Stringer("job", e.next.Job.ID).Msg("hand job back; the heartbeat will try again")
		}
		return e.accepted, nil, e.err
	}
	return e.accepted, e.next, e.err
}

// End stores the outcome of a step that no process runs. False: it is somebody's, or over.
func (r *Runner) End(ctx context.Context, j *engine.Job, out engine.Outcome) (bool, error) {
	accepted, _, err := r.Finish(ctx, &engine.Claim{Job: j, Worker: out.Worker, Attempt: out.Attempt}, out, nil)
	return accepted, err
}

// Cancel ends a run from outside; what it has started is canceled.
func (r *Runner) Cancel(ctx context.Context, id uuid.UUID, by, reason string) error {
	return r.tell(ctx, id, flow.Canceled{By: by, Reason: reason})
}

func (r *Runner) tell(ctx context.Context, id uuid.UUID, what flow.Event) error {
	return r.send(ctx, &event{run: id, what: what})
}

// Answer is what a run that goes on has given those who wait for it; false: nothing yet.
func (r *Runner) Answer(ctx context.Context, id uuid.UUID) (json.RawMessage, bool, error) {
	x, err := r.cfg.Store.FlowGet(ctx, id)
	if store.IsNotFound(err) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	var state flow.Run
	if err := json.Unmarshal(x.State, &state); err != nil || state.Answer == nil {
		return nil, false, err
	}
	if state.Answer.Job == uuid.Nil {
		return orNull(state.Answer.Value), true, nil
	}
	_, v, err := r.cfg.Store.FlowResult(ctx, state.Answer.Job)
	return orNull(v), err == nil, err
}

func (r *Runner) send(ctx context.Context, e *event) error {
	root, err := r.root(ctx, e.run)
	if err != nil {
		return err
	}
	r.handle(ctx, root, e)
	return e.err
}

// root is the outermost run of the flow that id is a run of.
func (r *Runner) root(ctx context.Context, id uuid.UUID) (uuid.UUID, error) {
	r.mu.Lock()
	root, ok := r.roots[id]
	r.mu.Unlock()
	if ok {
		return root, nil
	}
	x, err := r.cfg.Store.FlowGet(ctx, id)
	if store.IsNotFound(err) {
		return uuid.Nil, engine.Errorf(engine.NotFound, "flow.step", "there is no run %s", id)
	}
	if err != nil {
		return uuid.Nil, err
	}
	return x.Root, nil
}

func (r *Runner) remember(x *run) {
	r.mu.Lock()
	r.roots[x.job.ID] = x.root
	r.mu.Unlock()
}

func (r *Runner) forget(x *run) {
	r.mu.Lock()
	delete(r.roots, x.job.ID)
	r.mu.Unlock()
}

// stopJobs cancels what a run that has ended had started. What it misses ends by itself, and changes nothing.
func (r *Runner) stopJobs(ctx context.Context, id uuid.UUID) {
	x, err := r.cfg.Store.FlowGet(ctx, id)
	if err != nil {
		r.cfg.Log.Warn().Err(err).Stringer("run", id).Msg("cancel the jobs of a run")
		return
	}
	var state flow.Run
	_ = json.Unmarshal(x.State, &state) // it is only asked who canceled it
	children, err := r.cfg.Store.FlowChildren(ctx, id)
	if err != nil {
		r.cfg.Log.Warn().Err(err).Stringer("run", id).Msg("cancel the jobs of a run")
		return
	}
	for _, c := range children {
		if c.Run {
			err = r.Cancel(ctx, c.ID, "flow", "its flow was canceled")
		} else {
			err = r.cfg.Queue.Cancel(ctx, x.Job.Workspace, c.ID, "flow", "its flow was canceled")
		}
		if err != nil && engine.CodeOf(err) != engine.NotFound && engine.CodeOf(err) != engine.Conflict {
			r.cfg.Log.Warn().Err(err).Stringer("job", c.ID).Msg("cancel a job of a run")
		}
	}
}

// dueAtOnce is how many runs are looked for at a time.
const dueAtOnce = 200

// loop wakes runs whose time has come.
func (r *Runner) loop(ctx context.Context) {
	for {
		wait := r.due(ctx)
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-r.wake:
			t.Stop()
		case <-t.C:
		}
	}
}

// due carries out what is due, and says how long the next one can wait.
func (r *Runner) due(ctx context.Context) time.Duration {
	r.sweep(time.Now())
	ids, err := r.cfg.Store.FlowDue(ctx, dueAtOnce)
	failed := false
	for _, id := range ids {
		if err := r.tell(ctx, id, flow.Due{}); err != nil && ctx.Err() == nil {
			r.cfg.Log.Warn().Err(err).Stringer("run", id).Msg("wake a run; will try again")
			failed = true
		}
	}
	if err == nil && len(ids) == dueAtOnce && !failed {
		return 0
	}
	if err == nil && !failed {
		in, ok, nErr := r.cfg.Store.FlowNextDue(ctx)
		if err = nErr; err == nil && ok {
			return min(max(in, 0)+time.Millisecond, r.cfg.Poll)
		}
	}
	if err != nil && ctx.Err() == nil {
		r.cfg.Log.Warn().Err(err).Msg("look for runs that are due; will try again")
	}
	return r.cfg.Poll
}
