package flow

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine/flow/format"
)

// Def is what a run works on.
type Def struct {
	Modules []*format.Module
	Failure *format.Module // runs when a failure was not handled; nil: none
	// Preprocessor runs first, and its result becomes the arguments. Nil: none, or the run was not started by a trigger.
	Preprocessor *format.Module
	SkipExpr     string
	EarlyReturn  string        // id of the module at which who waits is answered, or an expression for the answer
	Timeout      time.Duration // of all of it; 0: none
}

// Root is the definition of a whole flow; external: it was started by a trigger and not by a person or a flow.
func Root(v *format.Value, external bool) *Def {
	d := &Def{Modules: v.Modules, Failure: v.FailureModule, SkipExpr: v.SkipExpr, EarlyReturn: v.EarlyReturn}
	if external {
		d.Preprocessor = v.PreprocessorModule
	}
	if last, ok := v.EndsWithWait(); ok { // the wait needs a successor
		d.Modules = append(d.Modules[:len(d.Modules):len(d.Modules)], &format.Module{ID: format.VirtualID(last.ID), Value: &format.Identity{}})
	}
	return d
}

// Inner is the definition of an iteration or a branch.
func Inner(modules []*format.Module) *Def { return &Def{Modules: modules} }

// Ref says where a result is: with the job that has it, or here. The zero Ref is null.
type Ref struct {
	Job   uuid.UUID       `json:"job,omitzero"`
	Value json.RawMessage `json:"value,omitempty"`
	// Items: the results of the items of this module, in their order; who stores the result collects them.
	Items string `json:"items,omitempty"`
	// Args: the run's own arguments.
	Args bool `json:"args,omitempty"`
}

// Phase is what the module at work is about.
type Phase string

// The phases.
const (
	Ready    Phase = "ready"    // nothing has happened yet
	Running  Phase = "running"  // its job, or its items, run
	Retrying Phase = "retrying" // it failed and waits for its next attempt
	Waiting  Phase = "waiting"  // it ended and waits for approvals
	Sleeping Phase = "sleeping" // it ended and the next one has to wait
	Over     Phase = "over"
)

// Places of modules that are in no list.
const (
	AtPreprocessor = -1
	AtFailure      = 1 << 30
)

// Run is the state of one list of modules. It is small however long the flow and its results are: what has ended is told by the
// effects, and stored by whoever carries them out.
type Run struct {
	At    int       `json:"at"` // the module at work: AtPreprocessor, an index, the number of modules when it is over, AtFailure
	Phase Phase     `json:"phase"`
	Until time.Time `json:"until,omitzero"` // of Retrying, Waiting, Sleeping, and when there is more to start: when it goes on by itself
	Fails int       `json:"fails,omitempty"`
	Items *Items    `json:"items,omitempty"` // of a loop or branches at work
	Votes int       `json:"votes,omitempty"` // approvals so far
	// Deadline is when it ends as a failure, whatever it is about. Zero: never.
	Deadline time.Time `json:"deadline,omitzero"`
	// Limit is when the module at work, a loop or branches, has run for too long; zero: it may take its time.
	Limit time.Time `json:"limit,omitzero"`
	// Answer is what those who waited for it were given while it went on; nil: nothing yet.
	Answer *Ref `json:"answer,omitempty"`
	// Last is what previous_result means for the module at work.
	Last Ref `json:"last"`
	// Failed is the result of the module that failed, for the failure module.
	Failed *Ref `json:"failed,omitempty"`
	// FailedAt is the id of that module.
	FailedAt string `json:"failed_at,omitempty"`
	// Gate is the module whose approvals the module at work sees: the one that waits for them, or the one before.
	Gate string `json:"gate,omitempty"`
	// Groups is the list of those who may approve, of a gate that names some.
	Groups json.RawMessage `json:"groups,omitempty"`
	// Home is where its steps run, and those of all runs within it; nil: anywhere.
	Home *Home `json:"home,omitempty"`
	// Again: it takes up what another run did. It must be Ready, with Last the result of what ended last there.
	Again *Again `json:"again,omitempty"`
}

// Home is a daemon that runs all steps of a flow, which have a folder in common there.
type Home struct {
	Tag  string `json:"tag"`  // of its jobs
	Life string `json:"life"` // of the daemon: the folder ends with it
}

// Wake is when the run goes on by itself: when what it waits for is due, or its own time is over. Zero: it waits for events only.
func (r Run) Wake() time.Time {
	at := r.Until
	for _, t := range []time.Time{r.Limit, r.Deadline} {
		if at.IsZero() || !t.IsZero() && t.Before(at) {
			at = t
		}
	}
	return at
}

// Items counts the items of the module at work.
type Items struct {
	Len     int  `json:"len"` // -1: as many as it takes
	Next    int  `json:"next"`
	Running int  `json:"running"`
	Wide    int  `json:"wide"`             // so many at once
	Failed  bool `json:"failed,omitempty"` // one failed, and that is not to be skipped
	Stop    bool `json:"stop,omitempty"`   // no more are started
	// Error is the failure that stopping means, if it does.
	Error json.RawMessage `json:"error,omitempty"`
	// Branch is the branch that was chosen; -1: the default one.
	Branch int `json:"branch,omitempty"`
}

// module is the one at work.
func (d *Def) module(at int) *format.Module {
	switch {
	case at == AtPreprocessor:
		return d.Preprocessor
	case at == AtFailure:
		return d.Failure
	case at >= 0 && at < len(d.Modules):
		return d.Modules[at]
	}
	return nil
}

// has tells whether id is a module of the list.
func (d *Def) has(id string) bool {
	return slices.ContainsFunc(d.Modules, func(m *format.Module) bool { return m.ID == id })
}

// Working is the module that r is at; nil: none.
func (d *Def) Working(r Run) *format.Module { return d.module(r.At) }
