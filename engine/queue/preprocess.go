package queue

import (
	"context"
	"encoding/json"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store"
)

// Preprocessed has a running job keep args, which its preprocessor has made, in the place of the request; they are durable then. An error
// of code Conflict: the job is another worker's by now.
func (q *Queue) Preprocessed(ctx context.Context, c *engine.Claim, args json.RawMessage) error {
	i, err := q.argsMade(ctx, c.Job, args)
	if err != nil {
		return err
	}
	return q.patiently(ctx, func() error {
		mine, err := q.cfg.DB.JobArgsMade(ctx, store.FlowAttempt{ID: c.Job.ID, Worker: c.Worker, Attempt: c.Attempt}, args, i.ArgsBlob)
		if err == nil && !mine {
			err = engine.Errorf(engine.Conflict, "job.preprocess", "job %s belongs to another worker by now", c.Job.ID)
		}
		return err
	})
}

// IsPreprocessed tells whether an earlier attempt at a job has come so far.
func (q *Queue) IsPreprocessed(ctx context.Context, id uuid.UUID) (done bool, err error) {
	err = q.patiently(ctx, func() error {
		done, err = q.cfg.DB.JobPreprocessed(ctx, id)
		return err
	})
	return done, err
}

// argsMade checks arguments that a preprocessor has made, and puts large ones where they belong.
func (q *Queue) argsMade(ctx context.Context, j *engine.Job, args json.RawMessage) (*store.JobInsert, error) {
	made := *j
	made.Args = args
	if err := q.checkJob(&made); err != nil {
		return nil, err
	}
	i := &store.JobInsert{Job: &made}
	return i, q.patiently(ctx, func() error { return q.placeArgs(ctx, i) })
}
