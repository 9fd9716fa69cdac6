package store

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/millrace/millrace/engine"
)

// AuthChannel carries "token" when one was deleted and "workspace" when workspaces or their members changed.
const AuthChannel = "auth"

// TokenInsert stores a token by the sha256 of its secret. IsConflict tells that the prefix is taken, IsUnknownReference that
// there is no such workspace.
func (db *DB) TokenInsert(ctx context.Context, hash []byte, t engine.Token) (created time.Time, err error) {
	err = db.pool.QueryRow(ctx, q("TokenInsert"), hash, t.Prefix, t.Label, t.Username, t.Email, t.Admin, t.Workspace, t.ExpiresAt).Scan(&created)
	if err != nil {
		return time.Time{}, fmt.Errorf("store token: %w", err)
	}
	return created, nil
}

// TokenByHash finds a token; see IsNotFound. It may have expired.
func (db *DB) TokenByHash(ctx context.Context, hash []byte) (engine.Token, error) {
	t, err := scanToken(db.pool.QueryRow(ctx, q("TokenByHash"), hash))
	if err != nil {
		return t, fmt.Errorf("read token: %w", err)
	}
	return t, nil
}

// TokenList returns the tokens of a user, or with "" all, the oldest first.
func (db *DB) TokenList(ctx context.Context, username string) ([]engine.Token, error) {
	rows, err := db.pool.Query(ctx, q("TokenList"), username)
	if err != nil {
		return nil, fmt.Errorf("list tokens: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (engine.Token, error) { return scanToken(r) })
	if err != nil {
		return nil, fmt.Errorf("list tokens: %w", err)
	}
	return list, nil
}

// TokenDelete deletes a token, of this user unless username is ""; false when there is none.
func (db *DB) TokenDelete(ctx context.Context, prefix, username string) (bool, error) {
	var n int64
	if err := db.pool.QueryRow(ctx, q("TokenDelete"), prefix, username).Scan(&n); err != nil {
		return false, fmt.Errorf("delete token: %w", err)
	}
	return n > 0, nil
}

// TokenTouch notes that a token is in use. A crash of the server may forget it.
func (db *DB) TokenTouch(ctx context.Context, hash []byte) error {
	if _, err := db.quick.Exec(ctx, q("TokenTouch"), hash); err != nil {
		return fmt.Errorf("note the use of a token: %w", err)
	}
	return nil
}

// InstanceKey returns the key of that name, which all daemons of the database share; fresh becomes it if there is none.
func (db *DB) InstanceKey(ctx context.Context, name string, fresh []byte) ([]byte, error) {
	if _, err := db.pool.Exec(ctx, q("InstanceKeyInsert"), name, fresh); err != nil {
		return nil, fmt.Errorf("store key %s: %w", name, err)
	}
	var key []byte
	if err := db.pool.QueryRow(ctx, q("InstanceKeyGet"), name).Scan(&key); err != nil {
		return nil, fmt.Errorf("read key %s: %w", name, err)
	}
	return key, nil
}

func scanToken(row pgx.Row) (t engine.Token, err error) {
	err = row.Scan(&t.Prefix, &t.Label, &t.Username, &t.Email, &t.Admin, &t.Workspace, &t.CreatedAt, &t.LastUsed, &t.ExpiresAt)
	return t, err
}
