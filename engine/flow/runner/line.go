package runner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/flow"
	"github.com/millrace/millrace/engine/store"
)

// event is something that happened to a run.
type event struct {
	run  uuid.UUID
	what flow.Event
	// begin is the claim of a flow's own job, birth that job where there is none yet, end the outcome of a step's, with what its slot can take next.
	begin *engine.Claim
	birth *store.FlowJob // of a flow that begins as it is asked for
	end   *engine.Outcome
	job   *engine.Job
	slot  []string
	look  func(x *run)
	votes bool // answers to a run that waits for them are to be counted

	done     chan struct{}
	accepted bool
	next     *engine.Claim // for the slot
	err      error
}

// line is a flow and the events that wait for it.
type line struct {
	root  uuid.UUID
	inbox []*event             // guarded by Runner.mu
	busy  bool                 // guarded by Runner.mu
	used  time.Time            // when its last event was carried out; guarded by Runner.mu
	runs  map[uuid.UUID]*run   // of who is at work
	kept  map[string]uuid.UUID // jobs whose results are kept, by their key; of who is at work
}

// handle carries out e, with others of its flow if they come at the same time.
func (r *Runner) handle(ctx context.Context, root uuid.UUID, e *event) {
	e.done = make(chan struct{})
	r.mu.Lock()
	l := r.flows[root]
	if l == nil {
		l = &line{root: root, runs: map[uuid.UUID]*run{}}
		r.flows[root] = l
	}
	l.inbox = append(l.inbox, e)
	if l.busy {
		r.mu.Unlock()
		<-e.done
		return
	}
	l.busy = true
	r.mu.Unlock()
	r.work(context.WithoutCancel(ctx), l, e)
	<-e.done
}

// mostEvents bounds what one operation does.
const mostEvents = 128

// work carries out what is in the inbox; once mine is over and there is more, somebody else goes on.
func (r *Runner) work(ctx context.Context, l *line, mine *event) {
	for {
		r.mu.Lock()
		n := min(len(l.inbox), mostEvents)
		batch := slices.Clone(l.inbox[:n])
		l.inbox = l.inbox[n:]
		if n == 0 {
			l.busy, l.used = false, time.Now()
			if l.waits() {
				r.drop(l)
			}
			r.mu.Unlock()
			return
		}
		r.mu.Unlock()
		r.batch(ctx, l, batch)
		for _, e := range batch {
			close(e.done)
		}
		if mine != nil && slices.Contains(batch, mine) {
			mine = nil
			r.mu.Lock()
			more := len(l.inbox) > 0
			r.mu.Unlock()
			if more { // the caller's slot has its own work to do
				go r.work(ctx, l, nil)
				return
			}
		}
	}
}

// waits tells whether no job of the flow is at work: it ended, or waits for a time or for somebody. Called by who is at work.
func (l *line) waits() bool {
	for _, x := range l.runs {
		if x.state.Phase == flow.Running && (x.state.Items == nil || !l.hasItem(x)) {
			return false
		}
	}
	return true
}

// hasItem tells whether what x waits for is a run in memory, which speaks for it.
func (l *line) hasItem(x *run) bool {
	for _, c := range l.runs {
		if c.parent == x {
			return true
		}
	}
	return false
}

// drop forgets a flow that nobody is at; it is read again when it is needed. Called with mu held.
func (r *Runner) drop(l *line) {
	for id := range l.runs {
		delete(r.roots, id)
	}
	delete(r.flows, l.root)
}

// forgetAfter is how long a flow is kept that is not heard of: its jobs take long, or another process has its events.
const forgetAfter = time.Minute

// sweep forgets the flows that were not heard of for a while.
func (r *Runner) sweep(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.flows {
		if !l.busy && now.Sub(l.used) > forgetAfter {
			r.drop(l)
		}
	}
}

// attempts is how often an operation is computed anew because somebody was faster.
const attempts = 5

// batch carries out events together, or, when that does not work, each for itself: one of them may be late.
func (r *Runner) batch(ctx context.Context, l *line, events []*event) {
	for try := range attempts {
		ok, err := r.try(ctx, l, events)
		if ok {
			return
		}
		for _, x := range l.runs { // whatever we know is wrong
			r.forget(x)
		}
		clear(l.runs)
		switch {
		case err != nil && (len(events) == 1 || engine.CodeOf(err) == engine.Unavailable):
			for _, e := range events {
				e.err = err
			}
			return
		case len(events) > 1:
			for _, e := range events {
				r.batch(ctx, l, []*event{e})
			}
			return
		case events[0].end != nil && r.refused(ctx, events[0]):
			return
		case try == attempts-1:
			events[0].err = engine.Errorf(engine.Unavailable, "flow.step", "the flow %s is being changed all the time", l.root)
		}
	}
}

// refused finds out whether an outcome is not this attempt's any more.
func (r *Runner) refused(ctx context.Context, e *event) bool {
	held, err := r.cfg.Store.FlowHolds(ctx, store.FlowAttempt{ID: e.end.ID, Worker: e.end.Worker, Attempt: e.end.Attempt})
	if err != nil || held {
		return false
	}
	state, result, err := r.cfg.Store.FlowResult(ctx, e.end.ID)
	if err != nil {
		return store.IsNotFound(err) // another attempt has not ended yet
	}
	e.accepted = state == e.end.State && string(result) == string(e.end.Result) // an earlier try of this very outcome
	return true
}

// try computes and stores one operation.
func (r *Runner) try(ctx context.Context, l *line, events []*event) (bool, error) {
	o := &operation{runner: r, ctx: ctx, line: l, op: store.NewFlowOp(), touched: map[uuid.UUID]*run{}, ended: map[uuid.UUID]engine.Outcome{},
		owned: map[uuid.UUID]*event{}}
	for _, e := range events {
		if err := o.event(e); err != nil {
			o.abandon()
			return false, err
		}
	}
	for len(o.todo) > 0 {
		next := o.todo[0]
		o.todo = o.todo[1:]
		if o.putOff(next) {
			continue
		}
		if err := o.step(next.run, next.what); err != nil {
			o.abandon()
			return false, err
		}
	}
	if len(o.op.Begins) == 0 && len(o.op.Births) == 0 && len(o.op.Ends) == 0 && len(o.touched) == 0 {
		return true, nil // late events that change nothing
	}
	if err := o.write(); err != nil {
		o.abandon()
		return false, err
	}
	var tags []string
	if len(o.slots) > 0 { // those of one kind; the others' dispatcher looks for itself
		tags = o.slots[0].slot
		o.slots = slices.DeleteFunc(o.slots, func(e *event) bool { return !slices.Equal(e.slot, tags) })
	}
	claims, more, err := r.cfg.Queue.Flow(ctx, o.op, tags, len(o.slots))
	for i, c := range more {
		o.slots[i].next = c
	}
	if err != nil || !o.op.Done {
		return false, err
	}
	o.committed(events, claims)
	return true, nil
}

// load returns a run from memory, or from the database.
func (r *Runner) load(ctx context.Context, l *line, id uuid.UUID) (*run, error) {
	if x := l.runs[id]; x != nil {
		return x, nil
	}
	s, err := r.cfg.Store.FlowGet(ctx, id)
	if err != nil {
		return nil, err
	}
	x := &run{job: s.Job, root: s.Root, def: s.Def, place: s.Place, rev: s.Rev, gate: s.Gate, results: map[string]flow.Ref{}, lists: map[string][]json.RawMessage{},
		items: map[int32]flow.Ref{}, known: map[uuid.UUID]json.RawMessage{}, stored: true}
	if s.Parent != nil && s.Step != "" {
		if x.parent, err = r.load(ctx, l, *s.Parent); err != nil {
			return nil, err
		}
		x.item = s.Item
		if strings.HasSuffix(x.place, "/loop") {
			x.iter = iteration(s.Job)
		}
	}
	if err := json.Unmarshal(s.State, &x.state); err != nil {
		return nil, fmt.Errorf("state of run %s: %w", id, err)
	}
	x.parked = x.state.Wake()
	if err := r.define(ctx, x); err != nil {
		if engine.CodeOf(err) == engine.Unavailable || ctx.Err() != nil {
			return nil, err
		}
		x.broken, x.flow = err, flow.Inner(nil)
	} else if err := r.recall(ctx, x); err != nil {
		return nil, err
	}
	r.moveIn(x)
	l.runs[id] = x
	r.remember(x)
	return x, nil
}

// recall reads what has ended in a run.
func (r *Runner) recall(ctx context.Context, x *run) error {
	steps, err := r.cfg.Store.FlowSteps(ctx, x.job.ID)
	if err != nil {
		return err
	}
	working := ""
	if m := x.flow.Working(x.state); m != nil {
		working = m.ID
	}
	for _, s := range steps {
		x.steps = s.N + 1
		ref := flow.Ref{Value: s.Value}
		if s.Job != nil {
			ref = flow.Ref{Job: *s.Job}
		}
		switch {
		case s.Item == nil:
			x.record(s.Module, ref)
		case *s.Item == branchItem:
		case *s.Item == listItem:
			var list []json.RawMessage
			if err := json.Unmarshal(s.Value, &list); err != nil {
				return fmt.Errorf("list of %s in run %s: %w", s.Module, x.job.ID, err)
			}
			x.lists[s.Module] = list
			clear(x.items)
		case s.Module == working:
			x.items[*s.Item] = ref
		}
	}
	if x.state.Items == nil {
		return nil
	}
	items, err := r.cfg.Store.FlowItems(ctx, x.job.ID, working)
	if err != nil {
		return err
	}
	for _, i := range items { // of several attempts the last one counts
		x.items[i.Item] = flow.Ref{Job: i.Job}
	}
	return nil
}

var errNoFlow = errors.New("the flow is not there any more")
