package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"

	"github.com/millrace/millrace/web/wire"
)

// CreateVariable makes a variable.
func (c *Client) CreateVariable(ctx context.Context, n wire.NewVariable) error {
	_, err := c.post(ctx, c.here("/variables/create"), nil, n)
	return err
}

// UpdateVariable changes a variable.
func (c *Client) UpdateVariable(ctx context.Context, path string, e wire.EditVariable) error {
	_, err := c.post(ctx, c.here("/variables/update/"+segments(path)), nil, e)
	return err
}

// Variable returns a variable, with its value also when that is secret.
func (c *Client) Variable(ctx context.Context, path string) (*wire.Variable, error) {
	var v wire.Variable
	if err := c.get(ctx, c.here("/variables/get/"+segments(path)), nil, &v); err != nil {
		return nil, err
	}
	return &v, nil
}

// VariableExists tells whether there is a variable at a path.
func (c *Client) VariableExists(ctx context.Context, path string) (exists bool, err error) {
	err = c.get(ctx, c.here("/variables/exists/"+segments(path)), nil, &exists)
	return exists, err
}

// Variables lists variables, without the values of secrets.
func (c *Client) Variables(ctx context.Context) ([]wire.Variable, error) {
	var list []wire.Variable
	err := c.get(ctx, c.here("/variables/list"), url.Values{"per_page": {"1000"}}, &list)
	return list, err
}

// DeleteVariable deletes a variable.
func (c *Client) DeleteVariable(ctx context.Context, path string) error {
	_, err := c.text(ctx, call{method: http.MethodDelete, path: c.here("/variables/delete/" + segments(path))})
	return err
}

// PutResource makes a resource or replaces the one at its path.
func (c *Client) PutResource(ctx context.Context, n wire.NewResource) error {
	_, err := c.post(ctx, c.here("/resources/create"), url.Values{"update_if_exists": {"true"}}, n)
	return err
}

// Resource returns a resource as it is stored.
func (c *Client) Resource(ctx context.Context, path string) (*wire.Resource, error) {
	var r wire.Resource
	if err := c.get(ctx, c.here("/resources/get/"+segments(path)), nil, &r); err != nil {
		return nil, err
	}
	return &r, nil
}

// ResourceValue returns the value of a resource with what it refers to.
func (c *Client) ResourceValue(ctx context.Context, path string) (v json.RawMessage, err error) {
	err = c.get(ctx, c.here("/resources/get_value_interpolated/"+segments(path)), nil, &v)
	return v, err
}

// Resources lists resources.
func (c *Client) Resources(ctx context.Context) ([]wire.Resource, error) {
	var list []wire.Resource
	err := c.get(ctx, c.here("/resources/list"), url.Values{"per_page": {"1000"}}, &list)
	return list, err
}

// DeleteResource deletes a resource.
func (c *Client) DeleteResource(ctx context.Context, path string) error {
	_, err := c.text(ctx, call{method: http.MethodDelete, path: c.here("/resources/delete/" + segments(path))})
	return err
}
