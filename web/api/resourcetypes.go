package api

import (
	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/web/wire"
)

func (h *API) resourceTypeRoutes() []Route {
	const r = "/api/w/{workspace}/resources/"
	name := TextOf("the name")
	return []Route{
		{Method: "POST", Path: r + "type/create", Name: "createResourceType", Group: "resources", Access: User, Status: statusNew,
			Summary: "Makes a type of resources", Body: JSONOf(wire.NewResourceType{}), Answer: name, Handle: h.createResourceType},
		{Method: "POST", Path: r + "type/update/{name}", Name: "updateResourceType", Group: "resources", Access: User,
			Summary: "Replaces a type of resources", Body: JSONOf(wire.NewResourceType{}), Answer: name, Handle: h.updateResourceType},
		{Method: "GET", Path: r + "type/get/{name}", Name: "getResourceType", Group: "resources", Access: User,
			Summary: "A type of resources", Answer: JSONOf(wire.ResourceType{}), Handle: h.getResourceType},
		{Method: "GET", Path: r + "type/list", Name: "listResourceTypes", Group: "resources", Access: User,
			Summary: "The types of resources by name", Answer: JSONOf([]wire.ResourceType{}), Handle: h.listResourceTypes},
		{Method: "GET", Path: r + "type/listnames", Name: "listResourceTypeNames", Group: "resources", Access: User,
			Summary: "The names of the types of resources", Answer: JSONOf([]string{}), Handle: h.listResourceTypeNames},
		{Method: "GET", Path: r + "type/exists/{name}", Name: "existsResourceType", Group: "resources", Access: User,
			Summary: "Whether there is a type of a name", Answer: JSONOf(true), Handle: h.existsResourceType},
		{Method: "DELETE", Path: r + "type/delete/{name}", Name: "deleteResourceType", Group: "resources", Access: User,
			Summary: "Deletes a type; its resources stay", Answer: name, Handle: h.deleteResourceType},
		{Method: "GET", Path: r + "file_resource_type_to_file_ext_map", Name: "fileResourceTypes", Group: "resources", Access: User,
			Summary: "How files of resources that are files end, by type", Answer: JSONOf(map[string]fileType{}), Handle: h.fileResourceTypes},
	}
}

// fileType is a type whose resources are files.
type fileType struct {
	FormatExtension string `json:"format_extension"`
	IsFileset       bool   `json:"is_fileset"`
}

func (h *API) putType(a *Ask, name string, n wire.NewResourceType, replace bool) error {
	return h.values.PutType(a.Base, a.Who, engine.ResourceType{Workspace: a.Workspace, Name: name, Schema: n.Schema, Description: n.Description,
		FormatExtension: n.FormatExtension, IsFileset: n.IsFileset}, replace)
}

func (h *API) createResourceType(a *Ask) error {
	var n wire.NewResourceType
	if err := a.body(&n); err != nil {
		return err
	}
	if err := h.putType(a, n.Name, n, false); err != nil {
		return err
	}
	Text(a.RequestCtx, statusNew, n.Name)
	return nil
}

func (h *API) updateResourceType(a *Ask) error {
	t, err := a.resourceType(h)
	if err != nil {
		return err
	}
	n := wire.NewResourceType{Schema: t.Schema, Description: t.Description, FormatExtension: t.FormatExtension, IsFileset: t.IsFileset}
	if err := a.body(&n); err != nil { // what is missing stays
		return err
	}
	return a.answerPath(t.Name, h.putType(a, t.Name, n, true))
}

func (a *Ask) resourceType(h *API) (*engine.ResourceType, error) {
	name, err := a.param("name")
	if err != nil {
		return nil, err
	}
	return h.values.GetType(a.Base, a.Who, a.Workspace, name)
}

func (h *API) getResourceType(a *Ask) error {
	t, err := a.resourceType(h)
	if err != nil {
		return err
	}
	return JSON(a.RequestCtx, viewResourceType(t))
}

func viewResourceType(t *engine.ResourceType) wire.ResourceType {
	return wire.ResourceType{WorkspaceID: t.Workspace, Name: t.Name, Schema: t.Schema, Description: t.Description, FormatExtension: t.FormatExtension,
		IsFileset: t.IsFileset, CreatedBy: t.EditedBy, EditedAt: t.EditedAt.UTC()}
}

func (h *API) listResourceTypes(a *Ask) error {
	found, err := h.values.ListTypes(a.Base, a.Who, a.Workspace)
	if err != nil {
		return err
	}
	list := make([]wire.ResourceType, 0, len(found))
	for i := range found {
		list = append(list, viewResourceType(&found[i]))
	}
	return JSON(a.RequestCtx, list)
}

func (h *API) listResourceTypeNames(a *Ask) error {
	found, err := h.values.ListTypes(a.Base, a.Who, a.Workspace)
	if err != nil {
		return err
	}
	names := make([]string, 0, len(found))
	for _, t := range found {
		names = append(names, t.Name)
	}
	return JSON(a.RequestCtx, names)
}

func (h *API) existsResourceType(a *Ask) error {
	_, err := a.resourceType(h)
	return a.answerExists(err)
}

func (h *API) deleteResourceType(a *Ask) error {
	name, err := a.param("name")
	if err != nil {
		return err
	}
	return a.answerPath(name, h.values.DeleteType(a.Base, a.Who, a.Workspace, name))
}

func (h *API) fileResourceTypes(a *Ask) error {
	found, err := h.values.ListTypes(a.Base, a.Who, a.Workspace)
	if err != nil {
		return err
	}
	files := map[string]fileType{}
	for _, t := range found {
		if t.FormatExtension != "" || t.IsFileset {
			files[t.Name] = fileType{t.FormatExtension, t.IsFileset}
		}
	}
	return JSON(a.RequestCtx, files)
}
