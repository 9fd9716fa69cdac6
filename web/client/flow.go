package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/millrace/millrace/web/wire"
)

// DeployFlow deploys a version of a flow, a new one or the next, and says what may be wrong with it. skipIfNoop makes no new version
// of equal content. Body is a JSON object with the fields of wire.NewFlow and whatever else is to be kept.
func (c *Client) DeployFlow(ctx context.Context, path string, body json.RawMessage, skipIfNoop bool) (*wire.FlowDeployed, error) {
	k := call{method: http.MethodPost, path: c.here("/flows/update/" + segments(path)), body: body, header: http.Header{"Accept": {"application/json"}},
		query: url.Values{"skip_if_noop": {strconv.FormatBool(skipIfNoop)}}}
	b, err := c.bytes(ctx, k)
	if IsNotFound(err) {
		k.path = c.here("/flows/create")
		b, err = c.bytes(ctx, k)
	}
	if err != nil {
		return nil, err
	}
	var d wire.FlowDeployed
	if err := json.Unmarshal(b, &d); err != nil {
		return nil, fmt.Errorf("decode answer of %s: %w", k.path, err)
	}
	return &d, nil
}

// Flow returns the newest version at a path, as it was sent.
func (c *Client) Flow(ctx context.Context, path string) (json.RawMessage, error) {
	return c.bytes(ctx, call{method: http.MethodGet, path: c.here("/flows/get/" + segments(path))})
}

// FlowByVersion returns one version.
func (c *Client) FlowByVersion(ctx context.Context, version int64) (json.RawMessage, error) {
	return c.bytes(ctx, call{method: http.MethodGet, path: c.here("/flows/get/v/" + strconv.FormatInt(version, 10))})
}

// Flows lists flows; filter holds query parameters of the list and may be nil.
func (c *Client) Flows(ctx context.Context, filter url.Values) ([]wire.Flow, error) {
	var list []wire.Flow
	err := c.get(ctx, c.here("/flows/list"), filter, &list)
	return list, err
}

// FlowHistory lists the versions at a path, newest first.
func (c *Client) FlowHistory(ctx context.Context, path string) ([]wire.FlowVersion, error) {
	var list []wire.FlowVersion
	err := c.get(ctx, c.here("/flows/history/p/"+segments(path)), nil, &list)
	return list, err
}

// ArchiveFlow archives the flow at a path.
func (c *Client) ArchiveFlow(ctx context.Context, path string) error {
	_, err := c.post(ctx, c.here("/flows/archive/"+segments(path)), nil, wire.FlowArchive{})
	return err
}

// DeleteFlow deletes the flow at a path with all its versions.
func (c *Client) DeleteFlow(ctx context.Context, path string) error {
	_, err := c.text(ctx, call{method: http.MethodDelete, path: c.here("/flows/delete/" + segments(path))})
	return err
}
