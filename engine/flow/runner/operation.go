package runner

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/flow"
	"github.com/millrace/millrace/engine/store"
)

// operation is one store.FlowOp while it is computed.
type operation struct {
	runner  *Runner
	ctx     context.Context
	line    *line
	op      *store.FlowOp
	todo    []todo
	touched map[uuid.UUID]*run // stored runs that have changed
	born    []*run
	over    []*run
	ended   map[uuid.UUID]engine.Outcome // by this operation: nobody can read them yet
	slots   []*event                     // whose slot can take another job
	owned   map[uuid.UUID]*event         // in whose slot a job is to run
	stops   []uuid.UUID                  // runs whose jobs are to be canceled
	answers []*run                       // that have an answer for who waits for them
	kept    []kept                       // results of loops and branches for further runs
	gates   []uuid.UUID                  // runs that wait for approvals now
}

type todo struct {
	run  *run
	what flow.Event
}

// event takes in what has happened.
func (o *operation) event(e *event) error {
	if e.begin != nil || e.birth != nil {
		return o.begin(e)
	}
	x, err := o.runner.load(o.ctx, o.line, e.run)
	if err != nil {
		return err
	}
	if c, ok := e.what.(flow.Canceled); ok {
		x.canceled = c
	}
	switch {
	case e.look != nil:
		e.look(x)
		return nil
	case e.votes:
		return o.count(x)
	case e.end == nil:
		if _, due := e.what.(flow.Due); due && x.state.Phase == flow.Waiting { // an answer that nobody told us of is still one
			if err := o.count(x); err != nil {
				return err
			}
		}
		return o.step(x, e.what)
	}
	out := *e.end
	f, err := o.runner.cfg.Queue.FlowEnd(o.ctx, out)
	if err != nil {
		return err
	}
	o.op.Ends = append(o.op.Ends, f)
	out = f.Outcome // as it is stored: a result that cannot be stored is a failure
	o.ended[out.ID] = out
	ref := flow.Ref{Job: out.ID}
	o.touched[x.job.ID] = x
	if x.broken != nil {
		return o.step(x, flow.Due{})
	}
	if m := x.flow.Working(x.state); x.state.Phase != flow.Running || m == nil || m.ID != e.job.Step {
		return nil // the flow went on, or ended, without it
	}
	x.know(out.ID, out.Result)
	if x.state.Items != nil {
		x.items[e.job.Item] = ref
	}
	if len(e.slot) > 0 && e.next == nil { // an operation that was not done may have claimed a job for it
		o.slots = append(o.slots, e)
	}
	return o.step(x, flow.Ended{Item: int(e.job.Item), OK: out.State == engine.StateSuccess, Final: out.State == engine.StateCanceled,
		Replaced: out.State == engine.StateCanceled && out.CanceledBy == byDebounce, Result: ref})
}

// byDebounce is who the queue says has canceled a step that another one stands for.
const byDebounce = "debounce"

// begin makes a run of a flow's own job: one that was asked for, or one that had to wait for its limit within another.
func (o *operation) begin(e *event) error {
	var j *engine.Job
	gate := int32(0)
	if e.birth != nil {
		j = e.birth.Job
		o.op.Births, o.op.Jobs = append(o.op.Births, j.ID), append(o.op.Jobs, e.birth)
	} else {
		c := e.begin
		j, gate = c.Job, c.Gate
		o.op.Begins = append(o.op.Begins, store.FlowBegin{FlowAttempt: store.FlowAttempt{ID: j.ID, Worker: c.Worker, Attempt: c.Attempt}, Root: o.line.root})
	}
	x := newRun(j, o.line.root, j.ID, "")
	x.stored, x.fresh, x.gate = true, true, gate // stored by the operation itself, before it is advanced
	if j.Step != "" && j.Parent != nil {
		parent, err := o.runner.load(o.ctx, o.line, *j.Parent)
		if err != nil {
			return err
		}
		x.parent, x.item = parent, j.Item
	}
	if err := o.runner.define(o.ctx, x); err != nil {
		return err
	}
	if err := o.settle(x); err != nil {
		return err
	}
	o.line.runs[x.job.ID] = x
	o.runner.remember(x)
	o.touched[x.job.ID] = x
	taken := x.parent != nil && x.parent.state.Again != nil && x.parent.state.Again.Step == x.job.Step
	if taken || x.job.Trigger == engine.TriggerRestart && x.parent == nil {
		if err := o.origin(x); err != nil {
			return err
		}
	}
	return o.step(x, flow.Begin{})
}

func newRun(j *engine.Job, root, def uuid.UUID, place string) *run {
	return &run{job: j, root: root, def: def, place: place, state: flow.Run{Phase: flow.Ready}, results: map[string]flow.Ref{},
		lists: map[string][]json.RawMessage{}, items: map[int32]flow.Ref{}, known: map[uuid.UUID]json.RawMessage{}}
}

// step lets the flow decide, and notes what is to be done.
func (o *operation) step(x *run, e flow.Event) error {
	if x.broken != nil { // nobody can say what it does: it ends
		if x.state.Phase != flow.Over {
			x.state = flow.Run{At: x.state.At, Phase: flow.Over}
			o.touched[x.job.ID] = x
			return o.end(x, flow.End{Result: flow.Ref{Value: brokenResult(x.broken)}})
		}
		return nil
	}
	if ended, ok := e.(flow.Ended); ok && x.preprocesses() && ended.OK && !ended.Replaced {
		made, err := o.preprocessed(x, ended)
		if err != nil {
			return err
		}
		e = made
	}
	x.at = time.Now()
	if _, due := e.(flow.Due); due && x.parked.Equal(x.state.Wake()) && x.at.Before(x.parked) {
		x.at = x.parked // by the database's clock it is time, whatever ours says
	}
	v := &eval{operation: o, run: x}
	state, effects := flow.Step(x.flow, x.state, e, v)
	if v.err != nil {
		return v.err
	}
	if len(effects) == 0 && sameState(state, x.state) {
		return nil
	}
	x.state = state
	if x.stored {
		o.touched[x.job.ID] = x
	}
	for _, e := range effects {
		if err := o.effect(x, e); err != nil {
			return err
		}
	}
	return nil
}

// sameState tells whether an event without effects left a state as it was; what only effects go with is not looked at.
func sameState(a, b flow.Run) bool {
	if a.At != b.At || a.Phase != b.Phase || !a.Until.Equal(b.Until) || a.Fails != b.Fails || a.Votes != b.Votes || (a.Items == nil) != (b.Items == nil) {
		return false
	}
	if a.Items == nil {
		return true
	}
	x, y := a.Items, b.Items
	return x.Next == y.Next && x.Running == y.Running && x.Failed == y.Failed && x.Stop == y.Stop && len(x.Error) == len(y.Error)
}

// mostBorn is from how many jobs on one operation begins no further runs.
const mostBorn = 1000

// putOff leaves the begin of a run to a later operation when this one is large. It is due at once.
func (o *operation) putOff(t todo) bool {
	if _, begin := t.what.(flow.Begin); !begin || len(o.op.Jobs) < mostBorn {
		return false
	}
	t.run.state.Until = time.Now()
	return true
}

func (o *operation) effect(x *run, e flow.Effect) error {
	switch e := e.(type) {
	case flow.Start:
		return o.start(x, e)
	case flow.List:
		var list []json.RawMessage
		if err := json.Unmarshal(e.Values, &list); err != nil {
			return err
		}
		x.lists[e.Module.ID] = list
		clear(x.items)
		item := int32(listItem)
		o.row(x, store.FlowStep{Module: e.Module.ID, Item: &item, OK: true, Value: e.Values})
	case flow.Chosen:
		item := int32(branchItem)
		o.row(x, store.FlowStep{Module: e.Module.ID, Item: &item, OK: true, Value: fmt.Appendf(nil, "%d", e.Branch)})
	case flow.Reuse:
		return o.reuseItems(x, e)
	case flow.Gate:
		o.gates = append(o.gates, x.job.ID)
	case flow.RecordItem:
		ref, err := o.inline(x, e.Result)
		if err != nil {
			return err
		}
		item := int32(e.Item)
		x.items[item] = ref
		o.row(x, stepRow(e.Module.ID, &item, e.OK, false, ref))
	case flow.Record:
		ref, err := o.inline(x, e.Result)
		if err != nil {
			return err
		}
		o.row(x, stepRow(e.Module.ID, nil, e.OK, e.Skipped, ref))
		x.record(e.Module.ID, ref)
	case flow.Keep:
		return o.keepValue(x, e)
	case flow.Stop:
		o.stops = append(o.stops, x.job.ID)
	case flow.End:
		return o.end(x, e)
	case flow.Answer:
		ref, err := o.inline(x, e.Result)
		if err != nil {
			return err
		}
		x.state.Answer = &ref
		o.answers = append(o.answers, x)
	case flow.Wait: // the time is in the state
	}
	return nil
}

// inline makes a reference that others can follow once the state has moved on: arguments and collected items become values.
func (o *operation) inline(x *run, ref flow.Ref) (flow.Ref, error) {
	if !ref.Args && ref.Items == "" {
		return ref, nil
	}
	if ref.Items != "" && len(x.items) == 0 {
		if done, ok := x.results[ref.Items]; ok {
			return done, nil
		}
	}
	v, err := o.value(x, ref)
	return flow.Ref{Value: v}, err
}

// end is the end of a run, which is an event for the run that it is an item of.
func (o *operation) end(x *run, e flow.End) error {
	result, err := o.value(x, e.Result)
	if err != nil {
		return err
	}
	out := engine.Outcome{ID: x.job.ID, Attempt: 1, State: engine.StateFailure, Result: result, Skipped: e.OK && e.Skipped}
	switch {
	case e.OK:
		out.State = engine.StateSuccess
	case e.Canceled:
		out.State, out.CanceledBy, out.Reason = engine.StateCanceled, x.canceled.By, x.canceled.Reason
	}
	f, err := o.runner.cfg.Queue.FlowEnd(o.ctx, out)
	if err != nil {
		return err
	}
	f.Gate = x.gate
	o.op.Over = append(o.op.Over, f)
	o.ended[out.ID] = f.Outcome
	o.over = append(o.over, x)
	o.discard(x)
	if x.parent == nil {
		return nil
	}
	ref := flow.Ref{Job: x.job.ID}
	x.parent.know(x.job.ID, f.Result)
	if x.parent.state.Items != nil {
		x.parent.items[x.item] = ref
	}
	// Later, and not now: the parent may be about to start its next items.
	o.todo = append(o.todo, todo{x.parent, flow.Ended{Item: int(x.item), OK: f.State == engine.StateSuccess, Result: ref, Stopped: e.Stopped}})
	return nil
}

// write completes the operation with the states that the runs have come to.
func (o *operation) write() error {
	begun, due := map[uuid.UUID]bool{}, map[uuid.UUID]time.Time{}
	for _, b := range o.op.Begins {
		begun[b.ID] = true
	}
	for _, id := range o.op.Births {
		due[id] = o.touched[id].state.Wake()
	}
	for _, x := range o.touched {
		state, err := json.Marshal(x.state)
		if err != nil {
			return err
		}
		o.op.Runs = append(o.op.Runs, store.FlowState{ID: x.job.ID, Rev: x.rev, State: state})
		if _, born := due[x.job.ID]; !born && x.state.Phase != flow.Over && (begun[x.job.ID] || !x.parked.Equal(x.state.Wake())) {
			o.op.Parks = append(o.op.Parks, store.FlowPark{ID: x.job.ID, Due: x.state.Wake()})
		}
	}
	for _, x := range o.born {
		state, err := json.Marshal(x.state)
		if err != nil {
			return err
		}
		o.op.New = append(o.op.New, store.FlowNew{ID: x.job.ID, Root: x.root, Def: x.def, Place: x.place, State: state})
		due[x.job.ID] = x.state.Wake()
	}
	for _, j := range o.op.Jobs {
		if j.Run {
			j.Due = due[j.Job.ID]
		}
	}
	return nil
}

// abandon gives back what was reserved for jobs that will not be born.
func (o *operation) abandon() {
	for _, j := range o.op.Jobs {
		o.runner.cfg.Queue.FlowRelease(j)
	}
}

// committed takes over what is true now, and starts what is ours.
func (o *operation) committed(events []*event, claims []*engine.Claim) {
	r := o.runner
	sooner := false
	for _, x := range o.touched {
		x.rev++
		sooner = sooner || !x.state.Wake().IsZero()
		x.parked = x.state.Wake()
	}
	for _, x := range o.born {
		x.stored, x.rev, x.parked = true, 0, x.state.Wake()
		sooner = sooner || !x.state.Wake().IsZero()
	}
	for _, x := range o.over {
		delete(o.line.runs, x.job.ID)
		r.forget(x)
		if x.state.Home != nil && r.cfg.Left != nil {
			r.cfg.Left(x.job.ID)
		}
		if r.cfg.Ended != nil {
			r.cfg.Ended(x.job, o.ended[x.job.ID])
		}
	}
	for _, x := range o.answers {
		if r.cfg.Answered != nil {
			r.cfg.Answered(x.job.ID)
		}
	}
	for _, e := range events {
		e.accepted = true
	}
	for _, c := range claims {
		if e := o.owned[c.Job.ID]; e != nil {
			e.next = c
		} else {
			r.cfg.Queue.Deliver(c)
		}
	}
	if sooner {
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}
	for _, id := range o.gates { // answers may have come before
		go r.look(context.WithoutCancel(o.ctx), id)
	}
	if len(o.kept) > 0 {
		go r.store(context.WithoutCancel(o.ctx), o.kept)
	}
	o.changed()
	for _, id := range o.stops {
		go r.stopJobs(context.WithoutCancel(o.ctx), id)
	}
}
