package runner

import (
	"encoding/json"
	"fmt"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/flow"
	"github.com/millrace/millrace/engine/store"
)

// origin reads where the flow begins, and takes up what the run before it did.
func (o *operation) origin(x *run) error {
	raw, err := o.runner.cfg.Store.FlowRestart(o.ctx, x.job.ID)
	if x.parent != nil && store.IsNotFound(err) { // a further attempt begins at its beginning
		return nil
	}
	if err != nil {
		return err
	}
	x.state.Again = &flow.Again{}
	if err := json.Unmarshal(raw, x.state.Again); err != nil {
		return fmt.Errorf("origin of flow %s: %w", x.job.ID, err)
	}
	return o.takeUp(x)
}

// keepOrigin stores where a flow that has to wait for its turn will begin. One that is never born leaves its row to retention.
func (o *operation) keepOrigin(j *engine.Job, again *flow.Again) error {
	if again == nil {
		return nil
	}
	raw, err := json.Marshal(again)
	if err != nil {
		return err
	}
	if j.ID == uuid.Nil {
		j.ID = engine.NewJobID()
	}
	return o.runner.cfg.Store.FlowRestartPut(o.ctx, j.ID, raw)
}

// takeUp records for x what ended in the other run before the step that x begins with: the rows name the jobs that have the
// results, which stay where they are.
func (o *operation) takeUp(x *run) error {
	again := x.state.Again
	before, ok := again.Before(x.flow)
	if !ok {
		return nil // the flow says so itself
	}
	x.state.Last = flow.Ref{Args: true}
	last := map[string]store.FlowStep{}
	steps, err := o.runner.cfg.Store.FlowSteps(o.ctx, again.From)
	if err != nil {
		return err
	}
	for _, s := range steps {
		if s.Item == nil {
			last[s.Module] = s
		}
	}
	for _, m := range before {
		if _, ok := last[m.ID]; !ok {
			return engine.Errorf(engine.Invalid, "flow.restart", "step %s, which comes before %s, did not end in run %s", m.ID, again.Step, again.From)
		}
	}
	for _, m := range before {
		s := last[m.ID]
		ref := refOf(s)
		o.row(x, stepRow(m.ID, nil, s.OK, s.Skipped, ref))
		x.record(m.ID, ref)
		if !s.Skipped {
			x.state.Last = ref
		}
	}
	return nil
}

// reuseItems has the first items of the module at work be those of the other run.
func (o *operation) reuseItems(x *run, e flow.Reuse) error {
	refs := map[int32]flow.Ref{}
	steps, err := o.runner.cfg.Store.FlowSteps(o.ctx, e.From.From)
	if err != nil {
		return err
	}
	for _, s := range steps { // items that never were jobs
		if s.Module == e.Module.ID && s.Item != nil && *s.Item >= 0 {
			refs[*s.Item] = refOf(s)
		}
	}
	items, err := o.runner.cfg.Store.FlowItems(o.ctx, e.From.From, e.Module.ID)
	if err != nil {
		return err
	}
	for _, i := range items {
		refs[i.Item] = flow.Ref{Job: i.Job}
	}
	for n := range int32(e.Items) { // one that is not there any more is null
		item := n
		x.items[n] = refs[n]
		o.row(x, stepRow(e.Module.ID, &item, true, false, refs[n]))
	}
	return nil
}

func refOf(s store.FlowStep) flow.Ref {
	if s.Job != nil && *s.Job != uuid.Nil {
		return flow.Ref{Job: *s.Job}
	}
	return flow.Ref{Value: s.Value}
}
