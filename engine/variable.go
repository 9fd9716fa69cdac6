package engine

import (
	"encoding/json"
	"time"
)

// Variable is a text with a name that scripts and flows read. A secret one is stored encrypted.
type Variable struct {
	Workspace   string
	Path        string
	Value       string // of a secret: "" unless it was asked for
	IsSecret    bool
	Description string
	ExpiresAt   *time.Time
	EditedBy    string
	EditedAt    time.Time
}

// VariableChange is what an update of a variable changes; nil keeps.
type VariableChange struct {
	Path, Value, Description *string
	IsSecret                 *bool
}

// Resource is a JSON value with a name and a type, such as the address of a database. Its texts may refer to variables
// ("$var:u/ann/password") and resources ("$res:f/db/main").
type Resource struct {
	Workspace   string
	Path        string
	Type        string
	Value       json.RawMessage
	Description string
	CreatedBy   string
	EditedBy    string
	EditedAt    time.Time
}

// ResourceChange is what an update of a resource changes; nil keeps.
type ResourceChange struct {
	Path, Type, Description *string
	Value                   json.RawMessage
}

// ResourceType says what resources of a type look like.
type ResourceType struct {
	Workspace       string
	Name            string
	Schema          json.RawMessage // JSON Schema; nil: none
	Description     string
	FormatExtension string // of a type whose resources are files
	IsFileset       bool
	EditedBy        string
	EditedAt        time.Time
}

// ValueFilter selects variables or resources of a workspace by path.
type ValueFilter struct {
	Path      string // exactly this one
	PathStart string
	Type      string // of resources; several with commas
	TypeNot   string // types that are left out
	Limit     int
	Offset    int
}
