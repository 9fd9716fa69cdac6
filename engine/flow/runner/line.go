package runner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/flow"
	"github.com/millrace/millrace/engine/store"
)

// event is something that happened to a run.
type event struct {
	run  uuid.UUID
	what flow.Event
	// begin is the claim of a flow's own job, end the outcome of a step's, with what its slot can take next.
	begin *engine.Claim
	end   *engine.Outcome
	job   *engine.Job
	slot  []string

	done     chan struct{}
	accepted bool
	next     *engine.Claim // for the slot
	err      error
}

// line is a flow and the events that wait for it.
type line struct {
	root  uuid.UUID
	inbox []*event           // guarded by Runner.mu
	busy  bool               // guarded by Runner.mu
	runs  map[uuid.UUID]*run // of who is at work
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
			l.busy = false
			if len(l.runs) == 0 {
				delete(r.flows, l.root)
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
	state, result, err := r.cfg.Store.FlowResult(ctx, e.end.ID)
	if err != nil {
		return false // it has no outcome yet
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
		if err := o.step(next.run, next.what); err != nil {
			o.abandon()
			return false, err
		}
	}
	if len(o.op.Begins) == 0 && len(o.op.Ends) == 0 && len(o.touched) == 0 {
		return true, nil // late events that change nothing
	}
	if err := o.write(); err != nil {
		o.abandon()
		return false, err
	}
	claims, err := r.cfg.Queue.Flow(ctx, o.op)
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
	x := &run{job: s.Job, root: s.Root, def: s.Def, place: s.Place, rev: s.Rev, results: map[string]flow.Ref{}, lists: map[string][]json.RawMessage{},
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
	x.parked = x.state.Until
	if err := r.define(ctx, x); err != nil {
		return nil, err
	}
	if err := r.recall(ctx, x); err != nil {
		return nil, err
	}
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
