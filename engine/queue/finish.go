package queue

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store"
)

// Finish stores the outcome of an attempt; false: the attempt does not own the job any more, and nothing was stored. The
// same outcome may be sent again. A result that cannot be stored turns the outcome into a failure that says why.
func (q *Queue) Finish(ctx context.Context, o engine.Outcome) (bool, error) {
	op, err := q.outcome(ctx, o)
	if err != nil {
		return false, err
	}
	return q.finish(ctx, op)
}

// FinishAndClaim does Finish and, in the same transaction, may claim a job with one of tags.
func (q *Queue) FinishAndClaim(ctx context.Context, o engine.Outcome, tags []string) (bool, *engine.Claim, error) {
	op, err := q.outcome(ctx, o)
	if err != nil {
		return false, nil, err
	}
	if q.worker.Load() != 0 {
		op.claim = &ask{tags: tags, most: 1}
	}
	accepted, err := q.finish(ctx, op)
	if err != nil || op.claim == nil || len(op.claim.got) == 0 {
		return accepted, nil, err
	}
	if got := q.taken(ctx, op.claim.got); len(got) == 1 {
		return accepted, got[0], nil
	}
	return accepted, nil, nil
}

func (q *Queue) finish(ctx context.Context, o *op) (bool, error) {
	if err := q.writer.do(ctx, o); err != nil {
		if ctx.Err() != nil {
			go func() { // a job that it claims must not be lost with the caller
				<-o.done
				if o.claim != nil && len(o.claim.got) > 0 {
					if err := q.handBack(context.WithoutCancel(ctx), o.claim.got); err != nil {
						q.cfg.Log.Warn().Err(err).Stringer("job", o.claim.got[0].Job.ID).Msg("hand back a job that nobody waits for; the heartbeat will try again")
					}
				}
			}()
		}
		return false, err
	}
	q.letGo(o.finish.ID, o.finish.Attempt)
	if o.finish.Accepted {
		q.executed.Add(1)
		return true, nil
	}
	// Refused, or stored by an earlier try of which the answer was lost.
	ok, err := q.cfg.DB.JobFinished(ctx, o.finish)
	return ok, wrap(err)
}

// outcome checks an outcome and puts a large result where it belongs.
func (q *Queue) outcome(ctx context.Context, o engine.Outcome) (*op, error) {
	switch o.State {
	case engine.StateSuccess, engine.StateFailure, engine.StateCanceled:
	default:
		return nil, engine.Errorf(engine.Invalid, "job.finish", "%q is not an outcome", o.State)
	}
	o.CanceledBy, o.Reason = clean(o.CanceledBy), clean(o.Reason)
	reject := func(format string, args ...any) {
		o.Result = failure("ResultError", fmt.Sprintf(format, args...))
		if o.State == engine.StateSuccess {
			o.State = engine.StateFailure
		}
	}
	if len(o.Result) > q.cfg.MaxPayload {
		reject("the result has %d bytes, %d are allowed", len(o.Result), q.cfg.MaxPayload)
	} else if len(o.Result) > 0 {
		if problem := checkJSON(o.Result); problem != "" {
			reject("the result %s", problem)
		}
	}
	h, known := q.holding(o.ID, o.Attempt)
	f := &store.JobFinish{Outcome: o, Counts: h.batch || !known, Gate: h.gate}
	if len(o.Result) > q.cfg.InlineLimit {
		hash, ok, err := q.cfg.DB.BlobPut(ctx, o.Result, q.cfg.BlobQuota)
		if err != nil {
			return nil, wrap(err)
		}
		if !ok {
			reject("the space for large arguments and results is used up")
			f.Outcome = o
		} else {
			f.ResultBlob = hash
		}
	}
	return &op{finish: f, patient: o.Patient && !h.urgent, urgent: h.urgent}, nil
}

// HandBack makes claimed jobs queued again, for whoever has a slot; those that are to be canceled are, then. Jobs that are not
// these claims' any more are left alone.
func (q *Queue) HandBack(ctx context.Context, claims []*engine.Claim) error {
	return wrap(q.handBack(ctx, claims))
}

func (q *Queue) handBack(ctx context.Context, claims []*engine.Claim) error {
	if len(claims) == 0 {
		return nil
	}
	for _, c := range claims {
		q.letGo(c.Job.ID, c.Attempt)
	}
	ended, err := q.cfg.DB.JobHandBack(ctx, claims, failure("Canceled", "canceled before it had begun"))
	if err != nil {
		for _, c := range claims {
			q.doubt(c) // beat will try again
		}
		return err
	}
	q.admit(ctx, ended)
	if err := q.endCanceledSteps(ctx, claims); err != nil {
		return err
	}
	for _, c := range claims {
		q.lanes.again(c.Job.Tag, c.Job.Priority)
	}
	q.news.all()
	q.left()
	return nil
}

// taken notes what was claimed and returns it, without attempts that are here already: those of a claim that a crash of the
// database undid, or of a push that learned late of its success. The output of an earlier attempt gives way to that of this one.
func (q *Queue) taken(ctx context.Context, claims []*engine.Claim) []*engine.Claim {
	var again []uuid.UUID
	claims = slices.DeleteFunc(claims, func(c *engine.Claim) bool { return !q.hold(c) })
	for _, c := range claims {
		if c.Attempt > 1 {
			again = append(again, c.Job.ID)
		}
	}
	if len(again) == 0 {
		return claims
	}
	if err := q.cfg.DB.LogForget(context.WithoutCancel(ctx), again); err != nil {
		q.cfg.Log.Warn().Err(err).Msg("forget the output of earlier attempts")
	}
	return claims
}
