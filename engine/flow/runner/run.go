package runner

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/flow"
	"github.com/millrace/millrace/engine/flow/format"
	"github.com/millrace/millrace/engine/store"
)

// Numbers under which other things than items are stored among them: the list of a loop, the branch that was taken.
const (
	listItem   = store.FlowListItem
	branchItem = store.FlowBranchItem
)

// run is a run in memory.
type run struct {
	job       *engine.Job
	root, def uuid.UUID
	place     string
	rev       int32
	parent    *run
	item      int32
	iter      *flow.Iter // of an iteration
	stored    bool       // it has a row
	fresh     bool       // it is about to begin
	parked    time.Time  // until when, by its row in q
	at        time.Time  // of the event at hand
	canceled  flow.Canceled
	gate      int32 // the limit that it counts for; 0: none
	broken    error // its definition cannot be read any more

	value *format.Value // of the whole flow that def names
	flow  *flow.Def
	state flow.Run
	steps int32 // rows so far

	results map[string]flow.Ref          // of modules that have ended
	lists   map[string][]json.RawMessage // of loops
	items   map[int32]flow.Ref           // of the module at work
	known   map[uuid.UUID]json.RawMessage
}

// record notes the end of a module.
func (x *run) record(module string, ref flow.Ref) {
	x.results[module] = ref
	clear(x.items)
}

// mostKnown bounds the bytes of a result that is kept in memory for the expressions of the next step.
const mostKnown = 64 << 10

func (x *run) know(job uuid.UUID, result json.RawMessage) {
	if len(result) <= mostKnown {
		if len(x.known) > 64 {
			clear(x.known)
		}
		x.known[job] = result
	}
}

// define finds out what a run works on.
func (r *Runner) define(ctx context.Context, x *run) error {
	if x.def != x.job.ID {
		from := x.parent
		for from != nil && from.job.ID != x.def {
			from = from.parent
		}
		if from == nil {
			return fmt.Errorf("run %s: %w", x.job.ID, errNoFlow)
		}
		x.value = from.value
		modules, err := ModulesAt(x.value, x.place)
		if err != nil {
			return err
		}
		x.flow = flow.Inner(modules)
		return nil
	}
	switch {
	case x.job.Source != "":
		v, err := format.ParseValue([]byte(x.job.Source))
		if err != nil {
			return engine.Errorf(engine.Invalid, "flow.run", "%v", err)
		}
		x.value = v
	default:
		f, _, err := r.cfg.Catalog.Flow(ctx, x.job.Workspace, x.job.Path, x.job.Hash)
		if err != nil {
			return err
		}
		if x.fresh && (f.Value.PreprocessorModule == nil || !External(x.job)) {
			if err := r.cfg.Catalog.Arguments(f, x.job.Args); err != nil {
				return err
			}
		}
		x.value = &f.Value
	}
	x.flow = flow.Root(x.value, External(x.job))
	x.flow.Timeout = x.job.Timeout
	return nil
}

// External tells whether a trigger asked for a flow, and not a person, a program or another flow.
func External(j *engine.Job) bool {
	switch j.Trigger {
	case engine.TriggerRestart, "", "api", "cli", "ui", "schedule", "flow":
		return false
	}
	return true
}

// ModulesAt finds the list of modules that a place names: "a/loop/b/branch-2".
func ModulesAt(v *format.Value, place string) ([]*format.Module, error) {
	parts := strings.Split(place, "/")
	var list []*format.Module
	for i := 0; i+1 < len(parts); i += 2 {
		m := v.Find(parts[i])
		if m == nil {
			return nil, fmt.Errorf("%s names no module: %w", place, errNoFlow)
		}
		found := false
		for _, p := range places(m) {
			if p.name == parts[i+1] {
				list, found = p.modules, true
			}
		}
		if !found {
			return nil, fmt.Errorf("%s names no list of modules: %w", place, errNoFlow)
		}
	}
	return list, nil
}

type listOf struct {
	name    string
	modules []*format.Module
}

func places(m *format.Module) (out []listOf) {
	switch b := m.Value.(type) {
	case *format.ForLoop:
		out = append(out, listOf{"loop", b.Modules})
	case *format.WhileLoop:
		out = append(out, listOf{"loop", b.Modules})
	case *format.BranchOne:
		out = append(out, listOf{format.BranchName(-1), b.Default})
		for i, branch := range b.Branches {
			out = append(out, listOf{format.BranchName(i), branch.Modules})
		}
	case *format.BranchAll:
		for i, branch := range b.Branches {
			out = append(out, listOf{format.BranchName(i), branch.Modules})
		}
	}
	return out
}

// brokenResult is the failure of a run that cannot be read any more.
func brokenResult(err error) json.RawMessage {
	b, mErr := json.Marshal(map[string]any{"error": map[string]string{"name": "FlowError", "message": err.Error()}})
	if mErr != nil {
		return json.RawMessage(`{"error":{"name":"FlowError","message":"the flow cannot be read any more"}}`)
	}
	return b
}
