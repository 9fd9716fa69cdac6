package api

import (
	"time"

	"github.com/valyala/fasthttp"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/web/wire"
)

func (h *API) userRoutes() []Route {
	ephemeral := query("exclude_ephemeral", "boolean", "accepted; tokens of jobs are never listed")
	return []Route{
		{Method: "GET", Path: "/api/users/whoami", Name: "globalWhoami", Group: "users", Access: User,
			Summary: "Who asks", Answer: JSONOf(wire.Me{}), Handle: h.whoami},
		{Method: "GET", Path: "/api/w/{workspace}/users/whoami", Name: "whoami", Group: "users", Access: User,
			Summary: "Who asks, in a workspace", Answer: JSONOf(wire.Member{}), Handle: h.whoamiHere},
		{Method: "POST", Path: "/api/users/tokens/create", Name: "createToken", Group: "users", Access: User, Status: statusNew,
			Summary: "Makes a token; the answer is the only time it is shown", Body: JSONOf(wire.NewToken{}), Answer: TextOf("the token"), Handle: h.createToken},
		{Method: "POST", Path: "/api/users/tokens/impersonate", Name: "createTokenImpersonate", Group: "users", Access: Admin, Status: statusNew,
			Summary: "Makes a token of a member's, without an administrator's rights of the instance", Body: JSONOf(wire.MemberToken{}), Answer: TextOf("the token"), Handle: h.createMemberToken},
		{Method: "GET", Path: "/api/users/tokens/list", Name: "listTokens", Group: "users", Access: User, Params: join([]Param{ephemeral}, pageParams),
			Summary: "Tokens of the one who asks", Answer: JSONOf([]engine.Token{}), Handle: h.listTokens},
		{Method: "DELETE", Path: "/api/users/tokens/delete/{prefix}", Name: "deleteToken", Group: "users", Access: User,
			Summary: "Forgets the token with a prefix", Answer: TextOf("the prefix"), Handle: h.deleteToken},
	}
}

func (h *API) whoami(a *Ask) error {
	if a.Who.Workspace != "" {
		// Windmill's command line takes this 401 as the sign to ask again inside its workspace.
		return engine.Errorf(engine.Unauthorized, "whoami", "this token is bound to workspace %s; ask /api/w/%s/users/whoami", a.Who.Workspace, a.Who.Workspace)
	}
	return JSON(a.RequestCtx, wire.Me{Email: a.Who.Email, Username: a.Who.Username, Name: a.Who.Username, LoginType: a.Who.Via,
		SuperAdmin: a.Who.Admin, IsSuperAdmin: a.Who.Admin, Verified: true})
}

func (h *API) whoamiHere(a *Ask) error {
	exists, err := h.workspaces.Exists(a.Base, a.Workspace)
	if err != nil {
		return err
	}
	if !exists {
		return notFound("workspace %s", a.Workspace)
	}
	m := viewMember(engine.Member{Workspace: a.Workspace, Email: a.Who.Email, Username: a.Who.Username, Admin: a.Who.Admin, Groups: []string{engine.Everybody}})
	members, err := h.people.Members(a.Base, a.Who, a.Workspace)
	if err != nil && engine.CodeOf(err) != engine.Forbidden { // a stranger may know who they are
		return err
	}
	for _, in := range members {
		if in.Username == a.Who.Username {
			m.IsAdmin, m.Groups = m.IsAdmin || in.Admin, in.Groups
		}
	}
	m.IsSuperAdmin = a.Who.Admin
	return JSON(a.RequestCtx, m)
}

func (h *API) createToken(a *Ask) error {
	var n wire.NewToken
	if len(a.PostBody()) > 0 {
		if err := a.body(&n); err != nil {
			return err
		}
	}
	return h.makeToken(a, engine.TokenRequest{Label: n.Label, Workspace: n.WorkspaceID, ExpiresAt: n.Expiration, Admin: n.Admin == nil || *n.Admin})
}

func (h *API) createMemberToken(a *Ask) error {
	var n wire.MemberToken
	if err := a.body(&n); err != nil {
		return err
	}
	if n.Email == "" {
		return invalid("impersonate_email is missing")
	}
	return h.makeToken(a, engine.TokenRequest{Label: n.Label, Workspace: n.WorkspaceID, ExpiresAt: n.Expiration, For: n.Email})
}

func (h *API) makeToken(a *Ask, r engine.TokenRequest) error {
	if r.ExpiresAt != nil && r.ExpiresAt.Before(time.Now()) {
		return invalid("expiration is in the past")
	}
	secret, _, err := h.tokens.Create(a.Base, a.Who, r)
	if err != nil {
		return err
	}
	a.Response.Header.Set("Cache-Control", "no-store")
	Text(a.RequestCtx, statusNew, secret)
	return nil
}

func (h *API) listTokens(a *Ask) error {
	o := a.options()
	page, per := o.page(false)
	if o.err != nil {
		return o.err
	}
	list, err := h.tokens.List(a.Base, a.Who)
	if err != nil {
		return err
	}
	from := min((page-1)*per, len(list))
	return JSON(a.RequestCtx, append([]engine.Token{}, list[from:min(from+per, len(list))]...))
}

func (h *API) deleteToken(a *Ask) error {
	prefix, err := a.param("prefix")
	if err != nil {
		return err
	}
	if err := h.tokens.Delete(a.Base, a.Who, prefix); err != nil {
		return err
	}
	Text(a.RequestCtx, fasthttp.StatusOK, prefix)
	return nil
}
