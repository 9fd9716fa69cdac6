package webtest

import (
	"context"
	"slices"

	"github.com/millrace/millrace/engine"
)

// People is the engine seen as api.People: root and ann are members, only root changes anything, and there are groups ops and c_demo.
type People struct {
	*Engine
	members []engine.Member
	groups  []engine.Group
}

// Endings are those of source files, by language.
var Endings = map[string]string{"mock": ".mock", "tongue": ".ts"}

// NewPeople returns them.
func NewPeople(e *Engine) *People {
	return &People{Engine: e, members: []engine.Member{{Workspace: "main", Username: "ann", Email: "ann@localhost", Groups: []string{"all", "ops"}},
		{Workspace: "main", Username: "root", Email: "root@localhost", Admin: true, Groups: []string{"all"}}},
		groups: []engine.Group{{Workspace: "main", Name: "all", Members: []string{"ann", "root"}}, {Workspace: "main", Name: "ops", Summary: "who operates", Members: []string{"ann"}},
			{Workspace: "main", Name: "c_demo", Members: []string{}}}}
}

func (x *People) may(p engine.Principal, op string) error {
	if !p.Admin {
		return &engine.Error{Code: engine.Forbidden, Op: op, Msg: "only administrators of the workspace may"}
	}
	return nil
}

// Members implements api.People.
func (x *People) Members(context.Context, engine.Principal, string) ([]engine.Member, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Clone(x.members), x.Broken
}

// SetMember implements api.People.
func (x *People) SetMember(_ context.Context, p engine.Principal, m engine.Member) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.members = append(slices.DeleteFunc(x.members, func(in engine.Member) bool { return in.Username == m.Username }), m)
	return x.may(p, "member.set")
}

// RemoveMember implements api.People.
func (x *People) RemoveMember(_ context.Context, p engine.Principal, _, username string) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.members = slices.DeleteFunc(x.members, func(in engine.Member) bool { return in.Username == username })
	return x.may(p, "member.remove")
}

// Groups implements api.People.
func (x *People) Groups(context.Context, engine.Principal, string) ([]engine.Group, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Clone(x.groups), x.Broken
}

// Group implements api.People.
func (x *People) Group(_ context.Context, _ engine.Principal, _, name string) (*engine.Group, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, g := range x.groups {
		if g.Name == name {
			return &g, nil
		}
	}
	return nil, &engine.Error{Code: engine.NotFound, Op: "group.get", Path: name, Msg: "there is no such group"}
}

// CreateGroup implements api.People.
func (x *People) CreateGroup(_ context.Context, p engine.Principal, g engine.Group) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	g.Members = []string{}
	x.groups = append(x.groups, g)
	return x.may(p, "group.create")
}

// change does something to a group.
func (x *People) change(p engine.Principal, name string, do func(g *engine.Group)) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	for i := range x.groups {
		if x.groups[i].Name == name {
			do(&x.groups[i])
			return x.may(p, "group.change")
		}
	}
	return &engine.Error{Code: engine.NotFound, Op: "group.change", Path: name, Msg: "there is no such group"}
}

// UpdateGroup implements api.People.
func (x *People) UpdateGroup(_ context.Context, p engine.Principal, _, name, summary string) error {
	return x.change(p, name, func(g *engine.Group) { g.Summary = summary })
}

// DeleteGroup implements api.People.
func (x *People) DeleteGroup(_ context.Context, p engine.Principal, _, name string) error {
	return x.change(p, name, func(g *engine.Group) { g.Name = "" })
}

// AddToGroup implements api.People.
func (x *People) AddToGroup(_ context.Context, p engine.Principal, _, name, username string) error {
	return x.change(p, name, func(g *engine.Group) { g.Members = append(g.Members, username) })
}

// RemoveFromGroup implements api.People.
func (x *People) RemoveFromGroup(_ context.Context, p engine.Principal, _, name, username string) error {
	return x.change(p, name, func(g *engine.Group) {
		g.Members = slices.DeleteFunc(slices.Clone(g.Members), func(s string) bool { return s == username })
	})
}
