// Package control is how people and clients see and steer flows at work: how far one is, answers to those that wait for approval, values
// that steps leave for each other, runs that take up what another did. It holds nothing: what it tells is made of what is stored, and
// what it is told is stored before the runner hears of it.
package control

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/flow"
	"github.com/millrace/millrace/engine/flow/format"
	"github.com/millrace/millrace/engine/flow/runner"
	"github.com/millrace/millrace/engine/store"
)

// Store is what Control reads and writes.
type Store interface {
	JobGet(ctx context.Context, ws string, id uuid.UUID) (*engine.JobView, error)
	FlowGet(ctx context.Context, id uuid.UUID) (*store.FlowRun, error)
	FlowSteps(ctx context.Context, run uuid.UUID) ([]store.FlowStep, error)
	FlowParts(ctx context.Context, run uuid.UUID, limit int) ([]store.FlowPart, error)
	FlowResult(ctx context.Context, id uuid.UUID) (engine.JobState, json.RawMessage, error)
	FlowChildren(ctx context.Context, run uuid.UUID) ([]store.FlowChild, error)
	FlowRestartPut(ctx context.Context, id uuid.UUID, origin json.RawMessage) error
	FlowUserStatePut(ctx context.Context, root uuid.UUID, key string, value json.RawMessage) error
	FlowUserState(ctx context.Context, root uuid.UUID, key string) (json.RawMessage, error)
	FlowUserStates(ctx context.Context, root uuid.UUID) (map[string]json.RawMessage, error)
	WorkspaceKey(ctx context.Context, ws string, fresh []byte) ([]byte, error)
	VotePut(ctx context.Context, v *store.Vote) (bool, error)
	VoteGet(ctx context.Context, job uuid.UUID, resume int64) (*store.Vote, error)
	VotesOf(ctx context.Context, run uuid.UUID, module string) ([]store.Vote, error)
	Approvals(ctx context.Context, job uuid.UUID) ([]store.Approval, error)
	ApprovalAnswer(ctx context.Context, n int32, v *store.Vote, value json.RawMessage) (bool, error)
}

// Runner counts answers; see package runner.
type Runner interface {
	Count(ctx context.Context, run uuid.UUID) error
}

// Workflows wakes workflows as code.
type Workflows interface {
	Answered(ctx context.Context, job uuid.UUID) error
}

// Catalog finds deployed flows.
type Catalog interface {
	Flow(ctx context.Context, ws, path string, version engine.Hash) (*format.Flow, engine.Hash, error)
}

// Jobs asks for runs.
type Jobs interface {
	Run(ctx context.Context, p engine.Principal, r engine.RunRequest) (uuid.UUID, error)
}

// Gate decides who may do what, and knows who is in which group.
type Gate interface {
	Can(p engine.Principal, verb, ws, path string) error
	// GroupsOf names the groups of a workspace that somebody is in.
	GroupsOf(username, ws string) []string
}

// Config wires a Control. All must be given.
type Config struct {
	Store     Store
	Runner    Runner
	Workflows Workflows
	Catalog   Catalog
	Jobs      Jobs
	Gate      Gate
	Base      string // where people reach this server: "https://mill.example.org"
}

// Control is safe for concurrent use.
type Control struct{ cfg Config }

// New returns a Control.
func New(cfg Config) *Control { return &Control{cfg} }

// seen is a run with what it works on.
type seen struct {
	job   *engine.Job
	root  uuid.UUID
	begun bool
	value *format.Value // of the whole flow
	def   *flow.Def
	state flow.Run
}

func missing(op string, id uuid.UUID) error {
	return &engine.Error{Code: engine.NotFound, Op: op, Path: id.String(), Msg: "no such job"}
}

// job is a job of a workspace.
func (c *Control) job(ctx context.Context, ws string, id uuid.UUID) (*engine.JobView, error) {
	v, err := c.cfg.Store.JobGet(ctx, ws, id)
	if store.IsNotFound(err) {
		return nil, missing("flow", id)
	}
	return v, err
}

// see reads a run; of a flow that has not begun there is only the definition.
func (c *Control) see(ctx context.Context, id uuid.UUID, job *engine.Job) (*seen, error) {
	r, err := c.cfg.Store.FlowGet(ctx, id)
	if store.IsNotFound(err) && job != nil {
		s := &seen{job: job, root: id, state: flow.Run{Phase: flow.Ready}}
		return s, c.define(ctx, s, job, "")
	}
	if store.IsNotFound(err) {
		return nil, missing("flow", id)
	}
	if err != nil {
		return nil, err
	}
	s := &seen{job: r.Job, root: r.Root, begun: true}
	if err := json.Unmarshal(r.State, &s.state); err != nil {
		return nil, fmt.Errorf("state of run %s: %w", id, err)
	}
	whole := r.Job
	if r.Def != id {
		d, err := c.cfg.Store.FlowGet(ctx, r.Def)
		if err != nil {
			return nil, err
		}
		whole = d.Job
	}
	return s, c.define(ctx, s, whole, r.Place)
}

// define reads what s works on: the flow of whole, or the list of modules at a place in it.
func (c *Control) define(ctx context.Context, s *seen, whole *engine.Job, place string) (err error) {
	if whole.Source != "" {
		s.value, err = format.ParseValue([]byte(whole.Source))
	} else {
		var f *format.Flow
		if f, _, err = c.cfg.Catalog.Flow(ctx, whole.Workspace, whole.Path, whole.Hash); err == nil {
			s.value = &f.Value
		}
	}
	if err != nil {
		return err
	}
	if place == "" {
		s.def = flow.Root(s.value, runner.External(whole))
		return nil
	}
	list, err := runner.ModulesAt(s.value, place)
	if err != nil {
		return err
	}
	s.def = flow.Inner(list)
	return nil
}
