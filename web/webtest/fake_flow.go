package webtest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/flow/check"
)

// Flows is the engine seen as api.Flows. The result of a flow is its value; one whose value says "wrong" is refused, and one that
// says "doubtful" is warned of.
type Flows struct{ *Engine }

// flow is the newest version at a path, or the one with a number. Called with mu held.
func (e *Engine) flow(path string, version int64) (*engine.Flow, error) {
	for _, f := range slices.Backward(e.flows) {
		if version != 0 && f.Version == version || version == 0 && f.Path == path && !f.Archived {
			return f, nil
		}
	}
	return nil, &engine.Error{Code: engine.NotFound, Op: "flow.get", Path: path, Msg: "no such flow in workspace main", Hint: "deploy it first"}
}

// Create implements api.Flows.
func (e Flows) Create(_ context.Context, p engine.Principal, ws string, f *engine.Flow, o engine.FlowOptions) (int64, bool, []check.Finding, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.check(ws); err != nil {
		return 0, false, nil, err
	}
	findings := []check.Finding{{Severity: check.Warning, Module: "a", Field: "value.input_transforms.x", Line: 3, Column: 7, Msg: "is doubtful"}}
	if bytes.Contains(f.Value, []byte("wrong")) {
		findings[0].Severity, findings[0].Msg = check.Error, "is wrong"
		return 0, false, nil, check.Refusal("flow.create", f.Path, findings)
	}
	if !bytes.Contains(f.Value, []byte("doubtful")) {
		findings = nil
	}
	newest, err := e.flow(f.Path, 0)
	switch {
	case o.Replace == "" && err == nil:
		return 0, false, nil, &engine.Error{Code: engine.Conflict, Op: "flow.create", Path: f.Path, Msg: "a flow is deployed there already", Hint: "update it instead"}
	case o.Replace != "":
		if newest, err = e.flow(o.Replace, 0); err != nil {
			return 0, false, nil, err
		}
	}
	if o.SkipIfNoop && err == nil && string(newest.Value) == string(f.Value) {
		return newest.Version, false, findings, nil
	}
	n := *f
	n.Version, n.CreatedBy, n.CreatedAt = int64(len(e.flows)+1), p.Username, time.Now()
	e.flows = append(e.flows, &n)
	return n.Version, true, findings, nil
}

// Latest implements api.Flows.
func (e Flows) Latest(_ context.Context, _ engine.Principal, ws, path string) (*engine.Flow, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.check(ws); err != nil {
		return nil, err
	}
	return e.flow(path, 0)
}

// ByVersion implements api.Flows.
func (e Flows) ByVersion(_ context.Context, _ engine.Principal, ws string, version int64) (*engine.Flow, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.check(ws); err != nil {
		return nil, err
	}
	return e.flow(fmt.Sprint(version), version)
}

// List implements api.Flows.
func (e Flows) List(_ context.Context, _ engine.Principal, ws string, f engine.FlowFilter) ([]*engine.Flow, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.check(ws); err != nil {
		return nil, err
	}
	var all []*engine.Flow
	seen := map[string]bool{}
	for _, x := range slices.Backward(e.flows) {
		if !seen[x.Path] && strings.HasPrefix(x.Path, f.PathStart) && (f.PathExact == "" || f.PathExact == x.Path) && f.ShowArchived == x.Archived {
			all = append(all, x)
		}
		seen[x.Path] = true
	}
	return page(all, f.Page, f.PerPage), nil
}

// History implements api.Flows.
func (e Flows) History(_ context.Context, _ engine.Principal, ws, path string) ([]*engine.Flow, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var all []*engine.Flow
	for _, f := range slices.Backward(e.flows) {
		if f.Path == path {
			all = append(all, f)
		}
	}
	if len(all) == 0 {
		_, err := e.flow(path, 0)
		return nil, err
	}
	return all, e.check(ws)
}

// Archive implements api.Flows.
func (e Flows) Archive(_ context.Context, _ engine.Principal, ws, path string, on bool) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.check(ws); err != nil {
		return err
	}
	found := false
	for _, f := range e.flows {
		if f.Path == path {
			f.Archived, found = on, true
		}
	}
	if !found {
		_, err := e.flow(path, 0)
		return err
	}
	return nil
}

// Delete implements api.Flows.
func (e Flows) Delete(_ context.Context, _ engine.Principal, ws, path string) (bool, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.check(ws); err != nil {
		return false, err
	}
	n := len(e.flows)
	e.flows = slices.DeleteFunc(e.flows, func(f *engine.Flow) bool { return f.Path == path })
	return len(e.flows) < n, nil
}

// DeployFlow adds a flow.
func (e *Engine) DeployFlow(path, value string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.flows = append(e.flows, &engine.Flow{Workspace: "main", Version: int64(len(e.flows) + 1), Path: path, Value: json.RawMessage(value), CreatedBy: "root", CreatedAt: time.Now()})
}
