package wire

import (
	"time"
)

// Me is who asks, outside a workspace.
type Me struct {
	Email        string `json:"email"`
	Username     string `json:"username"`
	Name         string `json:"name"`
	LoginType    string `json:"login_type" doc:"socket, token or job"`
	SuperAdmin   bool   `json:"super_admin"`
	IsSuperAdmin bool   `json:"is_super_admin"`
	Verified     bool   `json:"verified"`
	Disabled     bool   `json:"disabled"`
}

// Member is who asks, in a workspace.
type Member struct {
	WorkspaceID   string   `json:"workspace_id"`
	Email         string   `json:"email"`
	Username      string   `json:"username"`
	Name          string   `json:"name"`
	IsAdmin       bool     `json:"is_admin"`
	IsSuperAdmin  bool     `json:"is_super_admin"`
	Operator      bool     `json:"operator"`
	Disabled      bool     `json:"disabled"`
	Groups        []string `json:"groups"`
	Folders       []string `json:"folders"`
	FoldersOwners []string `json:"folders_owners"`
}

// NewToken asks for a token.
type NewToken struct {
	Label       string     `json:"label,omitempty"`
	Expiration  *time.Time `json:"expiration,omitempty"`
	WorkspaceID string     `json:"workspace_id,omitempty" doc:"bind it to a workspace"`
	Admin       *bool      `json:"admin,omitempty" doc:"false: without the administrator's rights of the one who asks"`
}

// WorkspaceID is the body that names a workspace.
type WorkspaceID struct {
	ID string `json:"id"`
}

// NewWorkspace asks for a workspace.
type NewWorkspace struct {
	ID       string `json:"id"`
	Name     string `json:"name,omitempty"`
	Username string `json:"username,omitempty" doc:"accepted; usernames are the same everywhere"`
}

// Memberships are the workspaces open to the one who asks.
type Memberships struct {
	Email      string       `json:"email"`
	Workspaces []Membership `json:"workspaces"`
}

// Membership is one of them.
type Membership struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Username string `json:"username"`
	Disabled bool   `json:"disabled"`
}
