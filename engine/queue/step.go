package queue

import (
	"context"
	"fmt"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store"
)

// Steps of flows are ended by who carries on with their flow, in one transaction with what comes next. So whoever ends jobs that no
// process runs leaves steps out, and has them ended here.

// sweepHomes ends steps that only one daemon could run, because it has the folder of their flow, and that daemon is gone. What their flow
// does next may have to run there too: it is ended the next time.
func (q *Queue) sweepHomes(ctx context.Context) {
	if q.cfg.Flows == nil {
		return
	}
	list, err := q.cfg.DB.FlowHomeless(ctx, q.cfg.Lease)
	for _, s := range list {
		o := engine.Outcome{ID: s.ID, Worker: s.Worker, Attempt: s.Attempt, State: engine.StateFailure, Result: failure(engine.FolderLost, engine.FolderLostText)}
		if _, e := q.cfg.Flows.End(ctx, s.Job, o); e != nil {
			err = e
		}
	}
	if err != nil && ctx.Err() == nil {
		q.cfg.Log.Warn().Err(err).Msg("end steps whose shared folder is gone; will try again")
	}
}

// endStep ends a step that no process runs: canceled by somebody, or, when by is "", lost too often.
func (q *Queue) endStep(ctx context.Context, j *engine.Job, a store.FlowAttempt, by, reason string) (bool, error) {
	o := engine.Outcome{ID: a.ID, Worker: a.Worker, Attempt: a.Attempt, State: engine.StateFailure,
		Result: failure("WorkerLost", "the worker that ran the job vanished, again and again")}
	if by == byDebounce {
		o.State, o.CanceledBy, o.Reason, o.Result = engine.StateCanceled, by, reason, fmt.Appendf(nil, `{"debounced_by":%q}`, reason)
		return q.cfg.Flows.End(ctx, j, o)
	}
	if by != "" {
		message := "canceled by " + by
		if reason != "" {
			message += ": " + reason
		}
		o.State, o.CanceledBy, o.Reason, o.Result = engine.StateCanceled, by, reason, failure("Canceled", message)
	}
	return q.cfg.Flows.End(ctx, j, o)
}

// endLostSteps ends the steps of workers that are gone which are not to run again.
func (q *Queue) endLostSteps(ctx context.Context) error {
	if q.cfg.Flows == nil {
		return nil
	}
	list, err := q.cfg.DB.JobStepsOver(ctx, q.cfg.MaxLost)
	if err != nil {
		return err
	}
	for _, s := range list {
		if _, err := q.endStep(ctx, s.Job, s.FlowAttempt, s.CanceledBy, s.Reason); err != nil {
			return err
		}
	}
	return nil
}

// endCanceledSteps ends those of claims that were handed back and are to be canceled.
func (q *Queue) endCanceledSteps(ctx context.Context, claims []*engine.Claim) error {
	for _, c := range claims {
		if c.Job.Step == "" || q.cfg.Flows == nil {
			continue
		}
		worker, attempt, running, err := q.cfg.DB.JobOwner(ctx, c.Job.ID)
		if err != nil {
			return err
		}
		if !running || worker != c.Worker || attempt != c.Attempt {
			continue // it is queued again, or somebody else's by now
		}
		v, err := q.Get(ctx, c.Job.Workspace, c.Job.ID)
		if err != nil {
			return err
		}
		if _, err := q.endStep(ctx, c.Job, store.FlowAttempt{ID: c.Job.ID, Worker: worker, Attempt: attempt}, v.CanceledBy, v.Reason); err != nil {
			return err
		}
	}
	return nil
}
