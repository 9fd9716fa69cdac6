package api

import (
	"encoding/json"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/web/wire"
)

func (h *API) resourceRoutes() []Route {
	const r = "/api/w/{workspace}/resources/"
	path := TextOf("the path")
	replace := query("update_if_exists", "boolean", "replace the resource that is there")
	types := join([]Param{query("resource_type", "string", "only of these types, separated by commas"),
		query("resource_type_exclude", "string", "without these types, separated by commas")}, valueListParams)
	return []Route{
		{Method: "POST", Path: r + "create", Name: "createResource", Group: "resources", Access: User, Status: statusNew, Params: []Param{replace},
			Summary: "Makes a resource", Body: JSONOf(wire.NewResource{}), Answer: path, Handle: h.createResource},
		{Method: "POST", Path: r + "update/{path:*}", Name: "updateResource", Group: "resources", Access: User,
			Summary: "Changes a resource", Body: JSONOf(wire.EditResource{}), Answer: path, Handle: h.updateResource},
		{Method: "POST", Path: r + "update_value/{path:*}", Name: "updateResourceValue", Group: "resources", Access: User,
			Summary: "Changes the value of a resource", Body: JSONOf(wire.ResourceValue{}), Answer: path, Handle: h.updateResourceValue},
		{Method: "GET", Path: r + "get/{path:*}", Name: "getResource", Group: "resources", Access: User,
			Summary: "A resource, its references not followed", Answer: JSONOf(wire.Resource{}), Handle: h.getResource},
		{Method: "GET", Path: r + "get_value/{path:*}", Name: "getResourceValue", Group: "resources", Access: User,
			Summary: "The value of a resource, its references not followed", Answer: AnyJSON("the value"), Handle: h.getResourceValue},
		{Method: "GET", Path: r + "get_value_interpolated/{path:*}", Name: "getResourceValueInterpolated", Group: "resources", Access: User,
			Summary: "The value of a resource with what it refers to", Answer: AnyJSON("the value"), Handle: h.getResourceFilled},
		{Method: "GET", Path: r + "list", Name: "listResources", Group: "resources", Access: User, Params: types,
			Summary: "Resources by path", Answer: JSONOf([]wire.Resource{}), Handle: h.listResources},
		{Method: "GET", Path: r + "exists/{path:*}", Name: "existsResource", Group: "resources", Access: User,
			Summary: "Whether there is a resource at a path", Answer: JSONOf(true), Handle: h.existsResource},
		{Method: "DELETE", Path: r + "delete/{path:*}", Name: "deleteResource", Group: "resources", Access: User,
			Summary: "Deletes a resource", Answer: path, Handle: h.deleteResource},
	}
}

func (h *API) createResource(a *Ask) error {
	var n wire.NewResource
	if err := a.body(&n); err != nil {
		return err
	}
	o := a.options()
	replace := o.on("update_if_exists")
	if o.err != nil {
		return o.err
	}
	r := engine.Resource{Workspace: a.Workspace, Path: n.Path, Type: n.ResourceType, Value: n.Value, Description: n.Description}
	if err := h.values.CreateResource(a.Base, a.Who, r, replace); err != nil {
		return err
	}
	Text(a.RequestCtx, statusNew, n.Path)
	return nil
}

func (h *API) updateResource(a *Ask) error {
	var n wire.EditResource
	return h.changeResource(a, &n, func() engine.ResourceChange {
		return engine.ResourceChange{Path: n.Path, Type: n.ResourceType, Value: n.Value, Description: n.Description}
	})
}

func (h *API) updateResourceValue(a *Ask) error {
	var n wire.ResourceValue
	return h.changeResource(a, &n, func() engine.ResourceChange {
		if n.Value == nil {
			n.Value = json.RawMessage("null")
		}
		return engine.ResourceChange{Value: n.Value, Type: n.ResourceType}
	})
}

func (h *API) changeResource(a *Ask, body any, change func() engine.ResourceChange) error {
	path, err := a.param("path")
	if err != nil {
		return err
	}
	if err := a.body(body); err != nil {
		return err
	}
	return a.answerPath(path, h.values.UpdateResource(a.Base, a.Who, a.Workspace, path, change()))
}

func (a *Ask) resource(h *API) (*engine.Resource, error) {
	path, err := a.param("path")
	if err != nil {
		return nil, err
	}
	return h.values.GetResource(a.Base, a.Who, a.Workspace, path)
}

func (h *API) getResource(a *Ask) error {
	r, err := a.resource(h)
	if err != nil {
		return err
	}
	return JSON(a.RequestCtx, viewResource(r))
}

func viewResource(r *engine.Resource) wire.Resource {
	return wire.Resource{WorkspaceID: r.Workspace, Path: r.Path, Value: r.Value, ResourceType: r.Type, Description: r.Description,
		ExtraPerms: map[string]bool{}, CreatedBy: r.CreatedBy, EditedBy: r.EditedBy, EditedAt: r.EditedAt.UTC()}
}

func (h *API) getResourceValue(a *Ask) error {
	r, err := a.resource(h)
	if err != nil {
		return err
	}
	return JSON(a.RequestCtx, r.Value)
}

func (h *API) getResourceFilled(a *Ask) error {
	path, err := a.param("path")
	if err != nil {
		return err
	}
	v, err := h.values.ResourceValue(a.Base, a.Who, a.Workspace, path)
	if err != nil {
		return err
	}
	return JSON(a.RequestCtx, v)
}

func (h *API) listResources(a *Ask) error {
	o := a.options()
	f := o.values(a.windmillCLI())
	f.Type, f.TypeNot = o.text("resource_type"), o.text("resource_type_exclude")
	if o.err != nil {
		return o.err
	}
	found, err := h.values.ListResources(a.Base, a.Who, a.Workspace, f)
	if err != nil {
		return err
	}
	list := make([]wire.Resource, 0, len(found))
	for i := range found {
		list = append(list, viewResource(&found[i]))
	}
	return JSON(a.RequestCtx, list)
}

func (h *API) existsResource(a *Ask) error {
	_, err := a.resource(h)
	return a.answerExists(err)
}

func (h *API) deleteResource(a *Ask) error {
	path, err := a.param("path")
	if err != nil {
		return err
	}
	return a.answerPath(path, h.values.DeleteResource(a.Base, a.Who, a.Workspace, path))
}
