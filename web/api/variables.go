package api

import (
	"time"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/secret"
	"github.com/millrace/millrace/web/wire"
)

var (
	sealedParam = query("already_encrypted", "boolean", "the value of the secret is what get answers with include_encrypted")
	valueParams = []Param{query("decrypt_secret", "boolean", "whether a secret's value is answered; default true"),
		query("include_encrypted", "boolean", "with decrypt_secret=false: a secret's value as it is stored")}
	valueListParams = join([]Param{query("path_start", "string", "only paths that begin so"), query("path", "string", "only this path")}, pageParams)
)

func (h *API) variableRoutes() []Route {
	const v = "/api/w/{workspace}/variables/"
	path := TextOf("the path")
	return []Route{
		{Method: "POST", Path: v + "create", Name: "createVariable", Group: "variables", Access: User, Status: statusNew, Params: []Param{sealedParam},
			Summary: "Makes a variable; a secret one is stored encrypted", Body: JSONOf(wire.NewVariable{}), Answer: path, Handle: h.createVariable},
		{Method: "POST", Path: v + "update/{path:*}", Name: "updateVariable", Group: "variables", Access: User, Params: []Param{sealedParam},
			Summary: "Changes a variable", Body: JSONOf(wire.EditVariable{}), Answer: path, Handle: h.updateVariable},
		{Method: "GET", Path: v + "get/{path:*}", Name: "getVariable", Group: "variables", Access: User, Params: valueParams,
			Summary: "A variable", Answer: JSONOf(wire.Variable{}), Handle: h.getVariable},
		{Method: "GET", Path: v + "get_value/{path:*}", Name: "getVariableValue", Group: "variables", Access: User,
			Summary: "The text of a variable", Answer: JSONOf(""), Handle: h.getVariableValue},
		{Method: "GET", Path: v + "list", Name: "listVariables", Group: "variables", Access: User, Params: valueListParams,
			Summary: "Variables by path, without the values of secrets", Answer: JSONOf([]wire.Variable{}), Handle: h.listVariables},
		{Method: "GET", Path: v + "exists/{path:*}", Name: "existsVariable", Group: "variables", Access: User,
			Summary: "Whether there is a variable at a path", Answer: JSONOf(true), Handle: h.existsVariable},
		{Method: "DELETE", Path: v + "delete/{path:*}", Name: "deleteVariable", Group: "variables", Access: User,
			Summary: "Deletes a variable", Answer: path, Handle: h.deleteVariable},
	}
}

func (h *API) createVariable(a *Ask) error {
	var n wire.NewVariable
	if err := a.body(&n); err != nil {
		return err
	}
	o := a.options()
	sealed := o.on("already_encrypted")
	if o.err != nil {
		return o.err
	}
	x := engine.Variable{Workspace: a.Workspace, Path: n.Path, Value: n.Value, IsSecret: n.IsSecret, Description: n.Description, ExpiresAt: n.ExpiresAt}
	if err := h.values.CreateVariable(a.Base, a.Who, x, sealed); err != nil {
		return err
	}
	Text(a.RequestCtx, statusNew, n.Path)
	return nil
}

func (h *API) updateVariable(a *Ask) error {
	path, err := a.param("path")
	if err != nil {
		return err
	}
	var n wire.EditVariable
	if err := a.body(&n); err != nil {
		return err
	}
	o := a.options()
	sealed := o.on("already_encrypted")
	if o.err != nil {
		return o.err
	}
	c := engine.VariableChange{Path: n.Path, Value: n.Value, Description: n.Description, IsSecret: n.IsSecret}
	return a.answerPath(path, h.values.UpdateVariable(a.Base, a.Who, a.Workspace, path, c, sealed))
}

func (h *API) getVariable(a *Ask) error {
	path, err := a.param("path")
	if err != nil {
		return err
	}
	o := a.options()
	plain, given := o.flag("decrypt_secret")
	sealed := o.on("include_encrypted")
	if o.err != nil {
		return o.err
	}
	show := secret.Nothing
	switch {
	case plain || !given:
		show = secret.Plain
	case sealed:
		show = secret.Sealed
	}
	x, err := h.values.GetVariable(a.Base, a.Who, a.Workspace, path, show)
	if err != nil {
		return err
	}
	return JSON(a.RequestCtx, viewVariable(x, show != secret.Nothing))
}

func (h *API) getVariableValue(a *Ask) error {
	path, err := a.param("path")
	if err != nil {
		return err
	}
	x, err := h.values.GetVariable(a.Base, a.Who, a.Workspace, path, secret.Plain)
	if err != nil {
		return err
	}
	return JSON(a.RequestCtx, x.Value)
}

func viewVariable(x *engine.Variable, shown bool) wire.Variable {
	v := wire.Variable{WorkspaceID: x.Workspace, Path: x.Path, IsSecret: x.IsSecret, Description: x.Description, ExtraPerms: map[string]bool{},
		ExpiresAt: x.ExpiresAt, IsExpired: x.ExpiresAt != nil && x.ExpiresAt.Before(time.Now()), EditedBy: x.EditedBy, EditedAt: x.EditedAt.UTC()}
	if shown || !x.IsSecret {
		v.Value = &x.Value
	}
	return v
}

func (h *API) listVariables(a *Ask) error {
	o := a.options()
	f := o.values(false)
	if o.err != nil {
		return o.err
	}
	found, err := h.values.ListVariables(a.Base, a.Who, a.Workspace, f)
	if err != nil {
		return err
	}
	list := make([]wire.Variable, 0, len(found))
	for i := range found {
		list = append(list, viewVariable(&found[i], false))
	}
	return JSON(a.RequestCtx, list)
}

// values reads what lists of variables and resources have in common.
func (o *options) values(zeroBased bool) engine.ValueFilter {
	page, per := o.page(zeroBased)
	return engine.ValueFilter{Path: o.text("path"), PathStart: o.text("path_start"), Limit: per, Offset: (page - 1) * per}
}

func (h *API) existsVariable(a *Ask) error {
	path, err := a.param("path")
	if err != nil {
		return err
	}
	_, err = h.values.GetVariable(a.Base, a.Who, a.Workspace, path, secret.Nothing)
	return a.answerExists(err)
}

// answerExists answers whether something was found.
func (a *Ask) answerExists(err error) error {
	if err != nil && engine.CodeOf(err) != engine.NotFound {
		return err
	}
	return JSON(a.RequestCtx, err == nil)
}

func (h *API) deleteVariable(a *Ask) error {
	path, err := a.param("path")
	if err != nil {
		return err
	}
	return a.answerPath(path, h.values.DeleteVariable(a.Base, a.Who, a.Workspace, path))
}
