package wire

import (
	"encoding/json"
	"time"
)

// NewVariable is what a variable is made of.
type NewVariable struct {
	Path        string     `json:"path"`
	Value       string     `json:"value"`
	IsSecret    bool       `json:"is_secret"`
	Description string     `json:"description"`
	ExpiresAt   *time.Time `json:"expires_at,omitempty"`
}

// EditVariable is what is to change of a variable; what is missing stays.
type EditVariable struct {
	Path        *string `json:"path,omitempty"`
	Value       *string `json:"value,omitempty"`
	IsSecret    *bool   `json:"is_secret,omitempty"`
	Description *string `json:"description,omitempty"`
}

// Variable is a variable. Value is missing where a secret is not shown.
type Variable struct {
	WorkspaceID string          `json:"workspace_id"`
	Path        string          `json:"path"`
	Value       *string         `json:"value,omitempty"`
	IsSecret    bool            `json:"is_secret"`
	Description string          `json:"description"`
	ExtraPerms  map[string]bool `json:"extra_perms"`
	ExpiresAt   *time.Time      `json:"expires_at,omitempty"`
	IsExpired   bool            `json:"is_expired"`
	EditedBy    string          `json:"edited_by"`
	EditedAt    time.Time       `json:"edited_at"`
}

// NewResource is what a resource is made of.
type NewResource struct {
	Path         string          `json:"path"`
	Value        json.RawMessage `json:"value"`
	ResourceType string          `json:"resource_type"`
	Description  string          `json:"description"`
}

// EditResource is what is to change of a resource; what is missing stays.
type EditResource struct {
	Path         *string         `json:"path,omitempty"`
	Value        json.RawMessage `json:"value,omitempty"`
	ResourceType *string         `json:"resource_type,omitempty"`
	Description  *string         `json:"description,omitempty"`
}

// ResourceValue is a new value of a resource.
type ResourceValue struct {
	Value        json.RawMessage `json:"value"`
	ResourceType *string         `json:"resource_type,omitempty"`
}

// Resource is a resource, its references not followed.
type Resource struct {
	WorkspaceID  string          `json:"workspace_id"`
	Path         string          `json:"path"`
	Value        json.RawMessage `json:"value"`
	ResourceType string          `json:"resource_type"`
	Description  string          `json:"description"`
	ExtraPerms   map[string]bool `json:"extra_perms"`
	IsOauth      bool            `json:"is_oauth"`
	CreatedBy    string          `json:"created_by"`
	EditedBy     string          `json:"edited_by"`
	EditedAt     time.Time       `json:"edited_at"`
}

// NewResourceType is what a type of resources is made of; its name is left out when it is updated.
type NewResourceType struct {
	Name            string          `json:"name"`
	Schema          json.RawMessage `json:"schema,omitempty"`
	Description     string          `json:"description"`
	FormatExtension string          `json:"format_extension,omitempty"`
	IsFileset       bool            `json:"is_fileset,omitempty"`
}

// ResourceType is a type of resources.
type ResourceType struct {
	WorkspaceID     string          `json:"workspace_id"`
	Name            string          `json:"name"`
	Schema          json.RawMessage `json:"schema"`
	Description     string          `json:"description"`
	FormatExtension string          `json:"format_extension,omitempty"`
	IsFileset       bool            `json:"is_fileset"`
	CreatedBy       string          `json:"created_by"`
	EditedAt        time.Time       `json:"edited_at"`
}
