package runner

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/flow"
	"github.com/millrace/millrace/engine/flow/format"
	"github.com/millrace/millrace/engine/store"
)

// start makes the job of a step, or a run and whatever that begins with.
func (o *operation) start(x *run, e flow.Start) error {
	if e.Step == nil {
		return o.inner(x, e)
	}
	if sub, ok := e.Step.Value.(*format.SubFlow); ok {
		return o.sub(x, e, sub)
	}
	args, err := json.Marshal(e.Args)
	if err != nil {
		return err
	}
	j := o.child(x, e)
	j.Args, j.Timeout = args, e.Timeout
	st := StepOf{Module: e.Step, Flow: x.job.Path, Tag: x.job.Tag, KeepTags: x.value.PreserveStepTags, Home: o.homeTag(x, e.Step), Squash: x.squash(j.Step) != ""}
	if err := o.runner.cfg.Catalog.Step(o.ctx, j, st); err != nil {
		if engine.CodeOf(err) == engine.Unavailable {
			return err
		}
		return o.unborn(x, e, err)
	}
	if hit, err := o.keep(x, e, j); hit || err != nil {
		return err
	}
	f, err := o.job(x, e, j)
	if f == nil {
		return err
	}
	own := -1
	if items := x.state.Items; items == nil || items.Wide == 1 { // items of many at once wait their turn: the slot takes what waits longest
		own = slices.IndexFunc(o.slots, func(e *event) bool { return slices.Contains(e.slot, j.Tag) })
	}
	if o.runner.cfg.Queue.FlowHere(f, own >= 0); own >= 0 && f.Worker != 0 { // the job's that has just ended
		o.owned[j.ID] = o.slots[own]
		o.slots = slices.Delete(o.slots, own, own+1)
	}
	return nil
}

// job adds the job of a step to those that are born; nil: it cannot be, and the step has failed, or there is an error.
func (o *operation) job(x *run, e flow.Start, j *engine.Job) (*store.FlowJob, error) {
	f, err := o.runner.cfg.Queue.FlowJob(o.ctx, j)
	if err != nil {
		if engine.CodeOf(err) == engine.Unavailable {
			return nil, err
		}
		return nil, o.unborn(x, e, err)
	}
	item := j.Item
	f.Item = &item
	o.op.Jobs = append(o.op.Jobs, f)
	return f, nil
}

// unborn is the failure of a step that could not become a job: a script that is not there any more, arguments that are too large.
func (o *operation) unborn(x *run, e flow.Start, err error) error {
	result, mErr := json.Marshal(map[string]any{"error": map[string]any{"name": "StepError", "message": err.Error(), "step_id": e.Step.ID}})
	if mErr != nil {
		return mErr
	}
	ref := flow.Ref{Value: result}
	if x.state.Items != nil {
		item := int32(e.Item)
		x.items[item] = ref
		o.row(x, stepRow(e.Module.ID, &item, false, false, ref))
	}
	o.todo = append(o.todo, todo{x, flow.Ended{Item: e.Item, Result: ref}})
	return nil
}

// child is a job within x: of the same people, asked for in the same way.
func (o *operation) child(x *run, e flow.Start) *engine.Job {
	p := x.job
	return &engine.Job{Workspace: p.Workspace, Parent: &p.ID, Step: e.Module.ID, Item: int32(e.Item), CreatedBy: p.CreatedBy, Email: p.Email,
		PermissionedAs: p.PermissionedAs, Trigger: p.Trigger, TriggerPath: p.TriggerPath, Priority: p.Priority, CreatedAt: time.Now(),
		Args: json.RawMessage("{}")}
}

// inner begins a run of an iteration or a branch.
func (o *operation) inner(x *run, e flow.Start) error {
	j := o.child(x, e)
	j.Kind, j.Path, j.Tag = engine.KindFlowPreview, x.job.Path, x.job.Tag
	if e.Iter != nil {
		args, err := json.Marshal(map[string]*flow.Iter{"iter": e.Iter})
		if err != nil {
			return err
		}
		j.Args = args
	}
	place := e.Module.ID + "/" + e.Place
	if x.place != "" && x.def != x.job.ID {
		place = x.place + "/" + place
	}
	return o.bear(x, e, j, x.def, place)
}

// sub begins the run of a flow that a step names.
func (o *operation) sub(x *run, e flow.Start, b *format.SubFlow) error {
	f, version, err := o.runner.cfg.Catalog.Flow(o.ctx, x.job.Workspace, b.Path, 0)
	if err != nil {
		if engine.CodeOf(err) == engine.Unavailable {
			return err
		}
		return o.unborn(x, e, err)
	}
	for at, deep := x, 0; at != nil; at, deep = at.parent, deep+1 {
		if deep > mostDeep {
			return o.unborn(x, e, engine.Errorf(engine.Invalid, "flow.step", "flows are nested more than %d deep: does %s run itself?", mostDeep, b.Path))
		}
	}
	j := o.child(x, e)
	j.Kind, j.Path, j.Hash, j.Tag, j.Trigger = engine.KindFlow, b.Path, version, pick(f.Tag, x.job.Tag), "flow"
	if j.Args, err = json.Marshal(e.Args); err != nil {
		return err
	}
	if err := o.runner.cfg.Catalog.Arguments(f, j.Args); err != nil {
		return o.unborn(x, e, err)
	}
	if n := e.Step.Priority; n != 0 {
		j.Priority = int16(n)
	}
	if j.Timeout = time.Duration(f.Timeout) * time.Second; e.Timeout > 0 && (j.Timeout == 0 || e.Timeout < j.Timeout) {
		j.Timeout = e.Timeout
	}
	o.runner.cfg.Catalog.LimitFlow(j, &f.Value)
	if hit, err := o.keep(x, e, j); hit || err != nil {
		return err
	}
	if j.Limit != nil || j.Debounce != nil {
		if err := o.keepOrigin(j, e.Again); err != nil {
			return err
		}
		_, err := o.job(x, e, j) // whoever claims it begins it, when its turn has come
		return err
	}
	return o.bear(x, e, j, uuid.Nil, "")
}

// mostDeep is how deep runs may be nested.
const mostDeep = 200

// bear makes a run within x, and begins it; def Nil: it is a whole flow.
func (o *operation) bear(x *run, e flow.Start, j *engine.Job, def uuid.UUID, place string) error {
	f, err := o.runner.cfg.Queue.FlowJob(o.ctx, j)
	if err != nil {
		return err
	}
	if def == uuid.Nil {
		def = j.ID
	}
	f.Run = true
	item := j.Item
	f.Item = &item
	c := newRun(j, x.root, def, place)
	c.parent, c.item, c.iter = x, j.Item, e.Iter
	c.state.Again = e.Again
	err = o.runner.define(o.ctx, c)
	if err == nil {
		err = o.settle(c)
	}
	if err != nil {
		return o.unborn(x, e, err)
	}
	if e.Again != nil {
		if err := o.takeUp(c); err != nil {
			if engine.CodeOf(err) == engine.Unavailable {
				return err
			}
			return o.unborn(x, e, err)
		}
	}
	o.line.runs[j.ID] = c
	o.runner.remember(c)
	o.born = append(o.born, c)
	o.op.Jobs = append(o.op.Jobs, f)
	o.todo = append(o.todo, todo{c, flow.Begin{}})
	return nil
}

func pick(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// input is what flow_input is in a run: the arguments of its flow, and where it is in the loop around it.
func (x *run) input() json.RawMessage {
	args, iter := json.RawMessage("{}"), x.iter
	for at := x; at != nil; at = at.parent {
		if iter == nil {
			iter = at.iter
		}
		if at.def == at.job.ID {
			args = at.job.Args
			break
		}
	}
	if iter == nil {
		return orNull(args)
	}
	var m map[string]json.RawMessage
	if json.Unmarshal(args, &m) != nil || m == nil {
		m = map[string]json.RawMessage{}
	}
	b, err := json.Marshal(iter)
	if err != nil {
		return args
	}
	m["iter"] = b
	if b, err = json.Marshal(m); err != nil {
		return args
	}
	return b
}

// iteration reads back what inner wrote.
func iteration(j *engine.Job) *flow.Iter {
	var args struct {
		Iter *flow.Iter `json:"iter"`
	}
	if json.Unmarshal(j.Args, &args) != nil {
		return nil
	}
	return args.Iter
}
