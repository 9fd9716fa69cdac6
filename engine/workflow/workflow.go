// Package workflow answers workflows as code: scripts that ask, while they run, for steps whose results are kept, for tasks that are jobs
// of their own, and for time to pass.
//
//	step      ran in the workflow's process; its result is stored, and the process goes on
//	task      a job is born in the commit that stores the wish for it; the answer is its outcome
//	sleep     the answer comes when its time has come
//	approval  the answer is what somebody says, or an error when nobody does in time
//
// Whatever is asked for is a checkpoint, a row of its own. A process that waits is kept, and its place given to others, for
// Config.Patience; then, or when too many wait, it is ended and its job queued until there is something to go on with. A process that
// is started anew, after that or a crash, is told all checkpoints before it asks for anything, and asks for the same ones: those that
// are over are answered at once, on the others the wait goes on. The process itself sees to it that it asks for the same.
//
// The workflows of a dedicated script share a process. To keep one that waits costs little there, so it is kept longer. When such a
// process ends under a workflow, that begins anew in another one, within the same claim.
//
// Promises. A step that was stored never runs again. A task has one job, or one for each try. No job holds a place of the host while it
// waits for another: any number of workflows can wait for their tasks.
package workflow

import (
	"context"
	"encoding/json"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/bus"
	"github.com/millrace/millrace/engine/store"
)

// Queue stores checkpoints and jobs.
type Queue interface {
	// Checkpoint is durable when it returns; an error of code Conflict: the workflow is another worker's.
	Checkpoint(ctx context.Context, c *store.Checkpoint) error
	// PushTask stores both or nothing.
	PushTask(ctx context.Context, j *engine.Job, c *store.Checkpoint) error
	Get(ctx context.Context, ws string, id uuid.UUID) (*engine.JobView, error)
	Cancel(ctx context.Context, ws string, id uuid.UUID, by, reason string) error
	Others() int
}

// Store reads checkpoints.
type Store interface {
	Checkpoints(ctx context.Context, job uuid.UUID) ([]store.Checkpoint, error)
	// ApprovalOutcome: ok nil: nobody has answered. Once nobody can any more, the outcome is late.
	ApprovalOutcome(ctx context.Context, job uuid.UUID, n int32, late json.RawMessage) (ok *bool, value json.RawMessage, err error)
}

// Targets finds what tasks name.
type Targets interface {
	// Task fills in what runs a deployed script, or a flow, for a workflow.
	Task(ctx context.Context, j *engine.Job, path string, flow bool) error
}

// Config wires a Host.
type Config struct {
	Queue   Queue
	Store   Store
	Targets Targets
	Bus     *bus.Bus
	// Patience is how long a process that waits is kept; zero: 10 s.
	Patience time.Duration
	// Kept is how many processes that wait are kept; those beyond are ended as soon as they wait.
	Kept int
	// SharedPatience and SharedKept are the same for workflows that share a process; zero: 5 minutes, 512.
	SharedPatience time.Duration
	SharedKept     int
	Log            zerolog.Logger
}

// Host has the workflows of this process.
type Host struct {
	cfg     Config
	waiting atomic.Int32 // processes that wait
	parked  atomic.Int32 // workflows that wait in a process that they share
}

// New returns a Host.
func New(cfg Config) *Host {
	if cfg.Patience == 0 {
		cfg.Patience = 10 * time.Second
	}
	if cfg.SharedPatience == 0 {
		cfg.SharedPatience = 5 * time.Minute
	}
	if cfg.SharedKept == 0 {
		cfg.SharedKept = 512
	}
	return &Host{cfg: cfg}
}

// Process is a workflow's process.
type Process interface {
	Answer(json []byte)
	// Suspend ends what it does for this workflow.
	Suspend()
	// Waits says whether the workflow only waits now.
	Waits(yes bool)
	// Shared says whether it serves other workflows, too.
	Shared() bool
}

// Entry is the function that a job calls when it is the task of a workflow; "": it is none.
func Entry(j *engine.Job) string {
	if j.Trigger == engine.TriggerWorkflow && j.TriggerPath != "" {
		return "task:" + j.TriggerPath
	}
	return ""
}
