package runner

import (
	"slices"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine/flow"
	"github.com/millrace/millrace/engine/flow/format"
)

// A while loop carries state from one iteration to the next by its steps' own results: what a module of it has not given in this
// iteration yet is what it gave in the one before.

// before is the result of a module of the iteration at, in the iteration before it.
func (s *scope) before(at *run, id string) (flow.Ref, bool, error) {
	if at.parent == nil || at.item == 0 || at.def == at.job.ID || !inWhileLoop(at.parent) ||
		!slices.ContainsFunc(at.flow.Modules, func(m *format.Module) bool { return m.ID == id }) {
		return flow.Ref{}, false, nil
	}
	last := at.parent.items[at.item-1].Job
	if last == uuid.Nil {
		return flow.Ref{}, false, nil
	}
	o := s.eval.operation
	if x := o.line.runs[last]; x != nil { // it ended in this very operation
		ref, ok := x.results[id]
		return ref, ok, nil
	}
	steps, err := o.runner.cfg.Store.FlowSteps(o.ctx, last)
	if err != nil {
		return flow.Ref{}, false, err
	}
	for _, row := range slices.Backward(steps) {
		if row.Module == id && row.Item == nil {
			return refOf(row), true, nil
		}
	}
	return flow.Ref{}, false, nil
}

// lastItem is the same for the step of an iteration that is a job and no run.
func (s *scope) lastItem(id string) (flow.Ref, bool) {
	x, iter := s.eval.run, s.look.Iter
	if iter == nil || iter.Index == 0 || s.look.Module == nil || s.look.Module.ID != id || !inWhileLoop(x) {
		return flow.Ref{}, false
	}
	ref, ok := x.items[int32(iter.Index-1)]
	return ref, ok
}

func inWhileLoop(x *run) bool {
	m := x.flow.Working(x.state)
	if m == nil {
		return false
	}
	_, is := m.Value.(*format.WhileLoop)
	return is
}
