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

// MemberToken asks for a token of somebody else's.
type MemberToken struct {
	Label       string     `json:"label,omitempty"`
	Expiration  *time.Time `json:"expiration,omitempty"`
	WorkspaceID string     `json:"workspace_id,omitempty" doc:"bind it to a workspace"`
	Email       string     `json:"impersonate_email" doc:"of a member of some workspace, or of that one"`
}

// NewMember takes somebody into a workspace.
type NewMember struct {
	Email    string `json:"email"`
	Username string `json:"username,omitempty" doc:"unless told, what stands before the @ of the email"`
	IsAdmin  bool   `json:"is_admin"`
	Operator bool   `json:"operator" doc:"accepted; every member may run what is there"`
}

// EditMember is what is to change of a member; what is missing stays.
type EditMember struct {
	IsAdmin  *bool `json:"is_admin,omitempty"`
	Operator *bool `json:"operator,omitempty" doc:"accepted; every member may run what is there"`
}

// Group is some of the members of a workspace.
type Group struct {
	WorkspaceID string          `json:"workspace_id"`
	Name        string          `json:"name"`
	Summary     string          `json:"summary"`
	Members     []string        `json:"members"`
	ExtraPerms  map[string]bool `json:"extra_perms"`
}

// NewGroup makes a group.
type NewGroup struct {
	Name    string `json:"name"`
	Summary string `json:"summary,omitempty"`
}

// EditGroup changes a group.
type EditGroup struct {
	Summary string `json:"summary"`
}

// GroupMember names who is taken into a group or out of it.
type GroupMember struct {
	Username string `json:"username"`
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
