package engine

import (
	"time"

	"github.com/google/uuid"
)

// WorkflowStep is something that a workflow as code has asked for.
type WorkflowStep struct {
	Key       string     `json:"key"`  // the name, and how often it was asked for before: "load", "load_2"
	Kind      string     `json:"kind"` // "step", "task", "sleep", "approval"
	State     JobState   `json:"state"`
	StartedAt *time.Time `json:"started_at,omitempty"` // when it was asked for; of a step it is not known
	EndedAt   *time.Time `json:"ended_at,omitempty"`
	Job       *uuid.UUID `json:"job,omitempty"`      // of a task, the latest when it was tried again
	Tries     int32      `json:"tries,omitempty"`    // how often the task was tried before
	Approved  *bool      `json:"approved,omitempty"` // of an approval that was answered
}

// StateWaiting is that of a WorkflowStep that is not over.
const StateWaiting JobState = "waiting"
