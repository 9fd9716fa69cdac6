package engine

import (
	"encoding/json"
	"time"

	"github.com/google/uuid"
)

// RunRequest asks for a run. Exactly one of Path, Hash and Source says what, unless Kind is KindNoop.
type RunRequest struct {
	Workspace      string
	Kind           JobKind // "": KindScript, or KindPreview with Source
	Path           string
	Hash           Hash
	Source         string
	Language       string // with Source
	Lock           *string
	Args           json.RawMessage // a JSON object; nil is {}
	Tag            string
	Priority       int16
	ScheduledFor   time.Time
	Timeout        time.Duration
	Parent         *uuid.UUID
	ID             *uuid.UUID // brought by the caller; pushing it twice is one job
	IdempotencyKey string
	Network        string
	Trigger        string
	TriggerPath    string
	Batch          *uuid.UUID
	// Event makes the request itself, for what has a preprocessor, which makes the arguments of it; it is called only then. Nil: the
	// arguments are as they are.
	Event      func() (json.RawMessage, error)
	Awaited    bool  // the caller is going to wait for the outcome
	QueueLimit int64 // so many waiting jobs of the same tag already, and the run is refused (TooMany); 0: no bound of the request's own
}

// JobFilter selects jobs for a list. Zero fields do not filter.
type JobFilter struct {
	States        []JobState
	Kinds         []JobKind
	PathExact     string
	PathStart     string
	CreatedBy     string
	Tag           string
	Schedule      string // path of the schedule that started them
	Worker        string
	Parent        *uuid.UUID
	Batch         *uuid.UUID
	CreatedAfter  time.Time
	CreatedBefore time.Time
	HasNoParent   bool
	Args          json.RawMessage // args contain this object
	Result        json.RawMessage // result contains this object
	Ascending     bool            // by creation time; newest first otherwise
	Page          int             // from 1
	PerPage       int             // 1..1000; zero: 30
}

// Update is what changed in a job since an earlier look; offsets count bytes.
type Update struct {
	View         *JobView // without logs
	Logs         string   // from the asked offset on
	LogOffset    int64    // where the next look starts
	Stream       string   // result stream chunks from the asked offset on
	StreamOffset int64
}

// Why explains why a job is not running.
type Why struct {
	State   JobState `json:"state"`
	Reasons []string `json:"reasons"` // "scheduled for 2026-12-01T00:00:00Z", "no worker takes tag gpu", "12 jobs are ahead", ...
	Ahead   int64    `json:"ahead"`   // queued jobs that would be claimed before it
	// Workers that take the job's tag, and how many of their slots are free.
	Workers   int `json:"workers"`
	FreeSlots int `json:"free_slots"`
}

// ScriptFilter selects scripts for a list.
type ScriptFilter struct {
	PathExact    string
	PathStart    string
	CreatedBy    string
	Language     string
	ShowArchived bool
	Page         int // from 1
	PerPage      int // 1..1000; zero: 30
}

// Token is what can be shown of an API token; the secret itself is shown once, at creation.
type Token struct {
	Prefix    string     `json:"token_prefix"`
	Label     string     `json:"label"`
	Username  string     `json:"username"`
	Email     string     `json:"email"`
	Admin     bool       `json:"admin"`
	Workspace string     `json:"workspace_id,omitempty"`
	CreatedAt time.Time  `json:"created_at"`
	LastUsed  *time.Time `json:"last_used_at"`
	ExpiresAt *time.Time `json:"expiration"`
}

// ScriptOptions says how a new version of a script joins its history.
type ScriptOptions struct {
	ParentHash *Hash // the version it replaces; nil: there is none, or AutoParent finds it
	AutoParent bool  // the parent is the newest version at the path, whatever ParentHash says
	SkipIfNoop bool  // answer the newest version when nothing would change
}

// TokenRequest asks for a new API token of the one who asks.
type TokenRequest struct {
	Label     string
	Workspace string     // bind it to one; "" is any
	Admin     bool       // keep the administrator's rights of the one who asks
	ExpiresAt *time.Time // nil: never
	For       string     // the email of a member whose token it is; "": of the one who asks
}
