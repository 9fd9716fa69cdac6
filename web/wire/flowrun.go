package wire

import (
	"encoding/json"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
)

// Restart is the body of a restart: where a flow takes up what an earlier run of it did.
type Restart struct {
	StepID      string          `json:"step_id" doc:"the first step that runs again"`
	Item        *int            `json:"branch_or_iteration_n,omitempty" doc:"of a loop or branches: the first one that runs again; absent: all"`
	Nested      *RestartNested  `json:"nested,omitempty" doc:"where that one, or the flow of the step, begins"`
	FlowVersion VersionName     `json:"flow_version,omitempty" doc:"of a deployed flow: absent is that of the earlier run, latest the one deployed now"`
	Args        json.RawMessage `json:"args,omitempty" doc:"take the place of arguments of the earlier run, by name"`
	UpTo        string          `json:"up_to,omitempty" doc:"the last step that runs"`
}

// RestartNested is a Restart within another.
type RestartNested struct {
	StepID string         `json:"step_id"`
	Item   *int           `json:"branch_or_iteration_n,omitempty"`
	Nested *RestartNested `json:"nested,omitempty"`
}

// VersionName is a version as a text or a number.
type VersionName string

// UnmarshalJSON takes both.
func (v *VersionName) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] != '"' {
		*v = VersionName(b)
		if string(b) == "null" {
			*v = ""
		}
		return nil
	}
	return json.Unmarshal(b, (*string)(v))
}

// RestartedFrom is a Restart of a flow that is not deployed.
type RestartedFrom struct {
	FlowJobID uuid.UUID      `json:"flow_job_id"`
	StepID    string         `json:"step_id"`
	Item      *int           `json:"branch_or_iteration_n,omitempty"`
	Nested    *RestartNested `json:"nested,omitempty"`
}

// ResumeBody answers a flow that waits for approval.
type ResumeBody struct {
	Payload  json.RawMessage `json:"payload,omitempty"`
	Approved *bool           `json:"approved,omitempty" doc:"false: it is refused"`
}

// WaitingFlow is a flow that waits for approval, for who follows a link.
type WaitingFlow struct {
	Job       *Job                  `json:"job"`
	Approvers []engine.FlowApprover `json:"approvers"`
}
