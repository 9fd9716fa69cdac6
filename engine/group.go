package engine

import "regexp"

// Everybody is the group of all members of a workspace. It is always there.
const Everybody = "all"

// Group is some of the members of a workspace.
type Group struct {
	Workspace, Name, Summary string
	Members                  []string // usernames, in order
}

// Member is somebody's place in a workspace.
type Member struct {
	Workspace, Username, Email string
	Admin                      bool // of the workspace
	Groups                     []string
}

var groupPattern = regexp.MustCompile(`^[a-zA-Z_0-9-]{1,50}$`)

// CheckGroup verifies that name can name a group.
func CheckGroup(op, name string) error {
	if !groupPattern.MatchString(name) {
		return &Error{Code: Invalid, Op: op, Path: name, Msg: "not a valid name of a group", Hint: "use 1 to 50 letters, digits, '-' and '_'"}
	}
	return nil
}
