package webtest

import (
	"context"
	"encoding/json"
	"strings"
	"sync"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/secret"
)

// Values keeps variables and resources in memory; a sealed value is "sealed:" and the value.
type Values struct {
	*Engine
	mu        sync.Mutex
	variables map[string]engine.Variable
	resources map[string]engine.Resource
	types     map[string]engine.ResourceType
}

// NewValues returns a keeper in the workspaces of e with a variable and a resource f/demo/hello, and a type c_demo.
func NewValues(e *Engine) *Values {
	const path = "f/demo/hello"
	return &Values{Engine: e, variables: map[string]engine.Variable{"main" + path: {Workspace: "main", Path: path, Value: "hello"}},
		resources: map[string]engine.Resource{"main" + path: {Workspace: "main", Path: path, Type: "c_demo", Value: json.RawMessage("1")}},
		types:     map[string]engine.ResourceType{"mainc_demo": {Workspace: "main", Name: "c_demo"}}}
}

func (v *Values) open(ws string) error {
	v.Engine.mu.Lock()
	defer v.Engine.mu.Unlock()
	return v.check(ws)
}

// put stores x at path, or says that something is there.
func put[T any](v *Values, in map[string]T, ws, path string, x T, replace bool) error {
	if err := v.open(ws); err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if _, there := in[ws+path]; there && !replace {
		return &engine.Error{Code: engine.Conflict, Op: "value.create", Path: path, Msg: "there is one already"}
	}
	in[ws+path] = x
	return nil
}

// get returns a copy of what is at path.
func get[T any](v *Values, in map[string]T, ws, path string) (*T, error) {
	if err := v.open(ws); err != nil {
		return nil, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	x, there := in[ws+path]
	if !there {
		return nil, &engine.Error{Code: engine.NotFound, Op: "value.get", Path: path, Msg: "there is no such thing"}
	}
	return &x, nil
}

func list[T any](v *Values, in map[string]T, ws string) (out []T, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for key, x := range in {
		if strings.HasPrefix(key, ws) {
			out = append(out, x)
		}
	}
	return out, v.open(ws)
}

func remove[T any](v *Values, in map[string]T, ws, path string) error {
	_, err := get(v, in, ws, path)
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(in, ws+path)
	return err
}

// CreateVariable implements api.Values.
func (v *Values) CreateVariable(_ context.Context, _ engine.Principal, x engine.Variable, sealed bool) error {
	if err := engine.CheckPath("variable.create", x.Path); err != nil {
		return err
	}
	if sealed {
		x.Value = strings.TrimPrefix(x.Value, "sealed:")
	}
	return put(v, v.variables, x.Workspace, x.Path, x, false)
}

// GetVariable implements api.Values.
func (v *Values) GetVariable(_ context.Context, _ engine.Principal, ws, path string, s secret.Show) (*engine.Variable, error) {
	x, err := get(v, v.variables, ws, path)
	if err == nil && x.IsSecret && s != secret.Plain {
		x.Value = map[secret.Show]string{secret.Sealed: "sealed:" + x.Value}[s]
	}
	return x, err
}

// ListVariables implements api.Values.
func (v *Values) ListVariables(_ context.Context, _ engine.Principal, ws string, _ engine.ValueFilter) ([]engine.Variable, error) {
	return list(v, v.variables, ws)
}

// UpdateVariable implements api.Values.
func (v *Values) UpdateVariable(_ context.Context, _ engine.Principal, ws, path string, c engine.VariableChange, _ bool) error {
	x, err := get(v, v.variables, ws, path)
	if err != nil {
		return err
	}
	if c.Value != nil {
		x.Value = *c.Value
	}
	return put(v, v.variables, ws, path, *x, true)
}

// DeleteVariable implements api.Values.
func (v *Values) DeleteVariable(_ context.Context, _ engine.Principal, ws, path string) error {
	return remove(v, v.variables, ws, path)
}

// CreateResource implements api.Values.
func (v *Values) CreateResource(_ context.Context, _ engine.Principal, r engine.Resource, replace bool) error {
	if err := engine.CheckPath("resource.create", r.Path); err != nil {
		return err
	}
	return put(v, v.resources, r.Workspace, r.Path, r, replace)
}

// GetResource implements api.Values.
func (v *Values) GetResource(_ context.Context, _ engine.Principal, ws, path string) (*engine.Resource, error) {
	return get(v, v.resources, ws, path)
}

// ResourceValue implements api.Values.
func (v *Values) ResourceValue(_ context.Context, _ engine.Principal, ws, path string) (json.RawMessage, error) {
	r, err := get(v, v.resources, ws, path)
	if err != nil {
		return nil, err
	}
	return json.RawMessage(strings.ReplaceAll(string(r.Value), "$var:f/a/v", "filled")), nil
}

// ListResources implements api.Values.
func (v *Values) ListResources(_ context.Context, _ engine.Principal, ws string, _ engine.ValueFilter) ([]engine.Resource, error) {
	return list(v, v.resources, ws)
}

// UpdateResource implements api.Values.
func (v *Values) UpdateResource(_ context.Context, _ engine.Principal, ws, path string, c engine.ResourceChange) error {
	r, err := get(v, v.resources, ws, path)
	if err != nil {
		return err
	}
	if c.Value != nil {
		r.Value = c.Value
	}
	return put(v, v.resources, ws, path, *r, true)
}

// DeleteResource implements api.Values.
func (v *Values) DeleteResource(_ context.Context, _ engine.Principal, ws, path string) error {
	return remove(v, v.resources, ws, path)
}

// PutType implements api.Values.
func (v *Values) PutType(_ context.Context, _ engine.Principal, t engine.ResourceType, replace bool) error {
	return put(v, v.types, t.Workspace, t.Name, t, replace)
}

// GetType implements api.Values.
func (v *Values) GetType(_ context.Context, _ engine.Principal, ws, name string) (*engine.ResourceType, error) {
	return get(v, v.types, ws, name)
}

// ListTypes implements api.Values.
func (v *Values) ListTypes(_ context.Context, _ engine.Principal, ws string) ([]engine.ResourceType, error) {
	return list(v, v.types, ws)
}

// DeleteType implements api.Values.
func (v *Values) DeleteType(_ context.Context, _ engine.Principal, ws, name string) error {
	return remove(v, v.types, ws, name)
}
