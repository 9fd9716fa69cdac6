package queue

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store"
)

// Push stores a job; it is durable when Push returns. When a slot is free here and the job is due, it is born running and
// delivered. After an error whose code is Unavailable, or ctx's error, it is unknown whether the job is stored: push it again
// with the same id. Push fills in j.ID and j.CreatedAt when they are zero.
func (q *Queue) Push(ctx context.Context, j *engine.Job) (engine.PushResult, error) {
	if j.Debounce != nil {
		return q.pushDebounced(ctx, j)
	}
	return q.push(ctx, j, nil)
}

// push stores a job, and in the same transaction the checkpoint of the workflow that asks for it.
func (q *Queue) push(ctx context.Context, j *engine.Job, mark *store.Checkpoint) (engine.PushResult, error) {
	i, err := q.prepare(ctx, j)
	if err != nil {
		return engine.PushResult{}, err
	}
	o := &op{insert: i, mark: mark, urgent: j.Priority > 0}
	if me := q.worker.Load(); me != 0 && q.cfg.Slots != nil && !j.ScheduledFor.After(q.now()) && q.cfg.Slots.TryReserve(j.Tag, q.lanes.passing(j)) {
		i.Worker = me
	}
	if i.Worker == 0 || i.Gate != 0 {
		if o.seats, err = q.seat(ctx, j); err != nil {
			if i.Worker != 0 {
				q.cfg.Slots.Release(j.Tag)
			}
			return engine.PushResult{}, err
		}
	}
	o.patient = q.canWait(o)
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

// canWait says that o need not be flushed at once: whoever asks waits for the job's outcome, and no slot is free for it. The flush of the
// outcome that frees one takes it along, and may claim it. A task's workflow goes on to the next task when this one is stored, so it cannot.
func (q *Queue) canWait(o *op) bool {
	i := o.insert
	return i.Worker == 0 && i.Job.Awaited && o.mark == nil && !o.urgent && i.Gate == 0 && q.cfg.Slots != nil && q.worker.Load() != 0 && q.others.Load() == 0 &&
		slices.Contains(q.cfg.Tags, i.Job.Tag)
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
	var err error
	if i.Gate, err = q.gateOf(ctx, j); err != nil {
		return nil, err
	}
	return i, q.placeArgs(ctx, i)
}

// placeArgs puts large arguments where they belong.
func (q *Queue) placeArgs(ctx context.Context, i *store.JobInsert) error {
	i.ArgsBlob = nil
	if len(i.Job.Args) <= q.cfg.InlineLimit {
		return nil
	}
	hash, ok, err := q.cfg.DB.BlobPut(ctx, i.Job.Args, q.cfg.BlobQuota)
	if err != nil {
		return wrap(err)
	}
	if !ok {
		return &engine.Error{Code: engine.TooLarge, Op: "job.push", Path: i.Job.Path,
			Msg: "the space for large arguments and results is used up", Hint: "shorten the retention or raise the quota"}
	}
	i.ArgsBlob = hash
	return nil
}

// pushed looks at what became of an insert: delivers the job or gives the slot back.
func (q *Queue) pushed(ctx context.Context, o *op) (engine.PushResult, error) {
	i := o.insert
	j, direct := i.Job, i.Worker != 0
	claim := &engine.Claim{Job: j, Worker: i.Worker, Attempt: 1, Started: time.Now(), Gate: i.Gate}
	res := engine.PushResult{ID: j.ID}
	err := o.err
	o.seats.settle(func(int) bool { return err == nil && waiting(i) })
	// After a lost try it may be running here by that, or, with a limit, by a claim since: who notes it first runs it.
	mine := direct && o.retried && !i.Inserted && q.hold(claim)
	switch {
	case err != nil:
	case !i.Inserted:
		res, err = q.twice(ctx, o)
		if i.Admitted != nil && i.Admitted.Running && !res.Claimed && !o.retried {
			// The reserved slot let in a waiting job of the same id, perhaps another's: it goes to whoever claims it.
			if err := q.handBack(ctx, []*engine.Claim{claim}); err != nil {
				q.cfg.Log.Warn().Err(err).Stringer("job", j.ID).Msg("hand back a job; the heartbeat will try again")
			}
		}
	case direct && !waiting(i):
		res.Claimed, mine = true, q.hold(claim)
	default:
		res.Ended = q.turnAway(ctx, []*store.JobInsert{i})[j.ID]
	}
	if res.Claimed && mine {
		q.cfg.Slots.Deliver(claim)
		return res, nil
	}
	res.Claimed = false
	if mine && err != nil {
		q.doubt(claim)
	} else if mine {
		q.letGo(j.ID, 1)
	}
	if direct {
		q.cfg.Slots.Release(j.Tag)
	}
	return res, err
}

// twice explains an insert that found a job of the same id or key. It asks as patiently as the insert was retried: when the database was
// lost under that, the other connections are dead as well, and a job that runs here by the books would wait for the next heartbeat.
func (q *Queue) twice(ctx context.Context, o *op) (engine.PushResult, error) {
	j := o.insert.Job
	res := engine.PushResult{ID: j.ID, Duplicate: true}
	if j.IdempotencyKey != "" {
		var id uuid.UUID
		err := q.patiently(ctx, func() (err error) {
			id, err = q.cfg.DB.JobByKey(ctx, j.Workspace, j.IdempotencyKey)
			return err
		})
		if err != nil && !store.IsNotFound(err) {
			return res, err
		}
		if err == nil && id != j.ID {
			res.ID = id
			return res, nil
		}
	}
	if o.retried && o.insert.Worker != 0 { // was it this very insert, committed before the connection broke?
		var worker, attempt int32
		var running bool
		if err := q.patiently(ctx, func() (err error) {
			worker, attempt, running, err = q.cfg.DB.JobOwner(ctx, j.ID)
			return err
		}); err != nil {
			return res, err
		}
		if running && worker == o.insert.Worker && attempt == 1 {
			res.Claimed, res.Duplicate = true, false
			return res, nil
		}
	}
	var here bool
	if err := q.patiently(ctx, func() (err error) {
		here, err = q.cfg.DB.JobExists(ctx, j.Workspace, j.ID)
		return err
	}); err != nil {
		return res, err
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
		if jobs[0].IdempotencyKey != "" || jobs[0].Debounce != nil {
			res, err := q.Push(ctx, jobs[0])
			if err != nil {
				return out, err
			}
			out, jobs = append(out, res), jobs[1:]
			continue
		}
		n := 0
		var list []*store.JobInsert
		for n < len(jobs) && n < store.BulkRows && jobs[n].IdempotencyKey == "" && jobs[n].Debounce == nil {
			i, err := q.prepare(ctx, jobs[n])
			if err != nil {
				return out, err
			}
			list = append(list, i)
			n++
		}
		res, err := q.pushBulk(ctx, list, jobs[:n])
		if err != nil {
			return out, err
		}
		out, jobs = append(out, res...), jobs[n:]
	}
	return out, nil
}

// pushBulk stores one chunk.
func (q *Queue) pushBulk(ctx context.Context, list []*store.JobInsert, jobs []*engine.Job) ([]engine.PushResult, error) {
	s, err := q.seat(ctx, jobs...)
	if err != nil {
		return nil, err
	}
	if err := q.cfg.DB.JobInsertBulk(ctx, list); err != nil {
		s.settle(nobody)
		return nil, wrap(err)
	}
	s.settle(func(k int) bool { return waiting(list[k]) })
	ended := q.admitBulk(ctx, list)
	out := make([]engine.PushResult, 0, len(list))
	for _, i := range list {
		out = append(out, engine.PushResult{ID: i.Job.ID, Duplicate: !i.Inserted, Ended: ended[i.Job.ID]})
		if i.Inserted && i.Gate == 0 {
			q.lanes.left(i.Job, true)
			q.news.queued(i.Job)
		}
	}
	q.left()
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
	case store.IsFull(err):
		return &engine.Error{Code: engine.Unavailable, Op: "queue.write", Msg: "the database has no space left", Hint: "make room on its disk, or shorten the retention; what was accepted is safe", Err: err}
	}
	var e *engine.Error
	if errors.As(err, &e) {
		return err
	}
	return &engine.Error{Code: engine.Internal, Op: "queue", Err: err}
}
