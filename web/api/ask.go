package api

import (
	"context"
	"encoding/json"
	"io"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/flow/check"
	"github.com/millrace/millrace/engine/secret"
	"github.com/millrace/millrace/web/session"
)

// What the API asks of the engine. Every method checks for itself what the Principal may do in the workspace, and
// returns *engine.Error values; an unknown workspace is NotFound.

// Jobs runs jobs and shows them.
type Jobs interface {
	Run(ctx context.Context, p engine.Principal, r engine.RunRequest) (uuid.UUID, error)
	// Wait returns when the job is completed, or ctx's error when that ends first. It never cancels the job.
	Wait(ctx context.Context, p engine.Principal, ws string, id uuid.UUID) (*engine.JobView, error)
	Get(ctx context.Context, p engine.Principal, ws string, id uuid.UUID, withLogs bool) (*engine.JobView, error)
	List(ctx context.Context, p engine.Principal, ws string, f engine.JobFilter) ([]*engine.JobView, error)
	// Logs returns the log from a byte offset on, and the offset of its end.
	Logs(ctx context.Context, p engine.Principal, ws string, id uuid.UUID, offset int64) (string, int64, error)
	Update(ctx context.Context, p engine.Principal, ws string, id uuid.UUID, logOffset, streamOffset int64) (*engine.Update, error)
	// Watch returns a channel that is signalled after any change of the job, and a function that ends watching.
	Watch(ctx context.Context, p engine.Principal, ws string, id uuid.UUID) (<-chan struct{}, func(), error)
	Cancel(ctx context.Context, p engine.Principal, ws string, id uuid.UUID, reason string) error
	Why(ctx context.Context, p engine.Principal, ws string, id uuid.UUID) (*engine.Why, error)
	// Contacts is what the job's runs asked for on the network; of a completed job it is complete.
	Contacts(ctx context.Context, p engine.Principal, ws string, id uuid.UUID) ([]engine.Contact, error)
	// WorkflowSteps is what a workflow as code has asked for.
	WorkflowSteps(ctx context.Context, p engine.Principal, ws string, id uuid.UUID) ([]engine.WorkflowStep, error)
	Counts(ctx context.Context, p engine.Principal, ws string) (queued, running int64, err error)
	Workers(ctx context.Context) ([]engine.WorkerView, error)
}

// Scripts keeps the versions of scripts.
type Scripts interface {
	// Create returns the version's hash and whether it is new (false: SkipIfNoop found nothing to change).
	Create(ctx context.Context, p engine.Principal, ws string, s *engine.Script, o engine.ScriptOptions) (engine.Hash, bool, error)
	Latest(ctx context.Context, p engine.Principal, ws, path string) (*engine.Script, error)
	ByHash(ctx context.Context, p engine.Principal, ws string, h engine.Hash) (*engine.Script, error)
	List(ctx context.Context, p engine.Principal, ws string, f engine.ScriptFilter) ([]*engine.Script, error)
	History(ctx context.Context, p engine.Principal, ws, path string) ([]*engine.Script, error)
	Archive(ctx context.Context, p engine.Principal, ws, path string) error
	Delete(ctx context.Context, p engine.Principal, ws string, h engine.Hash) error
}

// Flows keeps the versions of flows.
type Flows interface {
	// Create returns the version's number, whether it is new (false: SkipIfNoop found nothing to change), and what may be wrong.
	Create(ctx context.Context, p engine.Principal, ws string, f *engine.Flow, o engine.FlowOptions) (int64, bool, []check.Finding, error)
	Latest(ctx context.Context, p engine.Principal, ws, path string) (*engine.Flow, error)
	ByVersion(ctx context.Context, p engine.Principal, ws string, version int64) (*engine.Flow, error)
	List(ctx context.Context, p engine.Principal, ws string, f engine.FlowFilter) ([]*engine.Flow, error)
	History(ctx context.Context, p engine.Principal, ws, path string) ([]*engine.Flow, error)
	// Archive takes a flow out of use; on false brings it back.
	Archive(ctx context.Context, p engine.Principal, ws, path string, on bool) error
	// Delete removes all versions; false: there were none.
	Delete(ctx context.Context, p engine.Principal, ws, path string) (bool, error)
}

// Schedules keeps schedules, their ledgers and the calendars that they heed.
type Schedules interface {
	Create(ctx context.Context, p engine.Principal, s engine.Schedule) error
	Update(ctx context.Context, p engine.Principal, s engine.Schedule) error
	Get(ctx context.Context, p engine.Principal, ws, path string) (*engine.Schedule, error)
	List(ctx context.Context, p engine.Principal, ws string, f engine.ScheduleFilter) ([]engine.Schedule, error)
	Exists(ctx context.Context, p engine.Principal, ws, path string) (bool, error)
	Delete(ctx context.Context, p engine.Principal, ws, path string) error
	SetEnabled(ctx context.Context, p engine.Principal, ws, path string, on bool) error
	// Pause keeps a schedule from firing until a moment; nil ends the pause.
	Pause(ctx context.Context, p engine.Principal, ws, path string, until *time.Time) error
	// Preview returns the next n ticks of a schedule that need not be stored. Without a workspace it heeds no calendars.
	Preview(ctx context.Context, p engine.Principal, ws string, s engine.Schedule, n int) ([]time.Time, error)
	Ticks(ctx context.Context, p engine.Principal, ws string, f engine.TickFilter) ([]engine.Tick, error)
	Backfill(ctx context.Context, p engine.Principal, ws, path string, from, to time.Time) (int, error)
	Run(ctx context.Context, p engine.Principal, ws, path string) (uuid.UUID, error)
	PutCalendar(ctx context.Context, p engine.Principal, c engine.Calendar) error
	GetCalendar(ctx context.Context, p engine.Principal, ws, path string) (*engine.Calendar, error)
	ListCalendars(ctx context.Context, p engine.Principal, ws string) ([]engine.Calendar, error)
	DeleteCalendar(ctx context.Context, p engine.Principal, ws, path string) error
}

// Values keeps variables and resources.
type Values interface {
	CreateVariable(ctx context.Context, p engine.Principal, x engine.Variable, sealed bool) error
	GetVariable(ctx context.Context, p engine.Principal, ws, path string, s secret.Show) (*engine.Variable, error)
	ListVariables(ctx context.Context, p engine.Principal, ws string, f engine.ValueFilter) ([]engine.Variable, error)
	UpdateVariable(ctx context.Context, p engine.Principal, ws, path string, c engine.VariableChange, sealed bool) error
	DeleteVariable(ctx context.Context, p engine.Principal, ws, path string) error
	CreateResource(ctx context.Context, p engine.Principal, r engine.Resource, replace bool) error
	GetResource(ctx context.Context, p engine.Principal, ws, path string) (*engine.Resource, error)
	// ResourceValue is the value with what it refers to.
	ResourceValue(ctx context.Context, p engine.Principal, ws, path string) (json.RawMessage, error)
	ListResources(ctx context.Context, p engine.Principal, ws string, f engine.ValueFilter) ([]engine.Resource, error)
	UpdateResource(ctx context.Context, p engine.Principal, ws, path string, c engine.ResourceChange) error
	DeleteResource(ctx context.Context, p engine.Principal, ws, path string) error
	PutType(ctx context.Context, p engine.Principal, t engine.ResourceType, replace bool) error
	GetType(ctx context.Context, p engine.Principal, ws, name string) (*engine.ResourceType, error)
	ListTypes(ctx context.Context, p engine.Principal, ws string) ([]engine.ResourceType, error)
	DeleteType(ctx context.Context, p engine.Principal, ws, name string) error
}

// Tokens makes and forgets API tokens.
type Tokens interface {
	Create(ctx context.Context, p engine.Principal, r engine.TokenRequest) (secret string, t engine.Token, err error)
	List(ctx context.Context, p engine.Principal) ([]engine.Token, error)
	Delete(ctx context.Context, p engine.Principal, prefix string) error
}

// People lists and changes the members of workspaces and their groups.
type People interface {
	Members(ctx context.Context, p engine.Principal, ws string) ([]engine.Member, error)
	SetMember(ctx context.Context, p engine.Principal, m engine.Member) error
	RemoveMember(ctx context.Context, p engine.Principal, ws, username string) error
	Groups(ctx context.Context, p engine.Principal, ws string) ([]engine.Group, error)
	Group(ctx context.Context, p engine.Principal, ws, name string) (*engine.Group, error)
	CreateGroup(ctx context.Context, p engine.Principal, g engine.Group) error
	UpdateGroup(ctx context.Context, p engine.Principal, ws, name, summary string) error
	DeleteGroup(ctx context.Context, p engine.Principal, ws, name string) error
	AddToGroup(ctx context.Context, p engine.Principal, ws, name, username string) error
	RemoveFromGroup(ctx context.Context, p engine.Principal, ws, name, username string) error
}

// Workspaces lists and makes workspaces.
type Workspaces interface {
	Exists(ctx context.Context, id string) (bool, error)
	List(ctx context.Context, p engine.Principal) ([]engine.Workspace, error)
	Create(ctx context.Context, p engine.Principal, w engine.Workspace) error
}

// Health tells whether the daemon lives and whether it can take jobs now.
type Health interface {
	Live() error
	Ready(ctx context.Context) error
}

// Authenticator judges credentials; see package session.
type Authenticator = session.Authenticator

// Metrics writes metrics in Prometheus' text format.
type Metrics func(w io.Writer)
