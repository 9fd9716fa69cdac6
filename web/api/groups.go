package api

import (
	"context"
	"slices"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/web/wire"
)

func (h *API) groupRoutes() []Route {
	const g = "/api/w/{workspace}/groups/"
	name := TextOf("the name")
	mine := query("only_member_of", "boolean", "only groups that the one who asks is in")
	return []Route{
		{Method: "GET", Path: g + "list", Name: "listGroups", Group: "groups", Access: User, Params: pageParams,
			Summary: "Groups with their members; all is every member", Answer: JSONOf([]wire.Group{}), Handle: h.listGroups},
		{Method: "GET", Path: g + "listnames", Name: "listGroupNames", Group: "groups", Access: User, Params: []Param{mine},
			Summary: "Names of groups", Answer: JSONOf([]string{}), Handle: h.listGroupNames},
		{Method: "GET", Path: g + "get/{name}", Name: "getGroup", Group: "groups", Access: User,
			Summary: "A group", Answer: JSONOf(wire.Group{}), Handle: h.getGroup},
		{Method: "POST", Path: g + "create", Name: "createGroup", Group: "groups", Access: User, Status: statusNew,
			Summary: "Makes a group", Body: JSONOf(wire.NewGroup{}), Answer: name, Handle: h.createGroup},
		{Method: "POST", Path: g + "update/{name}", Name: "updateGroup", Group: "groups", Access: User,
			Summary: "Changes the summary of a group", Body: JSONOf(wire.EditGroup{}), Answer: name, Handle: h.updateGroup},
		{Method: "DELETE", Path: g + "delete/{name}", Name: "deleteGroup", Group: "groups", Access: User,
			Summary: "Deletes a group", Answer: name, Handle: h.deleteGroup},
		{Method: "POST", Path: g + "adduser/{name}", Name: "addUserToGroup", Group: "groups", Access: User,
			Summary: "Takes a member of the workspace into a group", Body: JSONOf(wire.GroupMember{}), Answer: name, Handle: h.changesGroup(People.AddToGroup)},
		{Method: "POST", Path: g + "removeuser/{name}", Name: "removeUserToGroup", Group: "groups", Access: User,
			Summary: "Takes somebody out of a group", Body: JSONOf(wire.GroupMember{}), Answer: name, Handle: h.changesGroup(People.RemoveFromGroup)},
	}
}

func viewGroup(g engine.Group) wire.Group {
	return wire.Group{WorkspaceID: g.Workspace, Name: g.Name, Summary: g.Summary, Members: g.Members, ExtraPerms: map[string]bool{}}
}

func (h *API) listGroups(a *Ask) error {
	o := a.options()
	page, per := o.page(false)
	if o.err != nil {
		return o.err
	}
	list, err := h.people.Groups(a.Base, a.Who, a.Workspace)
	if err != nil {
		return err
	}
	from := min((page-1)*per, len(list))
	out := []wire.Group{}
	for _, g := range list[from:min(from+per, len(list))] {
		out = append(out, viewGroup(g))
	}
	return JSON(a.RequestCtx, out)
}

func (h *API) listGroupNames(a *Ask) error {
	o := a.options()
	mine := o.on("only_member_of")
	if o.err != nil {
		return o.err
	}
	list, err := h.people.Groups(a.Base, a.Who, a.Workspace)
	if err != nil {
		return err
	}
	out := []string{}
	for _, g := range list {
		if !mine || slices.Contains(g.Members, a.Who.Username) {
			out = append(out, g.Name)
		}
	}
	return JSON(a.RequestCtx, out)
}

func (h *API) getGroup(a *Ask) error {
	name, err := a.param("name")
	if err != nil {
		return err
	}
	g, err := h.people.Group(a.Base, a.Who, a.Workspace, name)
	if err != nil {
		return err
	}
	return JSON(a.RequestCtx, viewGroup(*g))
}

func (h *API) createGroup(a *Ask) error {
	var n wire.NewGroup
	if err := a.body(&n); err != nil {
		return err
	}
	if err := h.people.CreateGroup(a.Base, a.Who, engine.Group{Workspace: a.Workspace, Name: n.Name, Summary: n.Summary}); err != nil {
		return err
	}
	Text(a.RequestCtx, statusNew, n.Name)
	return nil
}

func (h *API) updateGroup(a *Ask) error {
	name, err := a.param("name")
	if err != nil {
		return err
	}
	var e wire.EditGroup
	if err := a.body(&e); err != nil {
		return err
	}
	return a.answerPath(name, h.people.UpdateGroup(a.Base, a.Who, a.Workspace, name, e.Summary))
}

func (h *API) deleteGroup(a *Ask) error {
	name, err := a.param("name")
	if err != nil {
		return err
	}
	return a.answerPath(name, h.people.DeleteGroup(a.Base, a.Who, a.Workspace, name))
}

// changesGroup answers a request that names somebody.
func (h *API) changesGroup(do func(x People, ctx context.Context, p engine.Principal, ws, name, username string) error) func(*Ask) error {
	return func(a *Ask) error {
		name, err := a.param("name")
		if err != nil {
			return err
		}
		var m wire.GroupMember
		if err := a.body(&m); err != nil {
			return err
		}
		if m.Username == "" {
			return invalid("username is missing")
		}
		return a.answerPath(name, do(h.people, a.Base, a.Who, a.Workspace, name, m.Username))
	}
}
