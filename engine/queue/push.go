package queue

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store"
)

// Push stores a job; it is durable when Push returns. When a slot is free here and the job is due, it is born running and
// delivered. After an error whose code is Unavailable, or ctx's error, it is unknown whether the job is stored: push it again
// with the same id. Push fills in j.ID and j.CreatedAt when they are zero.
func (q *Queue) Push(ctx context.Context, j *engine.Job) (engine.PushResult, error) {
	i, err := q.prepare(ctx, j)
	if err != nil {
		return engine.PushResult{}, err
	}
	o := &op{insert: i}
	if me := q.worker.Load(); me != 0 && q.cfg.Slots != nil && !j.ScheduledFor.After(time.Now()) && q.cfg.Slots.TryReserve(j.Tag) {
		i.Worker = me
	}
	err = q.writer.do(ctx, o)
	switch {
	case err == nil:
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		go func() { // it goes on without its caller
			<-o.done
			q.pushed(context.WithoutCancel(ctx), o) //nolint:errcheck // nobody waits for it any more
		}()
		return engine.PushResult{ID: j.ID}, err
	default:
	}
	return q.pushed(ctx, o)
}

// prepare checks a job and puts large arguments where they belong.
func (q *Queue) prepare(ctx context.Context, j *engine.Job) (*store.JobInsert, error) {
	if err := q.checkJob(j); err != nil {
		return nil, err
	}
	i := &store.JobInsert{Job: j}
	if j.ID == uuid.Nil {
		j.ID, i.Fresh = engine.NewJobID(), true
	}
	if j.CreatedAt.IsZero() {
		j.CreatedAt = time.Now()
	}
	if err := q.patiently(ctx, func() (err error) {
		i.Spec, err = q.cfg.DB.Spec(ctx, j)
		return err
	}); err != nil {
		return nil, err
	}
	if len(j.Args) > q.cfg.InlineLimit {
		hash, ok, err := q.cfg.DB.BlobPut(ctx, j.Args, q.cfg.BlobQuota)
		if err != nil {
			return nil, wrap(err)
		}
		if !ok {
			return nil, &engine.Error{Code: engine.TooLarge, Op: "job.push", Path: j.Path,
				Msg: "the space for large arguments and results is used up", Hint: "shorten the retention or raise the quota"}
		}
		i.ArgsBlob = hash
	}
	return i, nil
}

// pushed looks at what became of an insert: delivers the job or gives the slot back.
func (q *Queue) pushed(ctx context.Context, o *op) (engine.PushResult, error) {
	j, direct := o.insert.Job, o.insert.Worker != 0
	claim := &engine.Claim{Job: j, Worker: o.insert.Worker, Attempt: 1, Started: time.Now()}
	res := engine.PushResult{ID: j.ID}
	err := o.err
	if err == nil && !o.insert.Inserted {
		res, err = q.twice(ctx, o)
	} else if err == nil {
		res.Claimed = direct
	}
	if res.Claimed && q.hold(claim) {
		q.cfg.Slots.Deliver(claim)
		return res, nil
	}
	res.Claimed = false
	if direct {
		if o.retried && err != nil {
			q.doubt(claim)
		}
		q.cfg.Slots.Release(j.Tag)
	}
	return res, err
}

// twice explains an insert that found a job of the same id or key.
func (q *Queue) twice(ctx context.Context, o *op) (engine.PushResult, error) {
	j := o.insert.Job
	res := engine.PushResult{ID: j.ID, Duplicate: true}
	if j.IdempotencyKey != "" {
		id, err := q.cfg.DB.JobByKey(ctx, j.Workspace, j.IdempotencyKey)
		if err != nil && !store.IsNotFound(err) {
			return res, wrap(err)
		}
		if err == nil && id != j.ID {
			res.ID = id
			return res, nil
		}
	}
	if o.retried && o.insert.Worker != 0 { // was it this very insert, committed before the connection broke?
		worker, attempt, running, err := q.cfg.DB.JobOwner(ctx, j.ID)
		if err != nil {
			return res, wrap(err)
		}
		if running && worker == o.insert.Worker && attempt == 1 {
			res.Claimed, res.Duplicate = true, false
			return res, nil
		}
	}
	here, err := q.cfg.DB.JobExists(ctx, j.Workspace, j.ID)
	if err != nil {
		return res, wrap(err)
	}
	if !here {
		return engine.PushResult{}, engine.Errorf(engine.Conflict, "job.push", "the id %s is taken", j.ID)
	}
	res.Duplicate = !o.retried
	return res, nil
}

// doubt remembers a job that may have been inserted as running here but was never delivered; beat hands it back.
func (q *Queue) doubt(c *engine.Claim) {
	q.runMu.Lock()
	q.unsure = append(q.unsure, c)
	q.runMu.Unlock()
}

// PushMany stores many jobs, queued, in chunks on a connection of its own, so that single pushes are not held up. On an error
// the results tell how far it came; push the rest again with the same ids.
func (q *Queue) PushMany(ctx context.Context, jobs []*engine.Job) ([]engine.PushResult, error) {
	out := make([]engine.PushResult, 0, len(jobs))
	for len(jobs) > 0 {
		if jobs[0].IdempotencyKey != "" {
			res, err := q.Push(ctx, jobs[0])
			if err != nil {
				return out, err
			}
			out, jobs = append(out, res), jobs[1:]
			continue
		}
		n := 0
		var list []*store.JobInsert
		for n < len(jobs) && n < store.BulkRows && jobs[n].IdempotencyKey == "" {
			i, err := q.prepare(ctx, jobs[n])
			if err != nil {
				return out, err
			}
			list = append(list, i)
			n++
		}
		if err := q.cfg.DB.JobInsertBulk(ctx, list); err != nil {
			return out, wrap(err)
		}
		for _, i := range list {
			out = append(out, engine.PushResult{ID: i.Job.ID, Duplicate: !i.Inserted})
			if i.Inserted {
				q.lanes.added(i.Job.Tag, i.Job.Priority, i.Job.ScheduledFor)
				q.news.queued(i.Job)
			}
		}
		q.left()
		jobs = jobs[n:]
	}
	return out, nil
}

// patiently does fn again while the database cannot be reached, for as long as the writer would.
func (q *Queue) patiently(ctx context.Context, fn func() error) error {
	deadline, backoff := time.Now().Add(q.cfg.RetryFor), 10*time.Millisecond
	for {
		err := fn()
		if !store.IsUnavailable(err) || time.Now().Add(backoff).After(deadline) {
			return wrap(err)
		}
		t := time.NewTimer(backoff)
		select {
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		case <-t.C:
		}
		backoff = min(2*backoff, time.Second)
	}
}

// wrap gives errors of the database their code.
func wrap(err error) error {
	switch {
	case err == nil:
		return nil
	case store.IsUnavailable(err):
		return unavailable(err)
	}
	var e *engine.Error
	if errors.As(err, &e) {
		return err
	}
	return &engine.Error{Code: engine.Internal, Op: "queue", Err: err}
}
