package engine

import (
	"encoding/json"
	"time"

	"github.com/google/uuid"
)

// FlowStatus is how far a flow is, in the shape of OpenFlow. It is made of what is stored when somebody asks.
type FlowStatus struct {
	Step               int                        `json:"step" doc:"index of the module at work; -1: the preprocessor, the number of modules: none any more"`
	Modules            []FlowStatusModule         `json:"modules"`
	FailureModule      FlowStatusModule           `json:"failure_module"`
	PreprocessorModule *FlowStatusModule          `json:"preprocessor_module,omitempty"`
	Retry              FlowRetry                  `json:"retry"`
	ApprovalConditions *ApprovalConditions        `json:"approval_conditions,omitempty" doc:"while the flow waits for approval"`
	UserStates         map[string]json.RawMessage `json:"user_states,omitempty"`
	RestartedFrom      *RestartedFrom             `json:"restarted_from,omitempty"`
}

// The types of FlowStatusModule.
const (
	ModuleWaitsForPrior    = "WaitingForPriorSteps"
	ModuleWaitsForEvents   = "WaitingForEvents"
	ModuleWaitsForExecutor = "WaitingForExecutor"
	ModuleInProgress       = "InProgress"
	ModuleSuccess          = "Success"
	ModuleFailure          = "Failure"
)

// FlowStatusModule is how far a module is. Which fields are there depends on Type.
type FlowStatusModule struct {
	Type          string          `json:"type" doc:"WaitingForPriorSteps, WaitingForEvents, WaitingForExecutor, InProgress, Success or Failure"`
	ID            string          `json:"id"`
	Job           *uuid.UUID      `json:"job,omitempty"`
	Count         int             `json:"count,omitempty" doc:"approvals that are missing"`
	Iterator      *FlowIterator   `json:"iterator,omitempty"`
	FlowJobs      []uuid.UUID     `json:"flow_jobs,omitempty" doc:"of a loop or branches, by item"`
	JobsSuccess   []*bool         `json:"flow_jobs_success,omitempty"`
	JobsDuration  *FlowDurations  `json:"flow_jobs_duration,omitempty"`
	BranchChosen  *BranchChosen   `json:"branch_chosen,omitempty"`
	BranchAll     *BranchProgress `json:"branchall,omitempty"`
	Parallel      bool            `json:"parallel,omitempty"`
	WhileLoop     bool            `json:"while_loop,omitempty"`
	Approvers     []FlowApprover  `json:"approvers,omitempty"`
	FailedRetries []uuid.UUID     `json:"failed_retries,omitempty"`
	Skipped       bool            `json:"skipped,omitempty"`
	StartedAt     *time.Time      `json:"started_at,omitempty" doc:"of its last job"`
	DurationMS    *float64        `json:"duration_ms,omitempty" doc:"of its last job"`
}

// FlowIterator is where a loop is.
type FlowIterator struct {
	Index int  `json:"index"`
	Len   *int `json:"itered_len,omitempty" doc:"absent: nobody knows yet"`
}

// FlowDurations are when items began, and how long they took.
type FlowDurations struct {
	StartedAt  []*time.Time `json:"started_at"`
	DurationMS []*float64   `json:"duration_ms"`
}

// BranchChosen is the branch that was taken.
type BranchChosen struct {
	Type   string `json:"type" doc:"branch or default"`
	Branch *int   `json:"branch,omitempty"`
}

// BranchProgress is how many branches have been started.
type BranchProgress struct {
	Branch int `json:"branch"`
	Len    int `json:"len"`
}

// FlowApprover is somebody who approved, and by which link.
type FlowApprover struct {
	ResumeID int64  `json:"resume_id"`
	Approver string `json:"approver"`
}

// FlowRetry counts the failed attempts of the module at work.
type FlowRetry struct {
	FailCount  int         `json:"fail_count"`
	FailedJobs []uuid.UUID `json:"failed_jobs,omitempty"`
}

// ApprovalConditions say who may approve.
type ApprovalConditions struct {
	UserAuthRequired     bool     `json:"user_auth_required"`
	UserGroupsRequired   []string `json:"user_groups_required"`
	SelfApprovalDisabled bool     `json:"self_approval_disabled"`
}

// RestartedFrom says where a flow took up what another run did.
type RestartedFrom struct {
	FlowJobID uuid.UUID      `json:"flow_job_id"`
	StepID    string         `json:"step_id"`
	Item      *int           `json:"branch_or_iteration_n,omitempty"`
	Branch    *int           `json:"branch_chosen,omitempty"`
	Nested    *RestartedFrom `json:"nested,omitempty"`
}
