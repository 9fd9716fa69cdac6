package client

import (
	"context"
	"net/http"
	"net/url"

	"github.com/millrace/millrace/web/wire"
)

// Members lists the members of the workspace.
func (c *Client) Members(ctx context.Context) ([]wire.Member, error) {
	var list []wire.Member
	err := c.get(ctx, c.here("/users/list"), nil, &list)
	return list, err
}

// AddMember takes somebody into the workspace; one who is in it gets that email and role.
func (c *Client) AddMember(ctx context.Context, n wire.NewMember) error {
	_, err := c.post(ctx, c.here("/workspaces/add_user"), nil, n)
	return err
}

// RemoveMember takes somebody out of the workspace.
func (c *Client) RemoveMember(ctx context.Context, username string) error {
	_, err := c.text(ctx, call{method: http.MethodDelete, path: c.here("/users/delete/" + url.PathEscape(username))})
	return err
}

// CreateMemberToken returns a new token of somebody else's, which is not shown again.
func (c *Client) CreateMemberToken(ctx context.Context, t wire.MemberToken) (string, error) {
	return c.post(ctx, "/api/users/tokens/impersonate", nil, t)
}

// Groups lists the groups of the workspace.
func (c *Client) Groups(ctx context.Context) ([]wire.Group, error) {
	var list []wire.Group
	err := c.get(ctx, c.here("/groups/list"), url.Values{"per_page": {"1000"}}, &list)
	return list, err
}

// Group returns one of them.
func (c *Client) Group(ctx context.Context, name string) (*wire.Group, error) {
	var g wire.Group
	if err := c.get(ctx, c.here("/groups/get/"+url.PathEscape(name)), nil, &g); err != nil {
		return nil, err
	}
	return &g, nil
}

// CreateGroup makes a group that nobody is in.
func (c *Client) CreateGroup(ctx context.Context, n wire.NewGroup) error {
	_, err := c.post(ctx, c.here("/groups/create"), nil, n)
	return err
}

// DeleteGroup deletes a group.
func (c *Client) DeleteGroup(ctx context.Context, name string) error {
	_, err := c.text(ctx, call{method: http.MethodDelete, path: c.here("/groups/delete/" + url.PathEscape(name))})
	return err
}

// AddToGroup takes a member of the workspace into a group.
func (c *Client) AddToGroup(ctx context.Context, name, username string) error {
	_, err := c.post(ctx, c.here("/groups/adduser/"+url.PathEscape(name)), nil, wire.GroupMember{Username: username})
	return err
}

// RemoveFromGroup takes somebody out of a group.
func (c *Client) RemoveFromGroup(ctx context.Context, name, username string) error {
	_, err := c.post(ctx, c.here("/groups/removeuser/"+url.PathEscape(name)), nil, wire.GroupMember{Username: username})
	return err
}
