package store

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/millrace/millrace/engine"
)

// GroupAll returns the groups of all workspaces.
func (db *DB) GroupAll(ctx context.Context) ([]engine.Group, error) {
	rows, err := db.pool.Query(ctx, q("GroupAll"))
	if err != nil {
		return nil, fmt.Errorf("list groups: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (g engine.Group, err error) {
		err = r.Scan(&g.Workspace, &g.Name, &g.Summary, &g.Members)
		return g, err
	})
	if err != nil {
		return nil, fmt.Errorf("list groups: %w", err)
	}
	return list, nil
}

// GroupInsert makes a group; see IsConflict.
func (db *DB) GroupInsert(ctx context.Context, g engine.Group) error {
	_, err := db.changeGroup(ctx, "GroupInsert", g.Workspace, g.Name, g.Summary)
	return err
}

// GroupUpdate changes what a group is for; false: there is none.
func (db *DB) GroupUpdate(ctx context.Context, ws, name, summary string) (bool, error) {
	return db.changeGroup(ctx, "GroupUpdate", ws, name, summary)
}

// GroupDelete removes a group; false: there was none.
func (db *DB) GroupDelete(ctx context.Context, ws, name string) (bool, error) {
	return db.changeGroup(ctx, "GroupDelete", ws, name)
}

// GroupMemberPut takes a member of the workspace into a group; see IsUnknownReference.
func (db *DB) GroupMemberPut(ctx context.Context, ws, name, username string) error {
	_, err := db.changeGroup(ctx, "GroupMemberPut", ws, name, username)
	return err
}

// GroupMemberDelete takes somebody out of a group; false: they were not in it.
func (db *DB) GroupMemberDelete(ctx context.Context, ws, name, username string) (bool, error) {
	return db.changeGroup(ctx, "GroupMemberDelete", ws, name, username)
}

func (db *DB) changeGroup(ctx context.Context, statement string, ws, name string, more ...any) (found bool, err error) {
	err = db.changeMembers(ctx, "change group "+name, func(tx Tx) error {
		tag, err := tx.Exec(ctx, q(statement), append([]any{ws, name}, more...)...)
		found = tag.RowsAffected() > 0
		return err
	})
	return found, err
}

// MemberShow returns the members of a workspace by name, without their groups.
func (db *DB) MemberShow(ctx context.Context, ws string) ([]engine.Member, error) {
	rows, err := db.pool.Query(ctx, q("MemberShow"), ws)
	if err != nil {
		return nil, fmt.Errorf("list members: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (engine.Member, error) {
		m := engine.Member{Workspace: ws}
		err := r.Scan(&m.Username, &m.Email, &m.Admin)
		return m, err
	})
	if err != nil {
		return nil, fmt.Errorf("list members: %w", err)
	}
	return list, nil
}

// MemberByEmail finds whose an email is, in a workspace or, with "", in any; see IsNotFound.
func (db *DB) MemberByEmail(ctx context.Context, email, ws string) (*engine.Member, error) {
	m := engine.Member{Email: email}
	if err := db.pool.QueryRow(ctx, q("MemberByEmail"), email, ws).Scan(&m.Workspace, &m.Username); err != nil {
		return nil, fmt.Errorf("find member %s: %w", email, err)
	}
	return &m, nil
}
