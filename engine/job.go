// Package engine holds the domain types: Job, Script, Path, Principal, Error. It does no I/O and imports none of its
// sub-packages; the sub-packages (store, queue, dispatch, pool, catalog, auth, ...) import it.
package engine

import (
	"encoding/json"
	"time"

	"github.com/google/uuid"
)

// JobKind says what a job runs.
type JobKind string

// The kinds, with Windmill's names.
const (
	KindScript       JobKind = "script"       // a deployed script
	KindPreview      JobKind = "preview"      // source sent with the request
	KindDependencies JobKind = "dependencies" // resolves and builds a script's dependencies at deploy
	// KindFlowDependencies does the same for the scripts that are written in a flow.
	KindFlowDependencies JobKind = "flowdependencies"
	KindNoop             JobKind = "noop"        // does nothing; measures the queue
	KindFlow             JobKind = "flow"        // a deployed flow
	KindFlowPreview      JobKind = "flowpreview" // a flow sent with the request, and the iterations and branches of any
)

// JobState is where a job is in its life:
//
//	queued -> running -> success | failure | canceled
//	queued -> canceled
//	running -> queued        (rescued from a dead worker, or retried)
type JobState string

// The states.
const (
	StateQueued   JobState = "queued"
	StateRunning  JobState = "running"
	StateSuccess  JobState = "success"
	StateFailure  JobState = "failure"
	StateCanceled JobState = "canceled"
)

// Job is one asked-for run. It is immutable once pushed; what changes is in Claim and Outcome.
type Job struct {
	ID             uuid.UUID // UUIDv7 unless the caller brought its own
	Workspace      string
	Kind           JobKind
	Path           string  // of the runnable; "" for a nameless preview
	Hash           Hash    // of the script version, 0 for previews
	Language       string  // "" when the script decides
	Source         string  // previews only
	Lock           *string // previews only: a given lock; nil: resolve
	Args           json.RawMessage
	Tag            string
	Priority       int16     // higher first
	ScheduledFor   time.Time // zero: now
	Timeout        time.Duration
	Parent         *uuid.UUID
	Step           string // the module of the parent's flow that it runs, or is an item of; "": none
	Item           int32  // which item
	CreatedBy      string // username
	Email          string
	PermissionedAs string // "u/ann" or "g/team"
	CreatedAt      time.Time
	IdempotencyKey string // a second push with the same key in the workspace returns the first job
	Network        string // "", "none", "host"
	Trigger        string // how it came: "api", "cli", "webhook", "schedule", ...
	TriggerPath    string
	Batch          *uuid.UUID    // the batch it belongs to
	Limit          *Limit        // nil: it runs as soon as a slot is free. Not kept: the queue remembers the key only
	Debounce       *Debounce     // nil: it is not merged with others. Not kept
	CacheFor       time.Duration // its result may stand for runs of the same with the same arguments so long; 0: for none. Not kept
	CacheAnyPath   bool          // whatever the paths of files among the arguments that say what is in them. Not kept
	Awaited        bool          // somebody here waits for its outcome. Not kept
	Preprocessed   bool          // Args are what its preprocessor has made of the request; said of what is read, not of claims
	QueueLimit     int64         // so many waiting jobs of its tag already, and it is refused; 0: no bound of its own. Not kept
}

// Claim is a job in the hands of one worker. (Worker, Attempt) is the fence: a Finish with another pair is refused.
type Claim struct {
	Job     *Job
	Worker  int32
	Attempt int32
	Started time.Time
	Gate    int32 // the limit it counts for; 0: none
	Broken  error // why it cannot be run, if that is known already
	Slot    Slot  // in which it runs; nil: of no account. Not kept
}

// Slot is the place that a running job takes from others.
type Slot interface {
	// Leave lets another job have the place while this one only waits; Return takes it back, also when it is another's by now.
	Leave()
	Return()
}

// TriggerWorkflow is the trigger of jobs that a workflow as code asked for. TriggerPath is the function they run, "" for a whole script.
const TriggerWorkflow = "workflow"

// Outcome is how an attempt ended. Exactly one is written for a job.
type Outcome struct {
	ID         uuid.UUID
	Worker     int32
	Attempt    int32
	State      JobState // StateSuccess, StateFailure or StateCanceled
	Result     json.RawMessage
	CanceledBy string
	Reason     string // of a cancel
	Skipped    bool   // of a flow: it ended well, as one that had nothing to do
	CPU        time.Duration
	MemoryPeak int64  // bytes
	Usage      *Usage // nil: nothing more is known
	// LogTail is the part of the log that is not stored yet; it is written in the same transaction.
	LogTail   string
	LogOffset int64 // where LogTail begins, in bytes
	// Patient: nobody waits for the outcome, so it may be stored a moment later, together with what comes meanwhile. Not kept.
	Patient bool
	// Suspended, in the place of a state: a workflow waits, for so long or for one of the jobs that it awaits, and is to begin anew then.
	Suspended *Suspension
}

// Suspension is what a workflow waits for.
type Suspension struct {
	Wait   time.Duration
	Awaits []uuid.UUID
	Asks   []int32 // the checkpoints of approvals that it waits for
}

// JobView is everything known of a job, for APIs.
type JobView struct {
	Job
	State      JobState
	Worker     int32
	WorkerName string
	Attempt    int32
	StartedAt  *time.Time
	FinishedAt *time.Time
	Result     json.RawMessage // completed jobs
	Skipped    bool            // see Outcome
	CanceledBy string
	Reason     string
	CPU        time.Duration
	MemoryPeak int64
	Usage      *Usage // nil: nothing more is known
	Logs       string // filled only when asked for
}

// TriggerWebhook is the Trigger of what was asked for over HTTP and has a preprocessor: the arguments are {"event": the request},
// until it has run.
const TriggerWebhook = "webhook"

// HomePrefix begins the tags of daemons that keep the folder of a flow whose steps all run in one place. A daemon has one such tag, also
// when it is started anew, and takes jobs of all its languages by it.
const HomePrefix = "home-"

// FolderLost is the name of the failure of a step whose flow had such a folder, and FolderLostText what it says.
const (
	FolderLost     = "SharedFolderLost"
	FolderLostText = "./shared is gone: the daemon that had it has ended meanwhile; run the flow again"
)

// TriggerRestart is the Trigger of a flow that takes up what another run of it did; the TriggerPath is that run.
const TriggerRestart = "restart"

// NewJobID returns a time-ordered id.
func NewJobID() uuid.UUID { return uuid.Must(uuid.NewV7()) }
