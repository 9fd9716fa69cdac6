package api

import (
	"time"

	"github.com/valyala/fasthttp"

	"github.com/millrace/millrace/engine"
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

func (h *API) userRoutes() []Route {
	ephemeral := query("exclude_ephemeral", "boolean", "accepted; tokens of jobs are never listed")
	return []Route{
		{Method: "GET", Path: "/api/users/whoami", Name: "globalWhoami", Group: "users", Access: User,
			Summary: "Who asks", Answer: JSONOf(Me{}), Handle: h.whoami},
		{Method: "GET", Path: "/api/w/{workspace}/users/whoami", Name: "whoami", Group: "users", Access: User,
			Summary: "Who asks, in a workspace", Answer: JSONOf(Member{}), Handle: h.whoamiHere},
		{Method: "POST", Path: "/api/users/tokens/create", Name: "createToken", Group: "users", Access: User, Status: statusNew,
			Summary: "Makes a token; the answer is the only time it is shown", Body: JSONOf(NewToken{}), Answer: TextOf("the token"), Handle: h.createToken},
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
	return JSON(a.RequestCtx, Me{Email: a.Who.Email, Username: a.Who.Username, Name: a.Who.Username, LoginType: a.Who.Via,
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
	return JSON(a.RequestCtx, Member{WorkspaceID: a.Workspace, Email: a.Who.Email, Username: a.Who.Username, Name: a.Who.Username,
		IsAdmin: a.Who.Admin, IsSuperAdmin: a.Who.Admin, Groups: []string{"all"}, Folders: []string{}, FoldersOwners: []string{}})
}

func (h *API) createToken(a *Ask) error {
	var n NewToken
	if len(a.PostBody()) > 0 {
		if err := a.body(&n); err != nil {
			return err
		}
	}
	if n.Expiration != nil && n.Expiration.Before(time.Now()) {
		return invalid("expiration is in the past")
	}
	r := engine.TokenRequest{Label: n.Label, Workspace: n.WorkspaceID, ExpiresAt: n.Expiration, Admin: n.Admin == nil || *n.Admin}
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
