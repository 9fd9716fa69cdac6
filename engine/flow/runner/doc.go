// Package runner carries out what package flow decides: it turns events (a job of a step has ended, a time has come) into operations
// of the store, in which the end of a step and the birth of the next are one commit.
//
// A flow is kept in memory by whoever carries out its events while it has jobs at work, and read back from the database when it is not
// there: after a wait, a restart, or when it has not been heard of for a while, because another process has its events. Every operation names the revision of the runs it was computed from; when somebody else
// was faster it is not done, what is in memory is forgotten, and the events are looked at again.
//
// Events of one flow that come while an operation is under way are carried out together by the next one, so that thousands of
// branches that end at the same time share a few commits. Nothing of a flow that waits is held by a worker.
//
//	Push       a flow that is asked for is born as a run, with its first steps
//	Begin      the same of one that was queued and claimed
//	Finish     the outcome of a step's job
//	End        that of a step which no process runs: canceled while it was queued, or lost too often
//	Cancel     the end from outside
//	Count      answers to a flow that waits for approval were stored
//	loop       runs whose time has come
package runner

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/expr"
	"github.com/millrace/millrace/engine/flow/format"
	"github.com/millrace/millrace/engine/store"
)

// Queue is what the runner needs of the queue.
type Queue interface {
	Push(ctx context.Context, j *engine.Job) (engine.PushResult, error)
	Flow(ctx context.Context, o *store.FlowOp, tags []string, most int) (claims, more []*engine.Claim, err error)
	FlowBegins(j *engine.Job) bool
	FlowJob(ctx context.Context, j *engine.Job) (*store.FlowJob, error)
	FlowHere(f *store.FlowJob, own bool)
	FlowRelease(f *store.FlowJob)
	FlowArgs(ctx context.Context, j *engine.Job, args json.RawMessage) (store.FlowArgs, error)
	FlowEnd(ctx context.Context, o engine.Outcome) (*store.JobFinish, error)
	Deliver(c *engine.Claim)
	HandBack(ctx context.Context, claims []*engine.Claim) error
	Cancel(ctx context.Context, ws string, id uuid.UUID, by, reason string) error
}

// Store is what the runner reads.
type Store interface {
	FlowGet(ctx context.Context, id uuid.UUID) (*store.FlowRun, error)
	FlowSteps(ctx context.Context, run uuid.UUID) ([]store.FlowStep, error)
	FlowItems(ctx context.Context, run uuid.UUID, module string) ([]store.FlowItem, error)
	FlowResult(ctx context.Context, id uuid.UUID) (engine.JobState, json.RawMessage, error)
	FlowDue(ctx context.Context, limit int) ([]uuid.UUID, error)
	FlowNextDue(ctx context.Context) (time.Duration, bool, error)
	FlowHolds(ctx context.Context, a store.FlowAttempt) (bool, error)
	FlowChildren(ctx context.Context, run uuid.UUID) ([]store.FlowChild, error)
	CacheGet(ctx context.Context, key []byte) (uuid.UUID, error)
	CacheValue(ctx context.Context, key []byte) (json.RawMessage, error)
	CacheKeep(ctx context.Context, key []byte, value json.RawMessage, ttl time.Duration) error
	FlowRestart(ctx context.Context, id uuid.UUID) (json.RawMessage, error)
	FlowRestartPut(ctx context.Context, id uuid.UUID, origin json.RawMessage) error
	FlowUserState(ctx context.Context, root uuid.UUID, key string) (json.RawMessage, error)
	VotesOf(ctx context.Context, run uuid.UUID, module string) ([]store.Vote, error)
	VoteTake(ctx context.Context, flow, run uuid.UUID, module string, limit int) error
}

// Catalog finds what flows name.
type Catalog interface {
	// Flow is a deployed flow; version 0: the latest.
	Flow(ctx context.Context, ws, path string, version engine.Hash) (*format.Flow, engine.Hash, error)
	// Arguments says what is wrong with the arguments of a deployed flow.
	Arguments(f *format.Flow, args json.RawMessage) error
	// Step fills in what a step's job runs: kind, path, version, language, tag, and its limits.
	Step(ctx context.Context, j *engine.Job, s StepOf) error
	// LimitFlow fills in the limits of a flow within another.
	LimitFlow(j *engine.Job, v *format.Value)
}

// StepOf is a step and what its flow says of it.
type StepOf struct {
	Module   *format.Module
	Flow     string // path of the flow; "": it has none
	Tag      string // of the flow
	KeepTags bool   // steps with a tag of their own keep it
	Squash   bool   // its process is that of all iterations of the loop around it, where the language can do that
	Home     string // the tag of all steps of a flow with a folder of its own; "": it has none
}

// Values are the variables and resources that expressions ask for, and that flow_env refers to; nil: there is no such thing.
type Values interface {
	Variable(ctx context.Context, j *engine.Job, path string) (json.RawMessage, error)
	Resource(ctx context.Context, j *engine.Job, path string) (json.RawMessage, error)
	Fill(ctx context.Context, j *engine.Job, raw json.RawMessage) (json.RawMessage, error)
}

// Config wires a Runner.
type Config struct {
	Queue   Queue
	Store   Store
	Catalog Catalog
	Values  Values
	Expr    *expr.Evaluator
	// Ended is told of runs that have ended, for those who wait for them.
	Ended func(j *engine.Job, o engine.Outcome)
	// Answered is told of runs that have an answer for those while they go on; see Runner.Answer.
	Answered func(id uuid.UUID)
	// Changed is told of runs that have gone on, for those who watch them; nil: nobody does.
	Changed func(run uuid.UUID)
	// Home is the tag of steps that must run here, as they share a folder; "": this process runs no steps. Left is told of the end of
	// runs that had such a folder.
	Home string
	Left func(run uuid.UUID)
	Poll time.Duration // how often runs that are due are looked for, at least; 1 s
	Log  zerolog.Logger
}

// Runner is safe for concurrent use.
type Runner struct {
	cfg  Config
	life string // tells this process from others, and from those before it

	mu    sync.Mutex
	flows map[uuid.UUID]*line     // by the outermost run; guarded by mu
	roots map[uuid.UUID]uuid.UUID // of the runs in memory; guarded by mu

	wake     chan struct{} // something is due sooner than was known
	stop     context.CancelFunc
	services sync.WaitGroup
}

// New returns a Runner.
func New(cfg Config) *Runner {
	if cfg.Poll == 0 {
		cfg.Poll = time.Second
	}
	return &Runner{cfg: cfg, life: rand.Text(), flows: map[uuid.UUID]*line{}, roots: map[uuid.UUID]uuid.UUID{}, wake: make(chan struct{}, 1)}
}

// Start begins to look for runs that are due.
func (r *Runner) Start(context.Context) error {
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	r.services.Go(func() { r.loop(ctx) })
	return nil
}

// Stop ends that; safe unstarted.
func (r *Runner) Stop() {
	if r.stop != nil {
		r.stop()
		r.services.Wait()
	}
}
