package auth

import (
	"context"
	"strings"
	"unicode/utf8"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store"
)

// People lists and changes the members of workspaces and their groups.
type People struct{ a *Auth }

// People returns the members and groups.
func (a *Auth) People() *People { return &People{a} }

// Members returns the members of a workspace by name.
func (x *People) Members(ctx context.Context, p engine.Principal, ws string) ([]engine.Member, error) {
	if err := x.a.Can(p, Read, ws, ""); err != nil {
		return nil, err
	}
	list, err := x.a.cfg.DB.MemberShow(ctx, ws)
	if err != nil {
		return nil, failed("member.list", err)
	}
	for i := range list {
		list[i].Groups = x.a.GroupsOf(list[i].Username, ws)
	}
	return list, nil
}

// SetMember takes somebody into a workspace, or changes who administers it. The email is kept as it is when it is "".
func (x *People) SetMember(ctx context.Context, p engine.Principal, m engine.Member) error {
	const op = "member.set"
	if err := x.a.Can(p, Admin, m.Workspace, ""); err != nil {
		return err
	}
	if err := engine.CheckPath(op, "u/"+m.Username+"/x"); err != nil || strings.Contains(m.Username, "/") {
		return engine.Errorf(engine.Invalid, op, "%q is not a username", m.Username)
	}
	if len(m.Email) > 255 || !utf8.ValidString(m.Email) || strings.ContainsAny(m.Email, "\x00\n ") {
		return engine.Errorf(engine.Invalid, op, "%.60q is not an email", m.Email)
	}
	role := store.RoleDeveloper
	if m.Admin {
		role = store.RoleAdmin
	}
	if err := x.a.cfg.DB.MemberPut(ctx, store.Member{Workspace: m.Workspace, Username: m.Username, Role: role}, m.Email); err != nil {
		return failed(op, err)
	}
	return x.a.reload(ctx, op)
}

// RemoveMember takes somebody out of a workspace and its groups; their tokens that are bound to it are worthless from then on.
func (x *People) RemoveMember(ctx context.Context, p engine.Principal, ws, username string) error {
	const op = "member.remove"
	if err := x.a.Can(p, Admin, ws, ""); err != nil {
		return err
	}
	if username == p.Username {
		return &engine.Error{Code: engine.Conflict, Op: op, Path: username, Msg: "nobody removes themselves", Hint: "another administrator can"}
	}
	if _, in := x.a.house.Load().members[member{ws, username}]; !in {
		return &engine.Error{Code: engine.NotFound, Op: op, Path: username, Msg: "they are not a member of workspace " + ws}
	}
	if err := x.a.cfg.DB.MemberDelete(ctx, ws, username); err != nil {
		return failed(op, err)
	}
	x.a.known.clear()
	return x.a.reload(ctx, op)
}
