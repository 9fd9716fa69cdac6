package queue

import (
	"context"
	"errors"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store"
)

// byDebounce is who a job was canceled by that another one stands for.
const byDebounce = "debounce"

// heldUp looks after the steps of o that cannot run at once: those that would rather fail than wait for their limit, and those that
// stand for others. Both are ended by flows, and this one's is busy storing them: so it is done beside it. Should the process end
// meanwhile, the one waits and the other runs for itself.
func (q *Queue) heldUp(ctx context.Context, o *store.FlowOp) {
	if q.cfg.Flows == nil {
		return
	}
	for _, f := range o.Jobs {
		l := f.Job.Limit
		if f.Gate != 0 && l != nil && l.Fail && f.Admitted == nil && f.Job.Debounce == nil {
			go q.refuseStep(ctx, f.Job, reached(l))
		}
		if f.Job.Debounce != nil {
			go q.mergeStep(ctx, f)
		}
	}
}

// refuseStep ends a step that does not want to wait for its limit.
func (q *Queue) refuseStep(ctx context.Context, j *engine.Job, message string) {
	o := engine.Outcome{ID: j.ID, State: engine.StateFailure, Result: failure("ConcurrencyLimit", message)}
	if _, err := q.cfg.Flows.End(ctx, j, o); err != nil {
		q.cfg.Log.Warn().Err(err).Stringer("job", j.ID).Msg("end a step whose limit is reached; it waits for it")
	}
}

// mergeStep has a step that is stored stand for those before it with its key.
func (q *Queue) mergeStep(ctx context.Context, f *store.FlowJob) {
	q.debouncing <- struct{}{}
	i := f.JobInsert
	j := *i.Job
	i.Job = &j
	m := &merge{q: q, insert: &i, latest: j.Args, blob: i.ArgsBlob, stored: true}
	err := q.patiently(ctx, func() error {
		m.replaced, m.step, m.gates = nil, false, nil
		j.Args, i.ArgsBlob = m.latest, m.blob
		return q.cfg.DB.InTx(ctx, func(tx store.Tx) error { return m.do(ctx, tx) })
	})
	<-q.debouncing
	if errors.Is(err, errTaken) { // an earlier try was stored
		return
	}
	if err != nil {
		q.cfg.Log.Warn().Err(err).Stringer("job", j.ID).Msg("debounce a step; it runs for itself")
		return
	}
	q.admitAt(ctx, m.gates)
	if i.Gate == 0 {
		q.lanes.added(j.Tag, j.Priority, j.ScheduledFor)
	}
	q.replacedStep(ctx, m)
	q.left()
}

// replacedStep ends the step that a debounced job took the place of. What is missed here is found by endLostSteps.
func (q *Queue) replacedStep(ctx context.Context, m *merge) {
	if m.replaced == nil || !m.step {
		return
	}
	if err := q.endReplaced(ctx, m.insert.Job.Workspace, *m.replaced, m.insert.Job.ID); err != nil {
		q.cfg.Log.Warn().Err(err).Stringer("job", *m.replaced).Msg("end a step that another one stands for; will try again")
	}
}

func (q *Queue) endReplaced(ctx context.Context, ws string, id, by uuid.UUID) error {
	v, err := q.Get(ctx, ws, id)
	if err != nil || v.FinishedAt != nil {
		return err
	}
	_, err = q.endStep(ctx, &v.Job, store.FlowAttempt{ID: id, Attempt: v.Attempt}, byDebounce, by.String())
	return err
}
