package api

import (
	"slices"
	"strings"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/web/wire"
)

func (h *API) memberRoutes() []Route {
	const u = "/api/w/{workspace}/users/"
	name := TextOf("the username")
	return []Route{
		{Method: "GET", Path: u + "list", Name: "listUsers", Group: "users", Access: User,
			Summary: "The members of a workspace", Answer: JSONOf([]wire.Member{}), Handle: h.listMembers},
		{Method: "GET", Path: u + "list_usernames", Name: "listUsernames", Group: "users", Access: User,
			Summary: "Their usernames", Answer: JSONOf([]string{}), Handle: h.listUsernames},
		{Method: "GET", Path: u + "get/{username}", Name: "getUser", Group: "users", Access: User,
			Summary: "One member", Answer: JSONOf(wire.Member{}), Handle: h.getMember},
		{Method: "POST", Path: "/api/w/{workspace}/workspaces/add_user", Name: "addUser", Group: "users", Access: User, Status: statusNew,
			Summary: "Takes somebody into a workspace", Body: JSONOf(wire.NewMember{}), Answer: name, Handle: h.addMember},
		{Method: "POST", Path: u + "update/{username}", Name: "updateUser", Group: "users", Access: User,
			Summary: "Makes a member an administrator of the workspace, or no longer one", Body: JSONOf(wire.EditMember{}), Answer: name, Handle: h.updateMember},
		{Method: "DELETE", Path: u + "delete/{username}", Name: "deleteUser", Group: "users", Access: User,
			Summary: "Takes somebody out of a workspace, with their tokens for it", Answer: name, Handle: h.deleteMember},
	}
}

func viewMember(m engine.Member) wire.Member {
	return wire.Member{WorkspaceID: m.Workspace, Email: m.Email, Username: m.Username, Name: m.Username, IsAdmin: m.Admin, Groups: m.Groups,
		Folders: []string{}, FoldersOwners: []string{}}
}

func (h *API) listMembers(a *Ask) error {
	list, err := h.people.Members(a.Base, a.Who, a.Workspace)
	if err != nil {
		return err
	}
	out := make([]wire.Member, 0, len(list))
	for _, m := range list {
		out = append(out, viewMember(m))
	}
	return JSON(a.RequestCtx, out)
}

func (h *API) listUsernames(a *Ask) error {
	list, err := h.people.Members(a.Base, a.Who, a.Workspace)
	if err != nil {
		return err
	}
	out := make([]string, 0, len(list))
	for _, m := range list {
		out = append(out, m.Username)
	}
	return JSON(a.RequestCtx, out)
}

// member finds who is named in the path.
func (h *API) member(a *Ask) (m engine.Member, err error) {
	name, err := a.param("username")
	if err != nil {
		return m, err
	}
	list, err := h.people.Members(a.Base, a.Who, a.Workspace)
	if err != nil {
		return m, err
	}
	i := slices.IndexFunc(list, func(m engine.Member) bool { return m.Username == name })
	if i < 0 {
		return m, notFound("user %s in workspace %s", name, a.Workspace)
	}
	return list[i], nil
}

func (h *API) getMember(a *Ask) error {
	m, err := h.member(a)
	if err != nil {
		return err
	}
	return JSON(a.RequestCtx, viewMember(m))
}

func (h *API) addMember(a *Ask) error {
	var n wire.NewMember
	if err := a.body(&n); err != nil {
		return err
	}
	if n.Username == "" {
		n.Username, _, _ = strings.Cut(n.Email, "@")
	}
	if err := h.people.SetMember(a.Base, a.Who, engine.Member{Workspace: a.Workspace, Username: n.Username, Email: n.Email, Admin: n.IsAdmin}); err != nil {
		return err
	}
	Text(a.RequestCtx, statusNew, n.Username)
	return nil
}

func (h *API) updateMember(a *Ask) error {
	var e wire.EditMember
	if err := a.body(&e); err != nil {
		return err
	}
	m, err := h.member(a)
	if err == nil && e.IsAdmin != nil {
		m.Admin = *e.IsAdmin
		err = h.people.SetMember(a.Base, a.Who, m)
	}
	return a.answerPath(m.Username, err)
}

func (h *API) deleteMember(a *Ask) error {
	name, err := a.param("username")
	if err != nil {
		return err
	}
	return a.answerPath(name, h.people.RemoveMember(a.Base, a.Who, a.Workspace, name))
}
