package auth

import (
	"context"
	"strings"
	"unicode/utf8"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store"
)

// Workspaces lists and makes workspaces.
type Workspaces struct{ a *Auth }

// Workspaces returns the workspaces.
func (a *Auth) Workspaces() *Workspaces { return &Workspaces{a} }

// Exists tells whether there is a workspace.
func (w *Workspaces) Exists(_ context.Context, id string) (bool, error) {
	return w.a.house.Load().workspaces[id], nil
}

// List returns the workspaces that p may read.
func (w *Workspaces) List(ctx context.Context, p engine.Principal) ([]engine.Workspace, error) {
	all, err := w.a.cfg.DB.WorkspaceList(ctx)
	if err != nil {
		return nil, failed("workspace.list", err)
	}
	out := []engine.Workspace{}
	for _, ws := range all {
		if w.a.Can(p, Read, ws.ID, "") == nil {
			out = append(out, ws)
		}
	}
	return out, nil
}

// Create makes a workspace of which p becomes an administrator. Only administrators of the instance may.
func (w *Workspaces) Create(ctx context.Context, p engine.Principal, ws engine.Workspace) error {
	const op = "workspace.create"
	if err := w.a.Can(p, Admin, "", ""); err != nil {
		return err
	}
	if err := engine.CheckWorkspace(op, ws.ID); err != nil {
		return err
	}
	if ws.Name == "" {
		ws.Name = ws.ID
	}
	if ws.Owner == "" {
		ws.Owner = p.Email
	}
	for _, s := range []string{ws.Name, ws.Owner} {
		if len(s) > 255 || !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
			return &engine.Error{Code: engine.Invalid, Op: op, Path: ws.ID, Msg: "name and owner are texts of at most 255 bytes"}
		}
	}
	err := w.a.cfg.DB.WorkspaceInsert(ctx, ws, p.Username)
	if store.IsConflict(err, "") {
		return &engine.Error{Code: engine.Conflict, Op: op, Path: ws.ID, Msg: "there is such a workspace already"}
	}
	if err != nil {
		return failed(op, err)
	}
	return w.a.reload(ctx, op)
}

// reload makes a change count here before its NOTIFY comes around.
func (a *Auth) reload(ctx context.Context, op string) error {
	if err := a.load(ctx); err != nil {
		return failed(op, err)
	}
	return nil
}
