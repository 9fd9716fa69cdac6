package control

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/flow"
	"github.com/millrace/millrace/engine/flow/format"
	"github.com/millrace/millrace/engine/store"
)

const opRestart = "flow.restart"

// latest is the version of a flow that is deployed now.
const latest = "latest"

// Restart runs a flow again from one of its steps on: what ended before it in the run id is not run again, its results are taken as they
// are.
func (c *Control) Restart(ctx context.Context, p engine.Principal, ws string, id uuid.UUID, r engine.RestartRequest) (uuid.UUID, error) {
	v, err := c.job(ctx, ws, id)
	if err != nil {
		return uuid.Nil, err
	}
	if err := c.cfg.Gate.Can(p, "run", ws, v.Path); err != nil {
		return uuid.Nil, err
	}
	run := engine.RunRequest{Workspace: ws, Kind: v.Kind, Path: v.Path, Hash: v.Hash, Source: v.Source, Tag: v.Tag, Priority: v.Priority}
	value, err := c.version(ctx, v, r.Version, &run)
	if err != nil {
		return uuid.Nil, err
	}
	return c.restart(ctx, p, v, value, r, run)
}

// version finds what a restart runs.
func (c *Control) version(ctx context.Context, v *engine.JobView, version string, run *engine.RunRequest) (*format.Value, error) {
	if !isFlow(&v.Job) {
		return nil, engine.Errorf(engine.Invalid, opRestart, "job %s is no flow; run it again instead", v.ID)
	}
	if v.Source != "" {
		if version != "" {
			return nil, engine.Errorf(engine.Invalid, opRestart, "job %s was not a run of a deployed flow, so there is no version to choose", v.ID)
		}
		return format.ParseValue([]byte(v.Source))
	}
	switch version {
	case "":
	case latest:
		run.Hash = 0
	default:
		n, err := strconv.ParseInt(version, 10, 64)
		if err != nil || n <= 0 {
			return nil, engine.Errorf(engine.Invalid, opRestart, "flow_version must be a number, or latest, not %q", version)
		}
		run.Hash = engine.Hash(n)
	}
	f, hash, err := c.cfg.Catalog.Flow(ctx, v.Workspace, v.Path, run.Hash)
	if err != nil {
		return nil, err
	}
	run.Hash = hash
	return &f.Value, nil
}

// restart asks for a run of value that takes up what v did.
func (c *Control) restart(ctx context.Context, p engine.Principal, v *engine.JobView, value *format.Value, r engine.RestartRequest, run engine.RunRequest) (uuid.UUID, error) {
	switch {
	case v.Parent != nil && v.Step != "":
		return uuid.Nil, engine.Errorf(engine.Invalid, opRestart, "job %s is a part of a flow; restart the flow, with nested for what is within", v.ID)
	case v.FinishedAt == nil:
		return uuid.Nil, &engine.Error{Code: engine.Conflict, Op: opRestart, Path: v.ID.String(), Msg: "the flow is still at work", Hint: "cancel it first"}
	}
	again, err := c.origin(ctx, v.ID, value.Modules, r)
	if err != nil {
		return uuid.Nil, err
	}
	origin, err := json.Marshal(again)
	if err != nil {
		return uuid.Nil, err
	}
	if run.Args, err = c.arguments(ctx, v, value, r.Args); err != nil {
		return uuid.Nil, err
	}
	if r.UpTo != "" {
		if run.Source, err = cut(value, r.UpTo); err != nil {
			return uuid.Nil, err
		}
		run.Kind, run.Hash = engine.KindFlowPreview, 0
	}
	id := engine.NewJobID()
	if err := c.cfg.Store.FlowRestartPut(ctx, id, origin); err != nil {
		return uuid.Nil, err
	}
	run.ID, run.Trigger, run.TriggerPath = &id, engine.TriggerRestart, v.ID.String()
	return c.cfg.Jobs.Run(ctx, p, run)
}

// origin checks that the earlier run has what the new one needs of it.
func (c *Control) origin(ctx context.Context, run uuid.UUID, list []*format.Module, r engine.RestartRequest) (*flow.Again, error) {
	at := slices.IndexFunc(list, func(m *format.Module) bool { return m.ID == r.Step })
	if at < 0 {
		return nil, engine.Errorf(engine.Invalid, opRestart, "there is no step %q here; there are %s", r.Step, strings.Join(ids(list), ", "))
	}
	steps, err := c.cfg.Store.FlowSteps(ctx, run)
	if err != nil {
		return nil, err
	}
	for _, m := range list[:at] {
		if !slices.ContainsFunc(steps, func(s store.FlowStep) bool { return s.Module == m.ID && s.Item == nil }) {
			return nil, engine.Errorf(engine.Invalid, opRestart, "step %s comes before %s, and did not end in run %s", m.ID, r.Step, run)
		}
	}
	m := list[at]
	again := &flow.Again{From: run, Step: m.ID, Item: r.Item}
	if r.Item != nil {
		if err := c.items(ctx, run, m, *r.Item, steps); err != nil {
			return nil, err
		}
	}
	if r.Nested == nil {
		return again, nil
	}
	return again, c.nested(ctx, run, m, steps, again, *r.Nested)
}

// items checks that the items before n are there.
func (c *Control) items(ctx context.Context, run uuid.UUID, m *format.Module, n int, steps []store.FlowStep) error {
	switch m.Value.(type) {
	case *format.ForLoop, *format.WhileLoop, *format.BranchAll:
	default:
		return engine.Errorf(engine.Invalid, opRestart, "step %s has no iterations or branches to begin with", m.ID)
	}
	have := map[int32]bool{}
	for _, s := range steps {
		if s.Module == m.ID && s.Item != nil {
			have[*s.Item] = true
		}
	}
	parts, err := c.cfg.Store.FlowParts(ctx, run, mostParts)
	if err != nil {
		return err
	}
	for _, p := range parts {
		if p.Step == m.ID && p.FinishedAt != nil {
			have[p.Item] = true
		}
	}
	for i := range n {
		if !have[int32(i)] {
			return engine.Errorf(engine.Invalid, opRestart, "step %s cannot begin with %d: %d did not end in run %s", m.ID, n, i, run)
		}
	}
	if n < 0 {
		return engine.Errorf(engine.Invalid, opRestart, "iterations and branches are counted from 0")
	}
	return nil
}

// nested finds the run within m that is taken up.
func (c *Control) nested(ctx context.Context, run uuid.UUID, m *format.Module, steps []store.FlowStep, again *flow.Again, r engine.RestartRequest) error {
	item := int32(0)
	if again.Item != nil {
		item = int32(*again.Item)
	}
	inner, ok, err := c.inner(ctx, run, m, item)
	if err != nil {
		return err
	}
	if !ok {
		return engine.Errorf(engine.Invalid, opRestart, "nothing of step %s ran in run %s that could be taken up", m.ID, run)
	}
	switch m.Value.(type) {
	case *format.ForLoop, *format.WhileLoop, *format.BranchAll:
		n := int(item)
		again.Item = &n
	case *format.BranchOne:
		for _, s := range steps {
			if s.Module == m.ID && s.Item != nil && *s.Item == store.FlowBranchItem {
				var n int
				if err := json.Unmarshal(s.Value, &n); err != nil {
					return err
				}
				again.Branch = &n
			}
		}
	}
	child, err := c.see(ctx, inner, nil)
	if engine.CodeOf(err) == engine.NotFound { // a single step, which is a job and no run
		for _, place := range m.Bodies() {
			if len(place.List) == 1 && place.List[0].ID == r.Step && r.Nested == nil && r.Item == nil {
				return nil
			}
		}
		return engine.Errorf(engine.Invalid, opRestart, "there is no step %q within %s", r.Step, m.ID)
	}
	if err != nil {
		return err
	}
	again.Within, err = c.origin(ctx, inner, child.def.Modules, r)
	return err
}

// inner is the last job of an item.
func (c *Control) inner(ctx context.Context, run uuid.UUID, m *format.Module, item int32) (id uuid.UUID, ok bool, err error) {
	parts, err := c.cfg.Store.FlowParts(ctx, run, mostParts)
	for _, p := range parts {
		if p.Step == m.ID && p.Item == item {
			id, ok = p.ID, true
		}
	}
	return id, ok, err
}

// arguments are those of the earlier run, as its steps saw them, with changes.
func (c *Control) arguments(ctx context.Context, v *engine.JobView, value *format.Value, changes json.RawMessage) (json.RawMessage, error) {
	args := v.Args
	if value.PreprocessorModule != nil && !v.Preprocessed { // it was still at work, or an older release ran it
		steps, err := c.cfg.Store.FlowSteps(ctx, v.ID)
		if err != nil {
			return nil, err
		}
		for _, s := range steps {
			if s.Module == value.PreprocessorModule.ID && s.Item == nil {
				if args, err = c.value(ctx, s); err != nil {
					return nil, err
				}
			}
		}
	}
	if len(changes) == 0 {
		return args, nil
	}
	both := map[string]json.RawMessage{}
	for _, part := range []json.RawMessage{args, changes} {
		var m map[string]json.RawMessage
		if err := json.Unmarshal(part, &m); err != nil {
			return nil, engine.Errorf(engine.Invalid, opRestart, "arguments must be a JSON object")
		}
		for k, x := range m {
			both[k] = x
		}
	}
	return json.Marshal(both)
}

// value is the result that a row stands for.
func (c *Control) value(ctx context.Context, s store.FlowStep) (json.RawMessage, error) {
	if s.Job == nil {
		return orNull(s.Value), nil
	}
	_, v, err := c.cfg.Store.FlowResult(ctx, *s.Job)
	if store.IsNotFound(err) {
		return nil, engine.Errorf(engine.NotFound, opRestart, "the result of step %s has been deleted", s.Module)
	}
	return orNull(v), err
}

func orNull(v json.RawMessage) json.RawMessage {
	if len(v) == 0 {
		return json.RawMessage("null")
	}
	return v
}

func ids(list []*format.Module) (out []string) {
	for _, m := range list {
		out = append(out, m.ID)
	}
	return out
}
