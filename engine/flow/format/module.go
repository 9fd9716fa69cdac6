package format

import "encoding/json"

// Module is one step.
type Module struct {
	Source
	ID      string `json:"id"` // unique in the flow; FillIDs gives one to those without
	Summary string `json:"summary"`
	Value   Body   `json:"value" flow:"required"`

	StopAfterIf         *StopIf `json:"stop_after_if"`           // after the step; on a loop after each iteration
	StopAfterAllItersIf *StopIf `json:"stop_after_all_iters_if"` // after a loop or all branches
	SkipIf              *Cond   `json:"skip_if"`
	Sleep               *Input  `json:"sleep"` // seconds to wait after the step, before the next one

	CacheTTL          float64    `json:"cache_ttl"` // seconds
	CacheIgnoreS3Path bool       `json:"cache_ignore_s3_path"`
	Timeout           *Amount    `json:"timeout"` // seconds
	DeleteAfterSecs   *int       `json:"delete_after_secs"`
	DeleteAfterUse    bool       `json:"delete_after_use"` // the older form: delete_after_secs 0
	Mock              *Mock      `json:"mock"`
	Suspend           *Suspend   `json:"suspend"`
	Priority          int        `json:"priority"`
	ContinueOnError   bool       `json:"continue_on_error"` // the error becomes the result, after retries
	Retry             *Retry     `json:"retry"`
	Debouncing        *StepDelay `json:"debouncing"`
}

// DeleteAfter returns the seconds after which what the step stored is deleted, in either of the two forms.
func (m *Module) DeleteAfter() (seconds int, ok bool) {
	switch {
	case m.DeleteAfterSecs != nil:
		return *m.DeleteAfterSecs, true
	case m.DeleteAfterUse:
		return 0, true
	}
	return 0, false
}

// Cond is an expression that is taken as true or false.
type Cond struct {
	Source
	Expr string `json:"expr" flow:"required"`
}

// StopIf ends a flow, or a loop, early when its expression is true.
type StopIf struct {
	Source
	Expr          string `json:"expr" flow:"required"`
	SkipIfStopped bool   `json:"skip_if_stopped"` // the flow counts as skipped, not as a success
	// ErrorMessage nil: the flow ends well. Otherwise it ends with this error, with a standard one when it is "".
	ErrorMessage       *string `json:"error_message"`
	ErrorIncludeResult bool    `json:"error_include_result"` // the step's result goes into the error
}

// Mock is a result that stands for running the step.
type Mock struct {
	Source
	Enabled     bool            `json:"enabled"`
	ReturnValue json.RawMessage `json:"return_value"`
}

// StepDelay debounces a step across runs of the flow.
type StepDelay struct {
	Source
	Debounce
}

// Suspend holds the flow after a step until it is approved.
type Suspend struct {
	Source
	RequiredEvents              int             `json:"required_events"` // 0: no gate
	Timeout                     int             `json:"timeout"`         // seconds; 0: DefaultSuspend
	ResumeForm                  *ResumeForm     `json:"resume_form"`
	UserAuthRequired            bool            `json:"user_auth_required"`
	UserGroupsRequired          *Input          `json:"user_groups_required"` // gives a list of names
	SelfApprovalDisabled        bool            `json:"self_approval_disabled"`
	HideCancel                  bool            `json:"hide_cancel"`
	ContinueOnDisapproveTimeout bool            `json:"continue_on_disapprove_timeout"`
	Skin                        string          `json:"skin"` // "detailed" or "minimal"
	Description                 json.RawMessage `json:"description"`
}

// SkinMinimal has the page of an approval show the question, the form and the buttons only.
const SkinMinimal = "minimal"

// DefaultSuspend is how many seconds a suspended step waits when it does not say.
const DefaultSuspend = 1800

// Gate tells whether the step waits for somebody at all.
func (s *Suspend) Gate() bool { return s != nil && s.RequiredEvents > 0 }

// ResumeForm is what an approver fills in.
type ResumeForm struct {
	Source
	Schema json.RawMessage `json:"schema"`
}
