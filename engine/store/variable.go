package store

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/millrace/millrace/engine"
)

// VariableInsert stores a new variable as it is; false: its path is taken.
func (db *DB) VariableInsert(ctx context.Context, v *engine.Variable) (bool, error) {
	tag, err := db.pool.Exec(ctx, q("VariableInsert"), v.Workspace, v.Path, v.Value, v.IsSecret, v.Description, v.ExpiresAt, v.EditedBy)
	if err != nil {
		return false, fmt.Errorf("store variable %s: %w", v.Path, err)
	}
	return tag.RowsAffected() == 1, nil
}

// VariableGet returns a variable; see IsNotFound.
func (db *DB) VariableGet(ctx context.Context, ws, path string) (*engine.Variable, error) {
	v, err := scanVariable(db.pool.QueryRow(ctx, q("VariableGet"), ws, path))
	if err != nil {
		return nil, fmt.Errorf("read variable %s: %w", path, err)
	}
	return &v, nil
}

// VariableList lists variables by path.
func (db *DB) VariableList(ctx context.Context, ws string, f engine.ValueFilter) ([]engine.Variable, error) {
	rows, err := db.pool.Query(ctx, q("VariableList"), ws, f.Path, f.PathStart, f.Limit, f.Offset)
	if err != nil {
		return nil, fmt.Errorf("list variables: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (engine.Variable, error) { return scanVariable(r) })
	if err != nil {
		return nil, fmt.Errorf("list variables: %w", err)
	}
	return list, nil
}

// VariableUpdate replaces the variable at path, which had the value old; false: it has changed meanwhile. See IsConflict.
func (db *DB) VariableUpdate(ctx context.Context, path, old string, v *engine.Variable) (bool, error) {
	tag, err := db.pool.Exec(ctx, q("VariableUpdate"), v.Workspace, path, v.Path, v.Value, v.IsSecret, v.Description, v.EditedBy, old)
	if err != nil {
		return false, fmt.Errorf("store variable %s: %w", v.Path, err)
	}
	return tag.RowsAffected() == 1, nil
}

// VariableDelete deletes a variable; false: there is none.
func (db *DB) VariableDelete(ctx context.Context, ws, path string) (bool, error) {
	tag, err := db.pool.Exec(ctx, q("VariableDelete"), ws, path)
	if err != nil {
		return false, fmt.Errorf("delete variable %s: %w", path, err)
	}
	return tag.RowsAffected() == 1, nil
}

func scanVariable(r pgx.Row) (v engine.Variable, err error) {
	err = r.Scan(&v.Workspace, &v.Path, &v.Value, &v.IsSecret, &v.Description, &v.ExpiresAt, &v.EditedBy, &v.EditedAt)
	return v, err
}

// SecretKeyMark returns the mark of the key that secrets of this database are sealed with: mark, if there was none.
func (db *DB) SecretKeyMark(ctx context.Context, mark string) (string, error) {
	if _, err := db.pool.Exec(ctx, q("SecretKeyClaim"), mark); err != nil {
		return "", fmt.Errorf("store the mark of the secret key: %w", err)
	}
	if err := db.pool.QueryRow(ctx, q("SecretKeyMark")).Scan(&mark); err != nil {
		return "", fmt.Errorf("read the mark of the secret key: %w", err)
	}
	return mark, nil
}
