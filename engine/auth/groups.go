package auth

import (
	"context"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store"
)

// maxSummary bounds what a group says of itself.
const maxSummary = 1000

// GroupsOf returns the names of the groups of ws that somebody is in. All are in engine.Everybody.
func (a *Auth) GroupsOf(username, ws string) []string {
	names := []string{engine.Everybody}
	for _, g := range a.house.Load().groups[ws] {
		if _, in := slices.BinarySearch(g.Members, username); in {
			names = append(names, g.Name)
		}
	}
	return names
}

// Groups returns the groups of a workspace by name, that of all members first.
func (x *People) Groups(_ context.Context, p engine.Principal, ws string) ([]engine.Group, error) {
	if err := x.a.Can(p, Read, ws, ""); err != nil {
		return nil, err
	}
	h := x.a.house.Load()
	all := engine.Group{Workspace: ws, Name: engine.Everybody, Summary: "every member of the workspace", Members: []string{}}
	for m := range h.members {
		if m.workspace == ws {
			all.Members = append(all.Members, m.username)
		}
	}
	slices.Sort(all.Members)
	return append([]engine.Group{all}, h.groups[ws]...), nil
}

// Group returns one group.
func (x *People) Group(ctx context.Context, p engine.Principal, ws, name string) (*engine.Group, error) {
	list, err := x.Groups(ctx, p, ws)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(list, func(g engine.Group) bool { return g.Name == name })
	if i < 0 {
		return nil, noGroup("group.get", ws, name)
	}
	return &list[i], nil
}

// CreateGroup makes a group that nobody is in.
func (x *People) CreateGroup(ctx context.Context, p engine.Principal, g engine.Group) error {
	const op = "group.create"
	err := x.change(ctx, p, op, g.Workspace, g.Name, g.Summary, func() (bool, error) { return true, x.a.cfg.DB.GroupInsert(ctx, g) })
	if store.IsConflict(err, "") {
		return &engine.Error{Code: engine.Conflict, Op: op, Path: g.Name, Msg: "there is such a group already"}
	}
	return err
}

// UpdateGroup changes what a group says of itself.
func (x *People) UpdateGroup(ctx context.Context, p engine.Principal, ws, name, summary string) error {
	return x.change(ctx, p, "group.update", ws, name, summary, func() (bool, error) { return x.a.cfg.DB.GroupUpdate(ctx, ws, name, summary) })
}

// DeleteGroup removes a group; its members stay in the workspace.
func (x *People) DeleteGroup(ctx context.Context, p engine.Principal, ws, name string) error {
	return x.change(ctx, p, "group.delete", ws, name, "", func() (bool, error) { return x.a.cfg.DB.GroupDelete(ctx, ws, name) })
}

// AddToGroup takes a member of the workspace into a group; one that is in it stays there.
func (x *People) AddToGroup(ctx context.Context, p engine.Principal, ws, name, username string) error {
	const op = "group.add"
	if _, in := x.a.house.Load().members[member{ws, username}]; !in && x.a.Can(p, Admin, ws, "") == nil {
		return &engine.Error{Code: engine.NotFound, Op: op, Path: username, Msg: "they are not a member of workspace " + ws, Hint: "'millrace member add' makes them one"}
	}
	err := x.change(ctx, p, op, ws, name, "", func() (bool, error) { return true, x.a.cfg.DB.GroupMemberPut(ctx, ws, name, username) })
	if store.IsUnknownReference(err) {
		return noGroup(op, ws, name)
	}
	return err
}

// RemoveFromGroup takes somebody out of a group.
func (x *People) RemoveFromGroup(ctx context.Context, p engine.Principal, ws, name, username string) error {
	const op = "group.remove"
	if _, err := x.Group(ctx, p, ws, name); err != nil {
		return err
	}
	return x.change(ctx, p, op, ws, name, "", func() (bool, error) {
		found, err := x.a.cfg.DB.GroupMemberDelete(ctx, ws, name, username)
		if err == nil && !found {
			err = &engine.Error{Code: engine.NotFound, Op: op, Path: username, Msg: "they are not in group " + name}
		}
		return true, err
	})
}

// change checks what all changes have in common and makes one; false: there is no such group.
func (x *People) change(ctx context.Context, p engine.Principal, op, ws, name, summary string, do func() (bool, error)) error {
	if err := x.a.Can(p, Admin, ws, ""); err != nil {
		return err
	}
	if err := engine.CheckGroup(op, name); err != nil {
		return err
	}
	if name == engine.Everybody {
		return &engine.Error{Code: engine.Conflict, Op: op, Path: name, Msg: "this group is every member of the workspace and cannot be changed"}
	}
	if len(summary) > maxSummary || !utf8.ValidString(summary) || strings.ContainsRune(summary, 0) {
		return engine.Errorf(engine.Invalid, op, "a summary is text of at most %d bytes", maxSummary)
	}
	found, err := do()
	switch {
	case err == nil && !found:
		return noGroup(op, ws, name)
	case err == nil:
		return x.a.reload(ctx, op)
	case engine.CodeOf(err) == engine.NotFound || store.IsConflict(err, "") || store.IsUnknownReference(err):
		return err
	}
	return failed(op, err)
}

func noGroup(op, ws, name string) error {
	return &engine.Error{Code: engine.NotFound, Op: op, Path: name, Msg: "there is no such group in workspace " + ws}
}
