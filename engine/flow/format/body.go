package format

import "encoding/json"

// Body is what a module does: one of *RawScript, *Script, *SubFlow, *ForLoop, *WhileLoop, *BranchOne, *BranchAll, *Identity,
// *Agent and *Decision.
type Body interface {
	// Kind is the name of the kind in the format.
	Kind() string
	source() Source
}

// The kinds of modules.
const (
	KindRawScript = "rawscript"
	KindScript    = "script"
	KindFlow      = "flow"
	KindForLoop   = "forloopflow"
	KindWhileLoop = "whileloopflow"
	KindBranchOne = "branchone"
	KindBranchAll = "branchall"
	KindIdentity  = "identity"
	KindAgent     = "aiagent"
	KindDecision  = "aidecision"
)

// kinds makes an empty body of each kind.
var kinds = map[string]func() Body{
	KindRawScript: func() Body { return &RawScript{} },
	KindScript:    func() Body { return &Script{} },
	KindFlow:      func() Body { return &SubFlow{} },
	KindForLoop:   func() Body { return &ForLoop{} },
	KindWhileLoop: func() Body { return &WhileLoop{} },
	KindBranchOne: func() Body { return &BranchOne{} },
	KindBranchAll: func() Body { return &BranchAll{} },
	KindIdentity:  func() Body { return &Identity{} },
	KindAgent:     func() Body { return &Agent{} },
	KindDecision:  func() Body { return &Decision{} },
	// What a deployed rawscript is stored as elsewhere: it refers to its code by the number of a node.
	"flowscript": func() Body { return &RawScript{} },
}

// RawScript is a script written in the flow.
type RawScript struct {
	Source
	Content  string `json:"content" flow:"required"`
	Language string `json:"language" flow:"required"`
	Inputs   Inputs `json:"input_transforms" alias:"input_transform"`
	Lock     string `json:"lock"`
	Path     string `json:"path"`
	Tag      string `json:"tag"`

	ConcurrentLimit        int     `json:"concurrent_limit"`
	ConcurrencyTimeWindowS int     `json:"concurrency_time_window_s"`
	CustomConcurrencyKey   string  `json:"custom_concurrency_key" alias:"concurrency_key"`
	OnConcurrencyLimit     string  `json:"on_concurrency_limit"`
	IsTrigger              bool    `json:"is_trigger"`
	Assets                 []Asset `json:"assets"`

	file     string // name of the file that the content came from
	lockFile string
}

// Asset is data that a script reads or writes, as its editor found.
type Asset struct {
	Source
	Path          string `json:"path"`
	Kind          string `json:"kind"`        // "s3object", "resource", "ducklake", "datatable", "volume", "dbt"
	AccessType    string `json:"access_type"` // "r", "w", "rw"
	AltAccessType string `json:"alt_access_type"`
}

// Script runs a deployed script.
type Script struct {
	Source
	Path        string `json:"path" flow:"required"` // "u/..", "f/..", "hub/<id>/.."
	Hash        string `json:"hash"`                 // "": the version deployed when the step runs
	Inputs      Inputs `json:"input_transforms" alias:"input_transform"`
	TagOverride string `json:"tag_override"`
	IsTrigger   bool   `json:"is_trigger"`
}

// SubFlow runs a deployed flow.
type SubFlow struct {
	Source
	Path   string `json:"path" flow:"required"`
	Inputs Inputs `json:"input_transforms" alias:"input_transform"`
}

// ForLoop runs modules once for each item of a list.
type ForLoop struct {
	Source
	Iterator    *Input    `json:"iterator" flow:"required"`
	Modules     []*Module `json:"modules" flow:"required"`
	Skip        *bool     `json:"skip_failures"`
	Parallel    bool      `json:"parallel"`
	Parallelism *Amount   `json:"parallelism"` // how many at once; only with Parallel
	Squash      bool      `json:"squash"`      // iterations share one runner
}

// SkipFailures tells whether the loop goes on when an iteration failed. It does unless the flow says otherwise.
func (l *ForLoop) SkipFailures() bool { return l.Skip == nil || *l.Skip }

// WhileLoop runs modules until one of them stops it.
type WhileLoop struct {
	Source
	Modules      []*Module `json:"modules" flow:"required"`
	SkipFailures bool      `json:"skip_failures"`
	Squash       bool      `json:"squash"`
}

// BranchOne runs the first branch whose expression is true.
type BranchOne struct {
	Source
	Branches []*Branch `json:"branches" flow:"required"`
	Default  []*Module `json:"default" flow:"required"`
}

// BranchAll runs all its branches.
type BranchAll struct {
	Source
	Branches []*Branch `json:"branches" flow:"required"`
	Together *bool     `json:"parallel"`
}

// Parallel tells whether the branches run at the same time. They do unless the flow says otherwise.
func (b *BranchAll) Parallel() bool { return b.Together == nil || *b.Together }

// Branch is one arm of a BranchOne, which has the expression, or a BranchAll, which has what a failure means.
type Branch struct {
	Source
	Summary string    `json:"summary"`
	Expr    string    `json:"expr"` // "" is never true
	Modules []*Module `json:"modules" flow:"required"`
	Skip    *bool     `json:"skip_failure"`
}

// SkipFailure tells whether the flow goes on when this branch of a BranchAll failed. It does unless the flow says otherwise.
func (b *Branch) SkipFailure() bool { return b.Skip == nil || *b.Skip }

// Identity passes on what it was given.
type Identity struct {
	Source
	Flow bool `json:"flow"` // a marker of the editor
}

// Agent is a model with tools. Its tools are kept as they were written.
type Agent struct {
	Source
	Inputs   Inputs          `json:"input_transforms" alias:"input_transform"`
	Tools    json.RawMessage `json:"tools"`
	Parallel bool            `json:"parallel"`
	Tag      string          `json:"tag"`
	Agent    string          `json:"agent"`
}

// Decision asks a model some questions.
type Decision struct {
	Source
	Inputs Inputs `json:"input_transforms" alias:"input_transform"`
	Tag    string `json:"tag"`
}

// Kind implements Body.
func (*RawScript) Kind() string { return KindRawScript }

// Kind implements Body.
func (*Script) Kind() string { return KindScript }

// Kind implements Body.
func (*SubFlow) Kind() string { return KindFlow }

// Kind implements Body.
func (*ForLoop) Kind() string { return KindForLoop }

// Kind implements Body.
func (*WhileLoop) Kind() string { return KindWhileLoop }

// Kind implements Body.
func (*BranchOne) Kind() string { return KindBranchOne }

// Kind implements Body.
func (*BranchAll) Kind() string { return KindBranchAll }

// Kind implements Body.
func (*Identity) Kind() string { return KindIdentity }

// Kind implements Body.
func (*Agent) Kind() string { return KindAgent }

// Kind implements Body.
func (*Decision) Kind() string { return KindDecision }

func (s Source) source() Source { return s }
