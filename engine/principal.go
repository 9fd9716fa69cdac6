package engine

// Principal is who asks. Every engine entry point takes one.
type Principal struct {
	Username  string
	Email     string
	Admin     bool   // of the whole instance
	Workspace string // tokens may be bound to one; "" is any
	Via       string // "socket", "token", "job"
	JobID     string // for a job's own token
}

// PermissionedAs is the owner that jobs started by p run as.
func (p Principal) PermissionedAs() string { return "u/" + p.Username }
