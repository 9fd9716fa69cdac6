package wire

import (
	"encoding/json"
	"time"
)

// Flow is a version of a flow as clients read it, with Windmill's field names. Further fields that a client sent come back as they
// were.
type Flow struct {
	WorkspaceID   string          `json:"workspace_id"`
	VersionID     int64           `json:"version_id"`
	Path          string          `json:"path"`
	Summary       string          `json:"summary"`
	Description   string          `json:"description"`
	Value         json.RawMessage `json:"value,omitempty" doc:"what it does, in the OpenFlow format, as it was sent"`
	Schema        json.RawMessage `json:"schema,omitempty" doc:"JSON Schema of its arguments"`
	LockErrorLogs string          `json:"lock_error_logs,omitempty"`
	Tag           string          `json:"tag,omitempty"`
	Timeout       int64           `json:"timeout,omitempty" doc:"seconds"`
	Archived      bool            `json:"archived"`
	EditedBy      string          `json:"edited_by"`
	EditedAt      time.Time       `json:"edited_at"`
	DeploymentMsg string          `json:"deployment_msg,omitempty"`
	ErrorMuted    bool            `json:"ws_error_handler_muted"`
	Starred       bool            `json:"starred"`
	ExtraPerms    struct{}        `json:"extra_perms"`
}

// NewFlow is the body of a create or an update.
type NewFlow struct {
	Path        string          `json:"path,omitempty" doc:"of an update: absent, it stays; another one, the flow moves there"`
	Summary     string          `json:"summary"`
	Description string          `json:"description,omitempty"`
	Value       json.RawMessage `json:"value" doc:"what it does, in the OpenFlow format"`
	Schema      json.RawMessage `json:"schema,omitempty" doc:"JSON Schema of its arguments"`
	Tag         string          `json:"tag,omitempty"`
	Timeout     int64           `json:"timeout,omitempty" doc:"seconds"`
	Priority    int             `json:"priority,omitempty" doc:"0 to 100; higher goes first"`
	Message     string          `json:"deployment_message,omitempty"`
}

// FlowVersion is an entry of a flow's history.
type FlowVersion struct {
	ID        int64     `json:"id"`
	CreatedAt time.Time `json:"created_at"`
	CreatedBy string    `json:"created_by"`
	Message   string    `json:"deployment_msg,omitempty"`
	Archived  bool      `json:"archived"`
}

// FlowDeployed is what a create or an update did, for those who ask for JSON.
type FlowDeployed struct {
	Path     string        `json:"path"`
	Version  int64         `json:"version"`
	Created  bool          `json:"created" doc:"false: nothing had changed"`
	Warnings []FlowWarning `json:"warnings"`
}

// FlowWarning is something in a flow that may be wrong.
type FlowWarning struct {
	Module  string `json:"module,omitempty"`
	Field   string `json:"field,omitempty"`
	Line    int    `json:"line,omitempty" doc:"in the value as it was sent"`
	Column  int    `json:"column,omitempty"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

// FlowArchive is the body of an archive.
type FlowArchive struct {
	Archived *bool `json:"archived,omitempty" doc:"false: back into use"`
}
