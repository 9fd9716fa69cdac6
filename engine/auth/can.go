package auth

import (
	"context"
	"fmt"
	"strings"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store"
)

// The verbs of Can.
const (
	Read  = "read"  // look at it, or list what is there
	Run   = "run"   // run it, cancel its jobs
	Write = "write" // deploy, archive, delete
	Admin = "admin" // change the workspace, or with an empty workspace the instance
)

// house is a picture of workspaces and members; it is replaced, never changed.
type house struct {
	workspaces map[string]bool
	members    map[member]string         // role
	groups     map[string][]engine.Group // by workspace, in order of their names
}

type member struct{ workspace, username string }

// load takes a new picture. One at a time, so that an older one never replaces a newer.
func (a *Auth) load(ctx context.Context) error {
	a.loading.Lock()
	defer a.loading.Unlock()
	list, err := a.cfg.DB.WorkspaceList(ctx)
	if err != nil {
		return err
	}
	members, err := a.cfg.DB.MemberList(ctx)
	if err != nil {
		return err
	}
	groups, err := a.cfg.DB.GroupAll(ctx)
	if err != nil {
		return err
	}
	h := &house{workspaces: make(map[string]bool, len(list)), members: make(map[member]string, len(members)), groups: map[string][]engine.Group{}}
	for _, w := range list {
		h.workspaces[w.ID] = true
	}
	for _, m := range members {
		h.members[member{m.Workspace, m.Username}] = m.Role
	}
	for _, g := range groups {
		h.groups[g.Workspace] = append(h.groups[g.Workspace], g)
	}
	a.house.Store(h)
	return nil
}

// Can returns nil when p may do verb to path in the workspace ws. An empty path is all or any of them, an empty ws the
// instance. It is the only gate; the package's introduction has its rules. A yes allocates nothing.
func (a *Auth) Can(p engine.Principal, verb, ws, path string) error {
	h := a.house.Load()
	switch {
	case p.Username == "":
		return &engine.Error{Code: engine.Unauthorized, Op: verb, Path: path, Msg: "nobody asks"}
	case ws == "":
		if p.Admin && p.Workspace == "" {
			return nil
		}
		return forbidden(p, verb, "the instance", "only its administrators may, with a token that is not bound to a workspace")
	case p.Workspace != "" && p.Workspace != ws:
		return forbidden(p, verb, "workspace "+ws, "the token is bound to workspace "+p.Workspace)
	case !h.workspaces[ws]:
		return &engine.Error{Code: engine.NotFound, Op: verb, Path: path, Msg: "there is no workspace " + ws}
	case p.Admin && p.Via != "job":
		return nil
	case p.Via == "job":
		if verb == Read || verb == Run {
			return nil
		}
		return forbidden(p, verb, name(ws, path), "a job may read and run, in its own workspace")
	}
	role, in := h.members[member{ws, p.Username}]
	switch {
	case role == store.RoleAdmin:
		return nil
	case !in && p.Workspace != ws:
		return forbidden(p, verb, "workspace "+ws, p.Username+" is not a member of it")
	case verb == Read || verb == Run:
		return nil
	case verb == Write && owns(path, p.Username):
		return nil
	case verb == Write:
		return forbidden(p, verb, name(ws, path), "you may write below u/"+p.Username+"/; administrators of the workspace may everywhere")
	}
	return forbidden(p, verb, name(ws, path), "only administrators of the workspace may")
}

// owns tells whether path is below u/<user>/.
func owns(path, user string) bool {
	rest, ok := strings.CutPrefix(path, "u/")
	return ok && len(rest) > len(user)+1 && rest[:len(user)] == user && rest[len(user)] == '/'
}

func name(ws, path string) string {
	if path == "" {
		return "workspace " + ws
	}
	return path
}

func forbidden(p engine.Principal, verb, what, hint string) error {
	return &engine.Error{Code: engine.Forbidden, Op: verb, Msg: fmt.Sprintf("%s may not %s %s", p.Username, verb, what), Hint: hint}
}
