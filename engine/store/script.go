package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/millrace/millrace/engine"
)

// CatalogChannel carries "<workspace>/<path>" of every script that changed.
const CatalogChannel = "catalog"

// IsUnknownReference reports whether err says that a row names another that is not there, such as a workspace.
func IsUnknownReference(err error) bool {
	var pe *pgconn.PgError
	return errors.As(err, &pe) && pe.Code == "23503"
}

// ScriptCurrent returns the version that path stands for; see IsNotFound.
func (db *DB) ScriptCurrent(ctx context.Context, ws, path string) (*engine.Script, error) {
	s, err := scanScript(db.pool.QueryRow(ctx, q("ScriptCurrent"), ws, path))
	if err != nil {
		return nil, fmt.Errorf("read script %s: %w", path, err)
	}
	return s, nil
}

// ScriptByHash returns a version in whatever state; see IsNotFound.
func (db *DB) ScriptByHash(ctx context.Context, ws string, h engine.Hash) (*engine.Script, error) {
	s, err := scanScript(db.pool.QueryRow(ctx, q("ScriptByHash"), ws, int64(h)))
	if err != nil {
		return nil, fmt.Errorf("read script version %s: %w", h, err)
	}
	return s, nil
}

// ScriptNewest locks path against other deployments for the rest of tx and returns its newest version, current or not; nil
// when it never had one.
func (db *DB) ScriptNewest(ctx context.Context, tx Tx, ws, path string) (s *engine.Script, current bool, err error) {
	if _, err := tx.Exec(ctx, q("ScriptLockPath"), ws, path); err != nil {
		return nil, false, fmt.Errorf("lock script %s: %w", path, err)
	}
	s, err = scanScript(tx.QueryRow(ctx, q("ScriptNewest"), ws, path), &current)
	if IsNotFound(err) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("read script %s: %w", path, err)
	}
	return s, current, nil
}

// ScriptInsert makes s the current version of its path; false when its hash is taken. Call ScriptNewest first.
func (db *DB) ScriptInsert(ctx context.Context, tx Tx, s *engine.Script) (bool, error) {
	extra, err := encodeExtra(s.Extra)
	if err != nil {
		return false, fmt.Errorf("store script %s: %w", s.Path, err)
	}
	parents := make([]int64, len(s.Parents))
	for i, h := range s.Parents {
		parents[i] = int64(h)
	}
	if _, err := tx.Exec(ctx, q("ScriptSupersede"), s.Workspace, s.Path); err != nil {
		return false, fmt.Errorf("store script %s: %w", s.Path, err)
	}
	tag, err := tx.Exec(ctx, q("ScriptInsert"), s.Workspace, int64(s.Hash), s.Path, parents, s.Summary, s.Doc, s.Content, s.Language,
		s.Kind, []byte(s.Schema), s.Lock, s.Tag, s.Timeout.Milliseconds(), s.Network, s.CreatedBy, s.Message, extra)
	if err != nil {
		return false, fmt.Errorf("store script %s: %w", s.Path, err)
	}
	if tag.RowsAffected() == 0 {
		return false, nil
	}
	return true, scriptNotify(ctx, tx, s.Workspace, s.Path)
}

// ScriptList returns scripts without content, schema and lock, newest first: those that paths stand for, or with
// ShowArchived only the archived ones.
func (db *DB) ScriptList(ctx context.Context, ws string, f engine.ScriptFilter) ([]*engine.Script, error) {
	name := "ScriptList"
	if f.ShowArchived {
		name = "ScriptListArchived"
	}
	per := f.PerPage
	if per <= 0 {
		per = 30
	}
	per = min(per, 1000)
	rows, err := db.pool.Query(ctx, q(name), ws, f.PathExact, f.PathStart, f.CreatedBy, f.Language, per, max(f.Page-1, 0)*per)
	if err != nil {
		return nil, fmt.Errorf("list scripts: %w", err)
	}
	list, err := pgx.CollectRows(rows, scanScriptShort)
	if err != nil {
		return nil, fmt.Errorf("list scripts: %w", err)
	}
	return list, nil
}

// ScriptHistory returns all versions of a path without content, schema and lock, newest first.
func (db *DB) ScriptHistory(ctx context.Context, ws, path string) ([]*engine.Script, error) {
	rows, err := db.pool.Query(ctx, q("ScriptHistory"), ws, path)
	if err != nil {
		return nil, fmt.Errorf("history of script %s: %w", path, err)
	}
	list, err := pgx.CollectRows(rows, scanScriptShort)
	if err != nil {
		return nil, fmt.Errorf("history of script %s: %w", path, err)
	}
	return list, nil
}

// ScriptArchive takes path out of use with all its versions; false when it stands for nothing.
func (db *DB) ScriptArchive(ctx context.Context, ws, path string) (done bool, err error) {
	err = db.InTx(ctx, func(tx Tx) error {
		if _, err := tx.Exec(ctx, q("ScriptLockPath"), ws, path); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, q("ScriptArchive"), ws, path)
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		done = true
		return scriptNotify(ctx, tx, ws, path)
	})
	if err != nil {
		return false, fmt.Errorf("archive script %s: %w", path, err)
	}
	return done, nil
}

// ScriptDelete empties one version and returns its path; "" when there is none or it is deleted already.
func (db *DB) ScriptDelete(ctx context.Context, ws string, h engine.Hash) (string, error) {
	path, err := db.changeScript(ctx, ws, "ScriptDelete", ws, int64(h))
	if err != nil {
		return "", fmt.Errorf("delete script version %s: %w", h, err)
	}
	return path, nil
}

// ScriptSetLock stores the lock of a version, or with errText why it has none, and returns its path; "" when there is no such
// version.
func (db *DB) ScriptSetLock(ctx context.Context, ws string, h engine.Hash, lock *string, errText string) (string, error) {
	path, err := db.changeScript(ctx, ws, "ScriptSetLock", ws, int64(h), lock, errText)
	if err != nil {
		return "", fmt.Errorf("store the lock of script version %s: %w", h, err)
	}
	return path, nil
}

// changeScript runs a statement that returns the path of the version it changed.
func (db *DB) changeScript(ctx context.Context, ws, query string, args ...any) (path string, err error) {
	err = db.InTx(ctx, func(tx Tx) error {
		if err := tx.QueryRow(ctx, q(query), args...).Scan(&path); err != nil {
			return err
		}
		return scriptNotify(ctx, tx, ws, path)
	})
	if IsNotFound(err) {
		return "", nil
	}
	return path, err
}

// ScriptPaths returns the paths in use, at most limit, the most recently deployed first.
func (db *DB) ScriptPaths(ctx context.Context, ws string, limit int) ([]string, error) {
	rows, err := db.pool.Query(ctx, q("ScriptPaths"), ws, limit)
	if err != nil {
		return nil, fmt.Errorf("list script paths: %w", err)
	}
	paths, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("list script paths: %w", err)
	}
	return paths, nil
}

func scriptNotify(ctx context.Context, tx Tx, ws, path string) error {
	if _, err := tx.Exec(ctx, q("ScriptNotify"), ws, path); err != nil {
		return fmt.Errorf("announce script %s: %w", path, err)
	}
	return nil
}

// scanScript reads a full row; more takes further columns.
func scanScript(row pgx.Row, more ...any) (*engine.Script, error) {
	var (
		s             engine.Script
		hash, timeout int64
		parents       []int64
		schema, extra []byte
	)
	dest := append([]any{&s.Workspace, &hash, &s.Path, &parents, &s.Summary, &s.Doc, &s.Content, &s.Language, &s.Kind, &schema,
		&s.Lock, &s.LockError, &s.Tag, &timeout, &s.Network, &s.Archived, &s.Deleted, &s.CreatedBy, &s.CreatedAt, &s.Message, &extra}, more...)
	if err := row.Scan(dest...); err != nil {
		return nil, err
	}
	s.Schema = schema
	return finishScript(&s, hash, timeout, parents, extra)
}

func scanScriptShort(row pgx.CollectableRow) (*engine.Script, error) {
	var (
		s             engine.Script
		hash, timeout int64
		parents       []int64
		extra         []byte
	)
	err := row.Scan(&s.Workspace, &hash, &s.Path, &parents, &s.Summary, &s.Doc, &s.Language, &s.Kind, &s.LockError, &s.Tag, &timeout,
		&s.Network, &s.Archived, &s.Deleted, &s.CreatedBy, &s.CreatedAt, &s.Message, &extra)
	if err != nil {
		return nil, err
	}
	return finishScript(&s, hash, timeout, parents, extra)
}

func finishScript(s *engine.Script, hash, timeout int64, parents []int64, extra []byte) (*engine.Script, error) {
	s.Hash, s.Timeout = engine.Hash(hash), time.Duration(timeout)*time.Millisecond
	for _, p := range parents {
		s.Parents = append(s.Parents, engine.Hash(p))
	}
	if len(extra) > 0 {
		if err := json.Unmarshal(extra, &s.Extra); err != nil {
			return nil, fmt.Errorf("extra fields: %w", err)
		}
		s.Options, _ = engine.ParseOptions(s.Extra) // what is wrong was refused, or stored when it meant nothing yet
	}
	return s, nil
}

// encodeExtra keeps values as they were sent, without the escapes that are for HTML.
func encodeExtra(m map[string]json.RawMessage) ([]byte, error) {
	if len(m) == 0 {
		return nil, nil
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(m); err != nil {
		return nil, fmt.Errorf("extra fields: %w", err)
	}
	return b.Bytes(), nil
}
