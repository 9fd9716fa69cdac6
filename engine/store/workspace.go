package store

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/millrace/millrace/engine"
)

// Roles of members.
const (
	RoleAdmin     = "admin"
	RoleDeveloper = "developer"
)

// Member is a user's place in a workspace.
type Member struct {
	Workspace, Username, Role string
}

// WorkspaceList returns all workspaces.
func (db *DB) WorkspaceList(ctx context.Context) ([]engine.Workspace, error) {
	rows, err := db.pool.Query(ctx, q("WorkspaceList"))
	if err != nil {
		return nil, fmt.Errorf("list workspaces: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (w engine.Workspace, err error) {
		err = r.Scan(&w.ID, &w.Name, &w.Owner, &w.CreatedAt)
		return w, err
	})
	if err != nil {
		return nil, fmt.Errorf("list workspaces: %w", err)
	}
	return list, nil
}

// WorkspaceInsert makes a workspace whose first administrator is username with w.Owner; see IsConflict.
func (db *DB) WorkspaceInsert(ctx context.Context, w engine.Workspace, username string) error {
	return db.changeMembers(ctx, "make workspace "+w.ID, func(tx Tx) error {
		if _, err := tx.Exec(ctx, q("WorkspaceInsert"), w.ID, w.Name, w.Owner); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, q("MemberPut"), w.ID, username, w.Owner, RoleAdmin)
		return err
	})
}

// MemberList returns the members of all workspaces.
func (db *DB) MemberList(ctx context.Context) ([]Member, error) {
	rows, err := db.pool.Query(ctx, q("MemberList"))
	if err != nil {
		return nil, fmt.Errorf("list members: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (m Member, err error) {
		err = r.Scan(&m.Workspace, &m.Username, &m.Role)
		return m, err
	})
	if err != nil {
		return nil, fmt.Errorf("list members: %w", err)
	}
	return list, nil
}

// MemberPut adds a member or changes its role; see IsUnknownReference.
func (db *DB) MemberPut(ctx context.Context, m Member, email string) error {
	return db.changeMembers(ctx, "store member "+m.Username, func(tx Tx) error {
		_, err := tx.Exec(ctx, q("MemberPut"), m.Workspace, m.Username, email, m.Role)
		return err
	})
}

// MemberDelete removes a member and the tokens of theirs that are bound to the workspace; it does not mind when there is none.
func (db *DB) MemberDelete(ctx context.Context, ws, username string) error {
	return db.changeMembers(ctx, "remove member "+username, func(tx Tx) error {
		if _, err := tx.Exec(ctx, q("MemberDelete"), ws, username); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, q("TokenDeleteBound"), ws, username)
		return err
	})
}

func (db *DB) changeMembers(ctx context.Context, what string, change func(tx Tx) error) error {
	err := db.InTx(ctx, func(tx Tx) error {
		if err := change(tx); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, q("WorkspaceNotify"))
		return err
	})
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}
