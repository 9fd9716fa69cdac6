package client

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strconv"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/web/wire"
)

// Why says why a job is not running.
func (c *Client) Why(ctx context.Context, id uuid.UUID) (*engine.Why, error) {
	var w engine.Why
	if err := c.get(ctx, c.here("/jobs/why/"+id.String()), nil, &w); err != nil {
		return nil, err
	}
	return &w, nil
}

// Contacts says what a job contacted.
func (c *Client) Contacts(ctx context.Context, id uuid.UUID) ([]engine.Contact, error) {
	var list []engine.Contact
	if err := c.get(ctx, c.here("/jobs_u/get_contacts/"+id.String()), nil, &list); err != nil {
		return nil, err
	}
	return list, nil
}

// WorkflowSteps says what a workflow as code has asked for.
func (c *Client) WorkflowSteps(ctx context.Context, id uuid.UUID) ([]engine.WorkflowStep, error) {
	var list []engine.WorkflowStep
	if err := c.get(ctx, c.here("/jobs_u/workflow_steps/"+id.String()), nil, &list); err != nil {
		return nil, err
	}
	return list, nil
}

// QueueCount returns how many jobs are queued or running.
func (c *Client) QueueCount(ctx context.Context) (*wire.Count, error) {
	var n wire.Count
	if err := c.get(ctx, c.here("/jobs/queue/count"), nil, &n); err != nil {
		return nil, err
	}
	return &n, nil
}

// CreateScript deploys a version and returns its hash. skipIfNoop makes no new version of equal content.
func (c *Client) CreateScript(ctx context.Context, s wire.NewScript, skipIfNoop bool) (string, error) {
	b, err := json.Marshal(s)
	if err != nil {
		return "", fmt.Errorf("encode script: %w", err)
	}
	body := map[string]json.RawMessage{}
	maps.Copy(body, s.More)
	if err := json.Unmarshal(b, &body); err != nil {
		return "", fmt.Errorf("encode script: %w", err)
	}
	return c.post(ctx, c.here("/scripts/create"), url.Values{"skip_if_noop": {strconv.FormatBool(skipIfNoop)}}, body)
}

// Script returns the newest version at a path.
func (c *Client) Script(ctx context.Context, path string) (*wire.Script, error) {
	return c.script(ctx, "/scripts/get/p/"+segments(path))
}

// ScriptByHash returns one version.
func (c *Client) ScriptByHash(ctx context.Context, hash string) (*wire.Script, error) {
	return c.script(ctx, "/scripts/get/h/"+url.PathEscape(hash))
}

func (c *Client) script(ctx context.Context, path string) (*wire.Script, error) {
	var s wire.Script
	if err := c.get(ctx, c.here(path), nil, &s); err != nil {
		return nil, err
	}
	return &s, nil
}

// Scripts lists scripts; filter holds query parameters of the list and may be nil.
func (c *Client) Scripts(ctx context.Context, filter url.Values) ([]wire.Script, error) {
	var list []wire.Script
	err := c.get(ctx, c.here("/scripts/list"), filter, &list)
	return list, err
}

// ScriptHistory lists the versions at a path, newest first.
func (c *Client) ScriptHistory(ctx context.Context, path string) ([]wire.Version, error) {
	var list []wire.Version
	err := c.get(ctx, c.here("/scripts/history/p/"+segments(path)), nil, &list)
	return list, err
}

// ArchiveScript archives the script at a path.
func (c *Client) ArchiveScript(ctx context.Context, path string) error {
	_, err := c.post(ctx, c.here("/scripts/archive/p/"+segments(path)), nil, nil)
	return err
}

// DeleteScript deletes one version for good.
func (c *Client) DeleteScript(ctx context.Context, hash string) error {
	_, err := c.post(ctx, c.here("/scripts/delete/h/"+url.PathEscape(hash)), nil, nil)
	return err
}

// CreateToken returns the new token, which is not shown again.
func (c *Client) CreateToken(ctx context.Context, t wire.NewToken) (string, error) {
	return c.post(ctx, "/api/users/tokens/create", nil, t)
}

// Tokens lists the tokens of the one who asks.
func (c *Client) Tokens(ctx context.Context) ([]engine.Token, error) {
	var list []engine.Token
	err := c.get(ctx, "/api/users/tokens/list", url.Values{"per_page": {"1000"}}, &list)
	return list, err
}

// DeleteToken forgets the token with a prefix.
func (c *Client) DeleteToken(ctx context.Context, prefix string) error {
	_, err := c.text(ctx, call{method: http.MethodDelete, path: "/api/users/tokens/delete/" + url.PathEscape(prefix)})
	return err
}

// Whoami returns who asks.
func (c *Client) Whoami(ctx context.Context) (*wire.Me, error) {
	var m wire.Me
	if err := c.get(ctx, "/api/users/whoami", nil, &m); err != nil {
		return nil, err
	}
	return &m, nil
}

// WhoamiHere returns who asks, in the workspace; it works with tokens that are bound to it too.
func (c *Client) WhoamiHere(ctx context.Context) (*wire.Member, error) {
	var m wire.Member
	if err := c.get(ctx, c.here("/users/whoami"), nil, &m); err != nil {
		return nil, err
	}
	return &m, nil
}

// Workspaces lists the workspaces open to the one who asks.
func (c *Client) Workspaces(ctx context.Context) ([]engine.Workspace, error) {
	var list []engine.Workspace
	err := c.get(ctx, "/api/workspaces/list", nil, &list)
	return list, err
}

// CreateWorkspace makes a workspace.
func (c *Client) CreateWorkspace(ctx context.Context, w wire.NewWorkspace) error {
	_, err := c.post(ctx, "/api/workspaces/create", nil, w)
	return err
}

// Workers lists the processes that take jobs.
func (c *Client) Workers(ctx context.Context) ([]wire.Worker, error) {
	var list []wire.Worker
	err := c.get(ctx, "/api/workers/list", url.Values{"per_page": {"1000"}}, &list)
	return list, err
}

// Version tells what the daemon is.
func (c *Client) Version(ctx context.Context) (*wire.Product, error) {
	var p wire.Product
	if err := c.get(ctx, "/api/millrace/version", nil, &p); err != nil {
		return nil, err
	}
	return &p, nil
}

// Health returns nil while the daemon lives.
func (c *Client) Health(ctx context.Context) error {
	_, err := c.text(ctx, call{method: http.MethodGet, path: "/api/health"})
	return err
}

// Ready returns nil while the daemon can take jobs.
func (c *Client) Ready(ctx context.Context) error {
	_, err := c.text(ctx, call{method: http.MethodGet, path: "/api/ready"})
	return err
}

// Metrics returns the metrics in Prometheus' text format.
func (c *Client) Metrics(ctx context.Context) (string, error) {
	return c.text(ctx, call{method: http.MethodGet, path: "/metrics"})
}
