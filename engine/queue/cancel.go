package queue

import (
	"context"
	"strconv"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store"
)

// Cancel ends a job: a queued one is completed as canceled at once, a running one is killed by the process that runs it. A
// completed job is a conflict.
func (q *Queue) Cancel(ctx context.Context, ws string, id uuid.UUID, by, reason string) error {
	by, reason = clean(by), clean(reason)
	message := "canceled by " + by
	if reason != "" {
		message += ": " + reason
	}
	c := store.Cancel{Workspace: ws, ID: id, By: by, Reason: reason, Result: failure("Canceled", message)}
	for range 5 { // a job may change between the two looks, but not for ever
		gate, done, err := q.cfg.DB.JobCancelQueued(ctx, c)
		if done && gate != 0 {
			q.admitAt(context.WithoutCancel(ctx), []int32{gate})
		}
		if done {
			q.cancelTasks(context.WithoutCancel(ctx), ws, id)
		}
		if err != nil || done {
			return wrap(err)
		}
		worker, running, err := q.cfg.DB.JobCancelRunning(ctx, c)
		if err != nil {
			return wrap(err)
		}
		if running {
			return q.kill(ctx, worker, c)
		}
		v, err := q.Get(ctx, ws, id)
		if err != nil {
			return err
		}
		if v.FinishedAt != nil {
			return &engine.Error{Code: engine.Conflict, Op: "job.cancel", Path: id.String(), Msg: "the job is completed already"}
		}
		switch {
		case q.cfg.Flows == nil || v.Worker != 0:
		case v.State == engine.StateRunning:
			return wrap(q.cfg.Flows.Cancel(ctx, id, by, reason))
		case v.Step != "":
			done, err := q.endStep(ctx, &v.Job, store.FlowAttempt{ID: id, Attempt: v.Attempt}, by, reason)
			if err != nil || done {
				return wrap(err)
			}
		}
	}
	return &engine.Error{Code: engine.Conflict, Op: "job.cancel", Path: id.String(), Msg: "the job keeps changing hands", Hint: "try again"}
}

// kill has the owner of a running job kill it. The mark in the database is set already: should the message be lost, the
// owner finds it at its next heartbeat, and should the owner be lost, the rescuer does.
func (q *Queue) kill(ctx context.Context, worker int32, c store.Cancel) error {
	if worker == q.worker.Load() {
		if q.cfg.OnCancel != nil {
			q.cfg.OnCancel(c.ID, c.By, c.Reason)
		}
		return nil
	}
	if err := q.cfg.DB.Notify(ctx, cancelChannel, strconv.Itoa(int(worker))); err != nil {
		q.cfg.Log.Warn().Err(err).Stringer("job", c.ID).Msg("tell the owner of a canceled job; it will find out at its heartbeat")
	}
	return nil
}

// killCanceled kills the jobs of this process that somebody canceled.
func (q *Queue) killCanceled(ctx context.Context) error {
	if q.cfg.OnCancel == nil {
		return nil
	}
	list, err := q.cfg.DB.JobCanceled(ctx, q.worker.Load())
	for _, c := range list {
		q.cfg.OnCancel(c.ID, c.By, c.Reason)
	}
	return err
}
