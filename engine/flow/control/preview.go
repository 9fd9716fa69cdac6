package control

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"slices"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/flow"
	"github.com/millrace/millrace/engine/flow/format"
	"github.com/millrace/millrace/engine/store"
)

const opTest = "flow.test"

// Test runs a part of a flow that is not deployed: up to a step, from a step on, or one step alone.
func (c *Control) Test(ctx context.Context, p engine.Principal, run engine.RunRequest, t engine.FlowTest) (uuid.UUID, error) {
	if t.Only != "" && (t.UpTo != "" || t.Restart != nil) {
		return uuid.Nil, engine.Errorf(engine.Invalid, opTest, "one step alone needs no up_to and no restarted_from")
	}
	if t.FromRun != nil && t.Only == "" && t.Restart == nil {
		return uuid.Nil, engine.Errorf(engine.Invalid, opTest, "from_run goes with only_step or restarted_from")
	}
	value, err := format.ParseValue([]byte(run.Source))
	if err != nil {
		return uuid.Nil, engine.Errorf(engine.Invalid, opTest, "%v", err)
	}
	value.FillIDs()
	switch {
	case t.Only != "":
		err = c.only(ctx, p, &run, value, t)
	case t.Restart != nil:
		v, err := c.readable(ctx, p, run.Workspace, *t.FromRun)
		if err != nil {
			return uuid.Nil, err
		}
		r := *t.Restart
		r.UpTo = t.UpTo
		if len(run.Args) > 0 {
			r.Args = run.Args
		}
		return c.restart(ctx, p, v, value, r, run)
	case t.UpTo != "":
		run.Source, err = cut(value, t.UpTo)
	}
	if err != nil {
		return uuid.Nil, err
	}
	return c.cfg.Jobs.Run(ctx, p, run)
}

func (c *Control) readable(ctx context.Context, p engine.Principal, ws string, id uuid.UUID) (*engine.JobView, error) {
	v, err := c.job(ctx, ws, id)
	if err == nil {
		err = c.cfg.Gate.Can(p, "read", ws, v.Path)
	}
	if err == nil && !isFlow(&v.Job) {
		err = engine.Errorf(engine.Invalid, opTest, "job %s is no flow", id)
	}
	return v, err
}

// cut leaves out what comes after a step, in the lists that it is in too.
func cut(v *format.Value, id string) (string, error) {
	list, ok := cutList(v.Modules, id)
	if !ok {
		return "", engine.Errorf(engine.Invalid, opTest, "the flow has no step %q", id)
	}
	short := *v
	short.Modules = list
	text, err := short.MarshalJSON()
	return string(text), err
}

func cutList(list []*format.Module, id string) ([]*format.Module, bool) {
	for i, m := range list {
		if m.ID == id {
			return slices.Clone(list[:i+1]), true
		}
		for n, place := range m.Bodies() {
			inner, ok := cutList(place.List, id)
			if !ok {
				continue
			}
			last := *m
			last.Value = withBody(m.Value, n, inner)
			return append(slices.Clone(list[:i]), &last), true
		}
	}
	return nil, false
}

// withBody is b with another n-th list of modules, in the order of Bodies.
func withBody(b format.Body, n int, list []*format.Module) format.Body {
	branch := func(all []*format.Branch) []*format.Branch {
		one := *all[n]
		one.Modules = list
		all = slices.Clone(all)
		all[n] = &one
		return all
	}
	switch b := b.(type) {
	case *format.ForLoop:
		c := *b
		c.Modules = list
		return &c
	case *format.WhileLoop:
		c := *b
		c.Modules = list
		return &c
	case *format.BranchAll:
		c := *b
		c.Branches = branch(b.Branches)
		return &c
	case *format.BranchOne:
		c := *b
		if n == len(b.Branches) {
			c.Default = list
		} else {
			c.Branches = branch(b.Branches)
		}
		return &c
	}
	return b
}

// only makes a flow of one step. What a real run came to stands in for the steps before it, and for the arguments where none are given.
func (c *Control) only(ctx context.Context, p engine.Principal, run *engine.RunRequest, value *format.Value, t engine.FlowTest) error {
	step := value.Find(t.Only)
	if step == nil {
		return engine.Errorf(engine.Invalid, opTest, "the flow has no step %q", t.Only)
	}
	if t.FromItem < 0 || t.FromItem > math.MaxInt32 {
		return engine.Errorf(engine.Invalid, opTest, "there is no iteration %d", t.FromItem)
	}
	alone := *value
	alone.Modules, alone.FailureModule, alone.PreprocessorModule, alone.SkipExpr, alone.EarlyReturn = nil, nil, nil, "", ""
	m := &mocks{control: c, id: t.Only, item: int32(t.FromItem), args: run.Args}
	if t.FromRun != nil {
		v, err := c.readable(ctx, p, run.Workspace, *t.FromRun)
		if err != nil {
			return err
		}
		if m.args, err = c.arguments(ctx, v, value, run.Args); err != nil {
			return err
		}
	}
	if err := m.level(ctx, t.FromRun, value.Modules); err != nil {
		return err
	}
	run.Args = m.args
	alone.Modules = append(append(m.absent, m.list...), step)
	text, err := alone.MarshalJSON()
	run.Source = string(text)
	return err
}

// mocks collects what the steps before one came to, from the outermost list of modules inwards.
type mocks struct {
	control *Control
	id      string
	item    int32
	args    json.RawMessage
	list    []*format.Module
	absent  []*format.Module // what did not run, or was skipped: it stands first, so that it is nobody's previous result
}

// level goes through a list of modules; run is nil where there was none.
func (m *mocks) level(ctx context.Context, run *uuid.UUID, list []*format.Module) error {
	last := map[string]store.FlowStep{}
	lists := map[string]json.RawMessage{}
	if run != nil {
		steps, err := m.control.cfg.Store.FlowSteps(ctx, *run)
		if err != nil {
			return err
		}
		for _, s := range steps {
			switch {
			case s.Item == nil:
				last[s.Module] = s
			case *s.Item == store.FlowListItem:
				lists[s.Module] = s.Value
			}
		}
	}
	for _, one := range list {
		if one.ID == m.id {
			return nil
		}
		for _, place := range one.Bodies() {
			if _, within := cutList(place.List, m.id); within {
				return m.enter(ctx, run, one, lists[one.ID], place.List)
			}
		}
		s, ok := last[one.ID]
		if !ok || s.Skipped {
			m.absent = append(m.absent, mock(one, json.RawMessage("null")))
			continue
		}
		v, err := m.control.value(ctx, s)
		if err != nil {
			return err
		}
		m.list = append(m.list, mock(one, v))
	}
	return errors.New("the step is not where it was found") // unreachable: Find knows it
}

func mock(m *format.Module, v json.RawMessage) *format.Module {
	return &format.Module{ID: m.ID, Summary: m.Summary, Value: &format.Identity{}, Mock: &format.Mock{Enabled: true, ReturnValue: v}}
}

// enter goes into the item of a loop or branches that the step is in.
func (m *mocks) enter(ctx context.Context, run *uuid.UUID, around *format.Module, values json.RawMessage, list []*format.Module) error {
	item := m.item
	var loop *flow.Iter
	switch b := around.Value.(type) {
	case *format.ForLoop:
		loop = &flow.Iter{Index: int(item), Value: json.RawMessage("null")}
		var all []json.RawMessage
		if json.Unmarshal(values, &all) == nil {
			if int(item) >= len(all) {
				return engine.Errorf(engine.Invalid, opTest, "step %s had %d iterations in run %s, so there is none with the index %d", around.ID, len(all), run, item)
			}
			loop.Value = all[item]
		}
	case *format.WhileLoop:
		loop = &flow.Iter{Index: int(item)}
		loop.Value, _ = json.Marshal(item) // a number always can
	case *format.BranchOne:
		item = 0
	case *format.BranchAll:
		for i, branch := range b.Branches {
			if _, within := cutList(branch.Modules, m.id); within {
				item = int32(i)
			}
		}
	}
	if loop != nil {
		var args map[string]json.RawMessage
		if err := json.Unmarshal(orNull(m.args), &args); err != nil {
			return engine.Errorf(engine.Invalid, opTest, "arguments must be a JSON object")
		}
		if args["iter"] != nil && run == nil {
			return m.level(ctx, nil, list) // as the caller says
		}
		iter, err := json.Marshal(loop)
		if err != nil {
			return err
		}
		if args == nil {
			args = map[string]json.RawMessage{}
		}
		args["iter"] = iter
		if m.args, err = json.Marshal(args); err != nil {
			return err
		}
	}
	var inner *uuid.UUID
	if run != nil {
		id, ok, err := m.control.inner(ctx, *run, around, item)
		if err != nil {
			return err
		}
		if ok {
			inner = &id
		}
	}
	return m.level(ctx, inner, list)
}
