package wire

import (
	"encoding/json"
	"strings"
	"time"
)

// Script is a version of a script as clients read it, with Windmill's field names. Further fields that a client sent
// come back as they were.
type Script struct {
	WorkspaceID   string          `json:"workspace_id"`
	Hash          string          `json:"hash"`
	Path          string          `json:"path"`
	ParentHashes  []string        `json:"parent_hashes"`
	Summary       string          `json:"summary"`
	Description   string          `json:"description"`
	Content       string          `json:"content,omitempty"`
	Language      string          `json:"language"`
	Kind          string          `json:"kind"`
	Schema        json.RawMessage `json:"schema,omitempty"`
	Lock          *string         `json:"lock,omitempty"`
	LockErrorLogs string          `json:"lock_error_logs,omitempty"`
	Tag           string          `json:"tag,omitempty"`
	Timeout       int64           `json:"timeout,omitempty" doc:"seconds"`
	Network       string          `json:"network,omitempty" doc:"none, egress or host"`
	Archived      bool            `json:"archived"`
	Deleted       bool            `json:"deleted"`
	CreatedBy     string          `json:"created_by"`
	CreatedAt     time.Time       `json:"created_at"`
	DeploymentMsg string          `json:"deployment_msg,omitempty"`
	ErrorMuted    bool            `json:"ws_error_handler_muted"`
	IsTemplate    bool            `json:"is_template"`
	Starred       bool            `json:"starred"`
	ExtraPerms    struct{}        `json:"extra_perms"`
}

// NewScript is the body of a create.
type NewScript struct {
	Path        string          `json:"path"`
	Content     string          `json:"content"`
	Language    string          `json:"language"`
	Summary     string          `json:"summary,omitempty"`
	Description string          `json:"description,omitempty"`
	Kind        string          `json:"kind,omitempty"`
	Schema      json.RawMessage `json:"schema,omitempty" doc:"absent: read from the source"`
	Lock        *LockText       `json:"lock,omitempty" doc:"absent: dependencies are resolved; empty: there are none"`
	Tag         string          `json:"tag,omitempty"`
	Timeout     int64           `json:"timeout,omitempty" doc:"seconds"`
	Network     string          `json:"network,omitempty" doc:"none, egress or host"`
	ParentHash  string          `json:"parent_hash,omitempty" doc:"the version that this one replaces"`
	AutoParent  bool            `json:"auto_parent,omitempty" doc:"replace whatever is newest"`
	Message     string          `json:"deployment_message,omitempty"`
	// More are further fields by name, such as limits; a field above with the same name wins.
	More map[string]json.RawMessage `json:"-"`
}

// Version is an entry of a script's history.
type Version struct {
	Hash      string    `json:"script_hash"`
	CreatedAt time.Time `json:"created_at"`
	CreatedBy string    `json:"created_by"`
	Message   string    `json:"deployment_msg,omitempty"`
	Archived  bool      `json:"archived"`
}

// LockText is a lock as text or as a list of lines.
type LockText string

func (l *LockText) UnmarshalJSON(b []byte) error {
	var lines []string
	if json.Unmarshal(b, &lines) == nil && lines != nil {
		*l = LockText(strings.Join(lines, "\n"))
		return nil
	}
	return json.Unmarshal(b, (*string)(l))
}
