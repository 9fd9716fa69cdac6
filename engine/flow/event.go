package flow

import (
	"encoding/json"
	"time"

	"github.com/millrace/millrace/engine/flow/format"
)

// Event is something that happened to a run: Begin, Ended, Due, Vote or Canceled.
type Event interface{ event() }

// Begin starts a run that is Ready.
type Begin struct{}

// Ended is the end of the job, or of an item, of the module at work.
type Ended struct {
	Item    int  // of a loop or branches; 0 otherwise
	OK      bool // it did not fail
	Result  Ref
	Final   bool // it is not tried again: somebody canceled it
	Stopped bool // an item was ended by a stop_after_if of its own: the loop ends with it
	// Replaced: a step of another run stands for it. The run ends, as skipped; in a loop or a branch the item does.
	Replaced bool
}

// Due is the time that Run.Until names.
type Due struct{}

// Vote is the answer of somebody who was asked for approval.
type Vote struct {
	N        int // which of the approvals that the gate got, from 1: one that was counted is not counted again
	Approved bool
	By       string
}

// Canceled ends the run from outside.
type Canceled struct{ By, Reason string }

func (Begin) event()    {}
func (Ended) event()    {}
func (Due) event()      {}
func (Vote) event()     {}
func (Canceled) event() {}

// Effect is something to do: Start, List, Chosen, Reuse, Wait, Gate, Record, RecordItem, Answer, Keep, Stop or End. The effects of one event, and the state that comes with
// them, are stored together or not at all.
type Effect interface{ effect() }

// Start starts the job of a step, or a run: one of them is the module's work, or one of its items.
type Start struct {
	Module *format.Module
	Item   int
	// Modules is the list of an item that is a run of its own; nil: the module's (or the only inner module's) job.
	Modules []*format.Module
	// Step is what the job runs: Module itself, or the only module within it.
	Step *format.Module
	// Place says where Modules are: "loop", "branch-2", "default".
	Place   string
	Args    map[string]json.RawMessage // of a job, or of the flow that the step runs
	Iter    *Iter                      // of an iteration
	Again   *Again                     // of a run that takes up what another did
	Timeout time.Duration              // 0: none of its own
	Attempt int                        // from 0
}

// Iter is what flow_input.iter is in an iteration.
type Iter struct {
	Index int             `json:"index"`
	Value json.RawMessage `json:"value"`
}

// List is what a loop runs over, from before its first iteration: Eval.Item reads from it when later events come.
type List struct {
	Module *format.Module
	Values json.RawMessage
}

// Chosen tells which branch was taken; -1: the default one.
type Chosen struct {
	Module *format.Module
	Branch int
}

// Reuse has the first items of a module be those of the run that Run.Again names.
type Reuse struct {
	Module *format.Module
	From   Again
	Items  int
}

// Wait asks for Due at Run.Until.
type Wait struct{ Until time.Time }

// Gate asks for approvals of the module that ended: Run.Until is when patience ends.
type Gate struct {
	Module *format.Module
	Until  time.Time
}

// Record notes the end of a module.
type Record struct {
	Module  *format.Module
	OK      bool
	Skipped bool
	Result  Ref
}

// RecordItem notes the end of an item that never became a job or a run: it had nothing to do, or could not be started.
type RecordItem struct {
	Module *format.Module
	Item   int
	OK     bool
	Result Ref
}

// Answer gives who waits for the flow this result, while the flow goes on.
type Answer struct{ Result Ref }

// Keep has the result of a module, a loop or branches, stand for further runs of it.
type Keep struct {
	Module *format.Module
	Result Ref
	Last   Ref // what previous_result was for it
}

// Stop cancels the items of a module that are still running.
type Stop struct{ Module *format.Module }

// End ends the run.
type End struct {
	OK       bool
	Canceled bool
	Skipped  bool // a stop_after_if said that it counts as skipped
	Stopped  bool // by a stop_after_if
	Result   Ref
}

func (Start) effect()      {}
func (List) effect()       {}
func (Chosen) effect()     {}
func (Reuse) effect()      {}
func (Wait) effect()       {}
func (Gate) effect()       {}
func (Record) effect()     {}
func (Answer) effect()     {}
func (RecordItem) effect() {}
func (Keep) effect()       {}
func (Stop) effect()       {}
func (End) effect()        {}

// Look says what an expression may see beyond what the run has recorded.
type Look struct {
	Run    Run
	Module *format.Module
	Field  string // "skip_if", "iterator", "input_transforms.x", ...
	Result *Ref   // what result stands for; nil: previous_result
	// Recorded are the modules that ended in this very step, whose effects nobody has seen yet. A preprocessor among them has
	// replaced the arguments.
	Recorded map[string]Ref
	// Params are the inputs of the step that are known already: those that are written, and those that were computed before, by name.
	Params map[string]json.RawMessage
	All    bool  // all_iters stands for the results of Module's items
	Iter   *Iter // of a loop that is about to start an item
}

// Eval answers what Step cannot know. Its answers must be the same whenever the run is in the same state.
type Eval interface {
	// Value is the JSON of an input; an error is the step's failure.
	Value(in *format.Input, l Look) (json.RawMessage, error)
	// Item is the n-th element of the list that a loop runs over.
	Item(loop *format.Module, n int) (json.RawMessage, error)
	// True tells whether an expression holds.
	True(expr string, l Look) (bool, error)
	// Kept is a result of m, a loop or branches, that stands for running it; false: there is none.
	Kept(m *format.Module, l Look) (json.RawMessage, bool)
	// Now is when the event happened.
	Now() time.Time
	// Random is in [0, 1), for the jitter of retries.
	Random() float64
}
