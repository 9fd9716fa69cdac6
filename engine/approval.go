package engine

import (
	"encoding/json"
	"time"

	"github.com/google/uuid"
)

// Answer is what somebody says to a flow, or a workflow as code, that waits for approval.
type Answer struct {
	Workspace string
	Job       uuid.UUID // whom the link is for: the job of a step, or a flow
	ResumeID  int64     // which of its links
	Approver  string    // whom the link was made for; "": anybody
	Signature string
	Approved  bool
	Payload   json.RawMessage
}

// ApprovalLink is a request for links of a job.
type ApprovalLink struct {
	Workspace string
	Job       uuid.UUID
	ResumeID  int64
	Approver  string // "": anybody
	FlowLevel bool   // for the flow of the job: it counts for whichever of its steps asks
	Step      string // in the place of ResumeID, of a workflow as code: the key of what it asks
}

// ApprovalURLs are the links of an approval, with Windmill's names.
type ApprovalURLs struct {
	ApprovalPage string `json:"approvalPage"`
	Resume       string `json:"resume"`
	Cancel       string `json:"cancel"`
}

// The states of an Approval.
const (
	ApprovalEarly    = "early"    // the step that asks has not ended: an answer is kept until it has
	ApprovalWaiting  = "waiting"  // the flow waits for answers
	ApprovalAnswered = "answered" // by this very link
	ApprovalOver     = "over"     // the flow has gone on, or ended
)

// Approval is what somebody who was asked for approval is shown.
type Approval struct {
	Workspace   string
	Flow        uuid.UUID // the outermost run
	Path        string
	AskedBy     string
	AskedAt     time.Time
	FlowState   JobState
	Step        string
	Summary     string
	Description json.RawMessage // a text, or whatever the step says
	Schema      json.RawMessage // of the form, with the choices and defaults that the step gave; nil: there is none
	HideCancel  bool
	Minimal     bool     // the question, the form and the buttons are all that is shown
	Login       bool     // an account is needed
	Groups      []string // one of which must have the account
	NoSelf      bool     // it must not be that of who started the flow
	Until       *time.Time
	Required    int
	Approvers   []FlowApprover
	State       string
	Mine        *Answered // by this link
}

// Answered is an answer that was given.
type Answered struct {
	Approved bool
	Approver string
	At       time.Time
}

// RestartRequest says where a flow takes up what an earlier run of it did.
type RestartRequest struct {
	Step   string
	Item   *int            // the first iteration or branch that runs again; nil: all
	Nested *RestartRequest // where that one, or the flow of the step, begins
	// Version of a deployed flow: "" is that of the earlier run, "latest" the one deployed now.
	Version string
	Args    json.RawMessage // take the place of arguments of the earlier run, by name
	UpTo    string          // the last step that runs; "": all
}

// FlowTest says which part of a flow that is not deployed runs.
type FlowTest struct {
	UpTo     string     // the last step that runs; "": all
	Only     string     // the only step that runs
	FromRun  *uuid.UUID // with Only: the run whose results stand in for the steps before it
	FromItem int        // with Only, within a loop or branches: which item of FromRun
	Restart  *RestartRequest
}
