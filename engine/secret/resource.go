package secret

import (
	"context"
	"encoding/json"

	"github.com/millrace/millrace/engine"
)

// CreateResource stores a new resource; replace: also where there is one.
func (v *Values) CreateResource(ctx context.Context, p engine.Principal, r engine.Resource, replace bool) error {
	const op = "resource.create"
	if err := v.admit(p, op, r.Workspace, r.Path, string(r.Value)); err != nil {
		return err
	}
	if r.Type == "" {
		return &engine.Error{Code: engine.Invalid, Op: op, Path: r.Path, Msg: "a resource needs a resource_type", Hint: "use any name, such as object"}
	}
	if len(r.Value) == 0 {
		r.Value = json.RawMessage("null")
	}
	r.EditedBy = p.Username
	made, err := v.cfg.DB.ResourceInsert(ctx, &r, replace)
	if err == nil && !made {
		return &engine.Error{Code: engine.Conflict, Op: op, Path: r.Path, Msg: "there is a resource at this path already", Hint: "update it"}
	}
	return failed(op, "resource", r.Path, err)
}

// GetResource returns a resource as it is stored, its references not followed.
func (v *Values) GetResource(ctx context.Context, p engine.Principal, ws, path string) (*engine.Resource, error) {
	if err := v.may(p, read, ws, path); err != nil {
		return nil, err
	}
	r, err := v.cfg.DB.ResourceGet(ctx, ws, path)
	return r, failed("resource.get", "resource", path, err)
}

// ListResources lists those that p may read.
func (v *Values) ListResources(ctx context.Context, p engine.Principal, ws string, f engine.ValueFilter) ([]engine.Resource, error) {
	if err := v.may(p, read, ws, ""); err != nil {
		return nil, err
	}
	list, err := v.cfg.DB.ResourceList(ctx, ws, f)
	if err != nil {
		return nil, failed("resource.list", "resource", "", err)
	}
	out := list[:0]
	for _, r := range list {
		if v.may(p, read, ws, r.Path) == nil {
			out = append(out, r)
		}
	}
	return out, nil
}

// UpdateResource changes a resource.
func (v *Values) UpdateResource(ctx context.Context, p engine.Principal, ws, path string, c engine.ResourceChange) error {
	const op = "resource.update"
	if err := v.may(p, write, ws, path); err != nil {
		return err
	}
	to := path
	if c.Path != nil {
		to = *c.Path
	}
	if err := v.admit(p, op, ws, to, string(c.Value)); err != nil {
		return err
	}
	there, err := v.cfg.DB.ResourceUpdate(ctx, ws, path, c, p.Username)
	if err == nil && !there {
		return &engine.Error{Code: engine.NotFound, Op: op, Path: path, Msg: "there is no such resource"}
	}
	return failed(op, "resource", to, err)
}

// DeleteResource deletes a resource.
func (v *Values) DeleteResource(ctx context.Context, p engine.Principal, ws, path string) error {
	const op = "resource.delete"
	if err := v.may(p, write, ws, path); err != nil {
		return err
	}
	there, err := v.cfg.DB.ResourceDelete(ctx, ws, path)
	if err == nil && !there {
		return &engine.Error{Code: engine.NotFound, Op: op, Path: path, Msg: "there is no such resource"}
	}
	return failed(op, "resource", path, err)
}

// PutType stores a type of resources; replace: also where there is one.
func (v *Values) PutType(ctx context.Context, p engine.Principal, t engine.ResourceType, replace bool) error {
	const op = "resource_type.put"
	if err := v.may(p, "admin", t.Workspace, ""); err != nil {
		return err
	}
	if !typeName.MatchString(t.Name) {
		return &engine.Error{Code: engine.Invalid, Op: op, Path: t.Name, Msg: "not a valid name of a resource type",
			Hint: "use letters, digits, '_' and '-'"}
	}
	t.EditedBy = p.Username
	done, err := v.cfg.DB.ResourceTypePut(ctx, &t, replace)
	if err == nil && !done {
		return &engine.Error{Code: engine.Conflict, Op: op, Path: t.Name, Msg: "there is a resource type of this name already", Hint: "update it"}
	}
	return failed(op, "resource type", t.Name, err)
}

// GetType returns a type of resources.
func (v *Values) GetType(ctx context.Context, p engine.Principal, ws, name string) (*engine.ResourceType, error) {
	if err := v.may(p, read, ws, ""); err != nil {
		return nil, err
	}
	t, err := v.cfg.DB.ResourceTypeGet(ctx, ws, name)
	return t, failed("resource_type.get", "resource type", name, err)
}

// ListTypes lists the types of resources.
func (v *Values) ListTypes(ctx context.Context, p engine.Principal, ws string) ([]engine.ResourceType, error) {
	if err := v.may(p, read, ws, ""); err != nil {
		return nil, err
	}
	list, err := v.cfg.DB.ResourceTypeList(ctx, ws)
	return list, failed("resource_type.list", "resource type", "", err)
}

// DeleteType deletes a type; its resources stay.
func (v *Values) DeleteType(ctx context.Context, p engine.Principal, ws, name string) error {
	const op = "resource_type.delete"
	if err := v.may(p, "admin", ws, ""); err != nil {
		return err
	}
	there, err := v.cfg.DB.ResourceTypeDelete(ctx, ws, name)
	if err == nil && !there {
		return &engine.Error{Code: engine.NotFound, Op: op, Path: name, Msg: "there is no such resource type"}
	}
	return failed(op, "resource type", name, err)
}
