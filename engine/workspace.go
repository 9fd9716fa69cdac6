package engine

import (
	"regexp"
	"time"
)

// Workspace is one separate world of scripts, jobs and people.
type Workspace struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	Owner     string    `json:"owner"` // email
	CreatedAt time.Time `json:"created_at"`
}

var workspacePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,49}$`)

// CheckWorkspace verifies that id can name a workspace.
func CheckWorkspace(op, id string) error {
	if !workspacePattern.MatchString(id) {
		return &Error{Code: Invalid, Op: op, Path: id, Msg: "not a valid workspace id",
			Hint: "use 1 to 50 lower-case letters, digits, '-' and '_'"}
	}
	return nil
}
