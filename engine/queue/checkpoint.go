package queue

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store"
)

// Workflows as code store what they ask for while they run, wait without a worker, and are queued again when they can go on.

// errNotMine says that a workflow is not this process's any more.
func errNotMine(id uuid.UUID) error {
	return engine.Errorf(engine.Conflict, "workflow.checkpoint", "job %s belongs to another worker by now", id)
}

// Checkpoint stores what a workflow has asked for; it is durable then. An error of code Conflict: the workflow is another's.
func (q *Queue) Checkpoint(ctx context.Context, c *store.Checkpoint) error {
	if err := q.checkValue(c); err != nil {
		return err
	}
	if err := q.writer.do(ctx, &op{mark: c}); err != nil {
		return err
	}
	if !c.Accepted {
		return errNotMine(c.ID)
	}
	return nil
}

func (q *Queue) checkValue(c *store.Checkpoint) error {
	if len(c.Options) > q.cfg.MaxPayload || len(c.Options) > 0 && checkJSON(c.Options) != "" {
		return engine.Errorf(engine.Invalid, "workflow.checkpoint", "the options of the %s %s are too large, or no JSON", c.Kind, c.Key)
	}
	problem := ""
	if len(c.Value) > q.cfg.MaxPayload {
		problem = fmt.Sprintf("has %d bytes, %d are allowed", len(c.Value), q.cfg.MaxPayload)
	} else if len(c.Value) > 0 {
		problem = checkJSON(c.Value)
	}
	if problem != "" {
		return engine.Errorf(engine.Invalid, "workflow.checkpoint", "the result of the %s %s %s", c.Kind, c.Key, problem)
	}
	return nil
}

// PushTask stores the job of a task with its workflow's checkpoint, whose Child it becomes.
func (q *Queue) PushTask(ctx context.Context, j *engine.Job, c *store.Checkpoint) error {
	j.ID = engine.NewJobID()
	c.Child = &j.ID
	_, err := q.push(context.WithoutCancel(ctx), j, c)
	if err == nil && !c.Accepted {
		err = errNotMine(c.ID)
		if err := q.Cancel(ctx, j.Workspace, j.ID, "workflow", "its workflow belongs to another worker by now"); err != nil {
			q.cfg.Log.Warn().Err(err).Stringer("job", j.ID).Msg("cancel a task that nobody waits for")
		}
	}
	return err
}

// Suspend lets go of a workflow that waits: it is queued, and due when something of that is over. False: it is not this process's
// any more, or is to be canceled.
func (q *Queue) Suspend(ctx context.Context, c *engine.Claim, s *engine.Suspension) (bool, error) {
	due, ok, err := q.cfg.DB.CheckpointSuspend(ctx, store.FlowAttempt{ID: c.Job.ID, Worker: c.Worker, Attempt: c.Attempt}, s)
	if err != nil || !ok {
		return false, wrap(err)
	}
	q.letGo(c.Job.ID, c.Attempt)
	q.requeued(c.Job.Tag, c.Job.Priority, due)
	return true, nil
}

// WakeWorkflow tells a suspended workflow that the job of a task is over.
func (q *Queue) WakeWorkflow(ctx context.Context, job, child uuid.UUID) error {
	tag, prio, due, ok, err := q.cfg.DB.CheckpointWake(ctx, job, child)
	if ok {
		q.requeued(tag, prio, due)
	}
	return wrap(err)
}

// Answered tells a suspended workflow that somebody has answered what it asks for approval.
func (q *Queue) Answered(ctx context.Context, job uuid.UUID) error {
	tag, prio, due, ok, err := q.cfg.DB.CheckpointAnswered(ctx, job)
	if ok {
		q.requeued(tag, prio, due)
	}
	return wrap(err)
}

// requeued notes that a job is queued again, and when it is due.
func (q *Queue) requeued(tag string, prio int16, due time.Time) {
	if due.After(q.now()) {
		q.lanes.added(tag, prio, due)
		return
	}
	q.lanes.again(tag, prio)
	q.news.all()
	q.left()
}

// cancelTasks cancels the tasks of a workflow that was canceled while it waited.
func (q *Queue) cancelTasks(ctx context.Context, ws string, id uuid.UUID) {
	tasks, err := q.cfg.DB.CheckpointChildren(ctx, id)
	for _, t := range tasks {
		if e := q.Cancel(ctx, ws, t, "workflow", "its workflow was canceled"); e != nil && engine.CodeOf(e) != engine.Conflict {
			err = e
		}
	}
	if err != nil {
		q.cfg.Log.Warn().Err(err).Stringer("job", id).Msg("cancel the tasks of a workflow")
	}
}
