package runner

import (
	"github.com/google/uuid"

	"github.com/millrace/millrace/engine/flow"
	"github.com/millrace/millrace/engine/store"
)

func stepRow(module string, item *int32, ok, skipped bool, ref flow.Ref) store.FlowStep {
	s := store.FlowStep{Module: module, Item: item, OK: ok, Skipped: skipped, Value: ref.Value}
	if ref.Job != uuid.Nil {
		s.Job, s.Value = &ref.Job, nil
	}
	return s
}

func (o *operation) row(x *run, s store.FlowStep) {
	s.Run, s.N = x.job.ID, x.steps
	x.steps++
	o.op.Steps = append(o.op.Steps, s)
}
