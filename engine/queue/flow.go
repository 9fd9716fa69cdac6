package queue

import (
	"context"
	"time"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store"
)

// Flow does o, with whatever else is written at the time, and returns the jobs of it that are this process's now. It waits until it
// is known whether o was done (o.Done), whatever becomes of ctx: who asks must know. When it was not, or after an error, nothing of
// it was done, and slots that were reserved for its jobs are free again.
func (q *Queue) Flow(ctx context.Context, o *store.FlowOp) (claims []*engine.Claim, err error) {
	w := &op{flow: o}
	err = q.writer.do(context.WithoutCancel(ctx), w)
	for _, f := range o.Ends {
		if err == nil && o.Done {
			q.letGo(f.ID, f.Attempt)
		}
	}
	for _, b := range o.Begins {
		if err == nil && o.Done {
			q.letGo(b.ID, b.Attempt)
		}
	}
	for _, j := range o.Jobs {
		switch {
		case j.Worker == 0:
		case err != nil || !o.Done:
			q.cfg.Slots.Release(j.Job.Tag)
		default:
			c := &engine.Claim{Job: j.Job, Worker: j.Worker, Attempt: 1, Started: time.Now()}
			if q.hold(c) {
				claims = append(claims, c)
			}
		}
	}
	return claims, err
}

// FlowJob makes a job ready to be born in a FlowOp; it gets an id. direct: in this process, if a slot is free.
func (q *Queue) FlowJob(ctx context.Context, j *engine.Job, direct bool) (*store.FlowJob, error) {
	i, err := q.prepare(ctx, j)
	if err != nil {
		return nil, err
	}
	f := &store.FlowJob{JobInsert: *i, Step: j.Step}
	if me := q.worker.Load(); direct && me != 0 && q.cfg.Slots != nil && !j.ScheduledFor.After(q.now()) && q.cfg.Slots.TryReserve(j.Tag) {
		f.Worker = me
	}
	return f, nil
}

// FlowEnd makes an outcome ready to be stored by a FlowOp.
func (q *Queue) FlowEnd(ctx context.Context, o engine.Outcome) (*store.JobFinish, error) {
	op, err := q.outcome(ctx, o)
	if err != nil {
		return nil, err
	}
	return op.finish, nil
}

// FlowRelease gives a slot back that FlowJob took for a job that will not be born.
func (q *Queue) FlowRelease(tag string) { q.cfg.Slots.Release(tag) }

// Deliver starts a job of a FlowOp that is this process's.
func (q *Queue) Deliver(c *engine.Claim) { q.cfg.Slots.Deliver(c) }

func flowBytes(o *store.FlowOp) (n int) {
	for _, j := range o.Jobs {
		n += len(j.Job.Args) + len(j.Job.Source)
	}
	for _, f := range o.Ends {
		n += len(f.Result) + len(f.LogTail)
	}
	for _, f := range o.Over {
		n += len(f.Result)
	}
	for _, s := range o.Steps {
		n += len(s.Value)
	}
	for _, r := range o.Runs {
		n += len(r.State)
	}
	return n
}

// leftByFlow tells of the jobs of o that were left queued.
func (q *Queue) leftByFlow(o *store.FlowOp, slow bool) {
	for _, j := range o.Jobs {
		if !j.Run && j.Worker == 0 {
			q.lanes.left(j.Job, slow)
			q.news.queued(j.Job)
		}
	}
}
