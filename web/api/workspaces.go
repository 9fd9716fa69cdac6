package api

import (
	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/web/wire"
)

func (h *API) workspaceRoutes() []Route {
	return []Route{
		{Method: "POST", Path: "/api/workspaces/exists", Name: "existsWorkspace", Group: "workspaces", Access: User,
			Summary: "Whether there is a workspace", Body: JSONOf(wire.WorkspaceID{}), Answer: JSONOf(true), Handle: h.workspaceExists},
		{Method: "GET", Path: "/api/workspaces/list", Name: "listWorkspaces", Group: "workspaces", Access: User,
			Summary: "Workspaces open to the one who asks", Answer: JSONOf([]engine.Workspace{}), Handle: h.listWorkspaces},
		{Method: "GET", Path: "/api/workspaces/users", Name: "listUserWorkspaces", Group: "workspaces", Access: User,
			Summary: "The same, with the username in each", Answer: JSONOf(wire.Memberships{}), Handle: h.listMemberships},
		{Method: "POST", Path: "/api/workspaces/create", Name: "createWorkspace", Group: "workspaces", Access: Admin, Status: statusNew,
			Summary: "Makes a workspace", Body: JSONOf(wire.NewWorkspace{}), Answer: TextOf("its id"), Handle: h.createWorkspace},
		{Method: "GET", Path: "/api/settings/global/automate_username_creation", Name: "usernamesAreMade", Group: "workspaces", Access: User,
			Summary: "Whether usernames are the server's to choose: false, who takes somebody in may name them", Answer: JSONOf(true), Handle: usernamesAreMade},
	}
}

func (h *API) workspaceExists(a *Ask) error {
	var w wire.WorkspaceID
	if err := a.body(&w); err != nil {
		return err
	}
	exists, err := h.workspaces.Exists(a.Base, w.ID)
	if err != nil {
		return err
	}
	return JSON(a.RequestCtx, exists)
}

func (h *API) openWorkspaces(a *Ask) ([]engine.Workspace, error) {
	list, err := h.workspaces.List(a.Base, a.Who)
	if err != nil {
		return nil, err
	}
	open := []engine.Workspace{}
	for _, w := range list {
		if a.Who.Workspace == "" || a.Who.Workspace == w.ID {
			open = append(open, w)
		}
	}
	return open, nil
}

func (h *API) listWorkspaces(a *Ask) error {
	open, err := h.openWorkspaces(a)
	if err != nil {
		return err
	}
	return JSON(a.RequestCtx, open)
}

func (h *API) listMemberships(a *Ask) error {
	open, err := h.openWorkspaces(a)
	if err != nil {
		return err
	}
	m := wire.Memberships{Email: a.Who.Email, Workspaces: []wire.Membership{}}
	for _, w := range open {
		m.Workspaces = append(m.Workspaces, wire.Membership{ID: w.ID, Name: w.Name, Username: a.Who.Username})
	}
	return JSON(a.RequestCtx, m)
}

// usernamesAreMade is asked by Windmill's command line before it makes a workspace or a member: it sends a username only after a no.
func usernamesAreMade(a *Ask) error { return JSON(a.RequestCtx, false) }

func (h *API) createWorkspace(a *Ask) error {
	var n wire.NewWorkspace
	if err := a.body(&n); err != nil {
		return err
	}
	if err := engine.CheckWorkspace("workspace.create", n.ID); err != nil {
		return err
	}
	if n.Name == "" {
		n.Name = n.ID
	}
	if err := h.workspaces.Create(a.Base, a.Who, engine.Workspace{ID: n.ID, Name: n.Name, Owner: a.Who.Email}); err != nil {
		return err
	}
	Text(a.RequestCtx, statusNew, n.ID)
	return nil
}
