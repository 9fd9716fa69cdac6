package runner

import (
	"context"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/flow/format"
)

// squash names the process that runs a step of x in all iterations of its loop, when the loop says so; "": each iteration has its own.
// step is what the step's job has as its Step.
func (x *run) squash(step string) string {
	if m := x.squashed(); m != nil { // the iterations are jobs
		return x.job.ID.String() + "/" + step
	}
	if p := x.parent; p != nil && x.def != x.job.ID {
		if m := p.squashed(); m != nil {
			return p.job.ID.String() + "/" + m.ID + "/" + step
		}
	}
	return ""
}

// squashed is the loop that x is at, if its iterations share processes; those of a parallel one cannot.
func (x *run) squashed() *format.Module {
	m := x.flow.Working(x.state)
	if m == nil || x.state.Items == nil {
		return nil
	}
	switch b := m.Value.(type) {
	case *format.ForLoop:
		if b.Squash && !b.Parallel {
			return m
		}
	case *format.WhileLoop:
		if b.Squash {
			return m
		}
	}
	return nil
}

// Squash names the process that the job of a step shares with those of the other iterations; "": it has its own.
func (r *Runner) Squash(ctx context.Context, j *engine.Job) (key string, err error) {
	err = r.send(ctx, &event{run: *j.Parent, look: func(x *run) { key = x.squash(j.Step) }})
	if engine.CodeOf(err) == engine.NotFound {
		return "", nil
	}
	return key, err
}
