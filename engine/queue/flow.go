package queue

import (
	"context"
	"encoding/json"
	"time"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store"
)

// Flow does o, with whatever else is written at the time, and returns the jobs of it that are this process's now. It waits until it
// is known whether o was done (o.Done), whatever becomes of ctx: who asks must know. When it was not, or after an error, nothing of
// it was done, and slots that were reserved for its jobs are free again. In the same transaction it may claim up to most jobs with one
// of tags, for slots that have nothing to do otherwise; they are the caller's whatever became of o.
func (q *Queue) Flow(ctx context.Context, o *store.FlowOp, tags []string, most int) (claims, more []*engine.Claim, err error) {
	w := &op{flow: o}
	if most > 0 && q.worker.Load() != 0 {
		w.claim = &ask{tags: tags, most: most}
		q.expectFlow(o)
	}
	err = q.writer.do(context.WithoutCancel(ctx), w)
	if w.claim != nil && len(w.claim.got) > 0 {
		more = q.taken(ctx, w.claim.got)
	}
	for _, f := range o.Ends {
		if err == nil && o.Done {
			q.letGo(f.ID, f.Attempt)
			q.executed.Add(1)
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
			q.FlowRelease(j)
		default:
			c := &engine.Claim{Job: j.Job, Worker: j.Worker, Attempt: 1, Started: time.Now()}
			if q.hold(c) {
				claims = append(claims, c)
			}
		}
	}
	if err == nil && o.Done {
		q.heldUp(context.WithoutCancel(ctx), o)
	}
	return claims, more, err
}

// expectFlow has a claim in the transaction of o look where o leaves jobs.
func (q *Queue) expectFlow(o *store.FlowOp) {
	for _, j := range o.Jobs {
		if !j.Run && j.Worker == 0 && j.Gate == 0 {
			q.lanes.left(j.Job, true)
		}
	}
}

// FlowBegins tells whether a flow that is asked for can begin here at once; otherwise it is queued.
func (q *Queue) FlowBegins(j *engine.Job) bool {
	if q.worker.Load() == 0 || q.cfg.Slots == nil || !q.cfg.Slots.TryReserve(j.Tag, 0) {
		return false
	}
	q.cfg.Slots.Release(j.Tag) // to begin a flow takes no time that a slot would be needed for
	return true
}

// FlowJob makes a job ready to be born in a FlowOp; it gets an id.
func (q *Queue) FlowJob(ctx context.Context, j *engine.Job) (*store.FlowJob, error) {
	if d := j.Debounce; d != nil {
		if err := checkDebounce(j); err != nil {
			return nil, err
		}
		if _, err := accumulate(nil, j.Args, d.Accumulate); err != nil {
			return nil, err
		}
		j.ScheduledFor = q.now().Add(d.Delay)
	}
	i, err := q.prepare(ctx, j)
	if err != nil {
		return nil, err
	}
	return &store.FlowJob{JobInsert: *i, Step: j.Step}, nil
}

// FlowHere has a job be born running in this process: in the slot that is the caller's own already, or in one that is free. One with
// a limit, or that is to run later, takes none.
func (q *Queue) FlowHere(f *store.FlowJob, own bool) {
	me := q.worker.Load()
	if me == 0 || q.cfg.Slots == nil || f.Gate != 0 || !f.Job.ScheduledFor.IsZero() || !own && !q.cfg.Slots.TryReserve(f.Job.Tag, q.lanes.passing(f.Job)) {
		return
	}
	f.Worker, f.Own = me, own
}

// FlowArgs makes what a preprocessor has made of a flow's request ready to be stored by a FlowOp.
func (q *Queue) FlowArgs(ctx context.Context, j *engine.Job, args json.RawMessage) (store.FlowArgs, error) {
	i, err := q.argsMade(ctx, j, args)
	if err != nil {
		return store.FlowArgs{}, err
	}
	return store.FlowArgs{Run: j.ID, Args: args, Blob: i.ArgsBlob}, nil
}

// FlowEnd makes an outcome ready to be stored by a FlowOp.
func (q *Queue) FlowEnd(ctx context.Context, o engine.Outcome) (*store.JobFinish, error) {
	op, err := q.outcome(ctx, o)
	if err != nil {
		return nil, err
	}
	return op.finish, nil
}

// FlowRelease gives a slot back that FlowHere took for a job that will not be born.
func (q *Queue) FlowRelease(f *store.FlowJob) {
	if f.Worker != 0 && !f.Own {
		q.cfg.Slots.Release(f.Job.Tag)
	}
}

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
	for _, a := range o.Args {
		n += len(a.Args)
	}
	for _, r := range o.Runs {
		n += len(r.State)
	}
	return n
}

// leftByFlow tells of the jobs of o that were left queued.
func (q *Queue) leftByFlow(o *store.FlowOp, slow bool) {
	for _, j := range o.Jobs {
		if !j.Run && j.Worker == 0 && j.Gate == 0 {
			q.lanes.left(j.Job, slow)
			q.news.queued(j.Job)
		}
	}
}
