package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/millrace/millrace/engine"
)

// FlowCurrent returns the version that path stands for; see IsNotFound.
func (db *DB) FlowCurrent(ctx context.Context, ws, path string) (*engine.Flow, error) {
	f, err := scanFlow(db.pool.QueryRow(ctx, q("FlowVersionCurrent"), ws, path))
	if err != nil {
		return nil, fmt.Errorf("read flow %s: %w", path, err)
	}
	return f, nil
}

// FlowVersion returns a version, current or not; see IsNotFound.
func (db *DB) FlowVersion(ctx context.Context, ws string, version int64) (*engine.Flow, error) {
	f, err := scanFlow(db.pool.QueryRow(ctx, q("FlowVersionGet"), ws, version))
	if err != nil {
		return nil, fmt.Errorf("read flow version %d: %w", version, err)
	}
	return f, nil
}

// FlowLock locks path against other deployments for the rest of tx and returns what it stands for; nil: nothing.
func (db *DB) FlowLock(ctx context.Context, tx Tx, ws, path string) (*engine.Flow, error) {
	if _, err := tx.Exec(ctx, q("FlowVersionLockPath"), ws, path); err != nil {
		return nil, fmt.Errorf("lock flow %s: %w", path, err)
	}
	f, err := scanFlow(tx.QueryRow(ctx, q("FlowVersionCurrent"), ws, path))
	if IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read flow %s: %w", path, err)
	}
	return f, nil
}

// FlowInsert makes f the current version of its path and gives it its number. Call FlowLock first.
func (db *DB) FlowInsert(ctx context.Context, tx Tx, f *engine.Flow) error {
	extra, err := encodeExtra(f.Extra)
	if err != nil {
		return fmt.Errorf("store flow %s: %w", f.Path, err)
	}
	locks, err := encodeLocks(f.Locks)
	if err != nil {
		return fmt.Errorf("store flow %s: %w", f.Path, err)
	}
	if _, err := tx.Exec(ctx, q("FlowVersionSupersede"), f.Workspace, f.Path); err != nil {
		return fmt.Errorf("store flow %s: %w", f.Path, err)
	}
	err = tx.QueryRow(ctx, q("FlowVersionInsert"), f.Workspace, f.Path, f.Summary, f.Doc, []byte(f.Value), []byte(f.Schema), locks, f.Tag,
		f.Timeout.Milliseconds(), f.CreatedBy, f.Message, extra).Scan(&f.Version)
	if err != nil {
		return fmt.Errorf("store flow %s: %w", f.Path, err)
	}
	return scriptNotify(ctx, tx, f.Workspace, f.Path)
}

// FlowMove gives all versions of a path another one. Lock both first.
func (db *DB) FlowMove(ctx context.Context, tx Tx, ws, from, to string) error {
	if _, err := tx.Exec(ctx, q("FlowVersionMove"), ws, from, to); err != nil {
		return fmt.Errorf("move flow %s: %w", from, err)
	}
	return scriptNotify(ctx, tx, ws, from)
}

// FlowList returns flows without value, schema and locks, newest first: those that paths stand for, or with ShowArchived only the
// archived ones.
func (db *DB) FlowList(ctx context.Context, ws string, f engine.FlowFilter) ([]*engine.Flow, error) {
	name := "FlowVersionList"
	if f.ShowArchived {
		name = "FlowVersionListArchived"
	}
	per := f.PerPage
	if per <= 0 {
		per = 30
	}
	per = min(per, 1000)
	rows, err := db.pool.Query(ctx, q(name), ws, f.PathExact, f.PathStart, f.CreatedBy, per, max(f.Page-1, 0)*per)
	if err != nil {
		return nil, fmt.Errorf("list flows: %w", err)
	}
	list, err := pgx.CollectRows(rows, scanFlowShort)
	if err != nil {
		return nil, fmt.Errorf("list flows: %w", err)
	}
	return list, nil
}

// FlowHistory returns all versions of a path without value, schema and locks, newest first.
func (db *DB) FlowHistory(ctx context.Context, ws, path string) ([]*engine.Flow, error) {
	rows, err := db.pool.Query(ctx, q("FlowVersionHistory"), ws, path)
	if err != nil {
		return nil, fmt.Errorf("history of flow %s: %w", path, err)
	}
	list, err := pgx.CollectRows(rows, scanFlowShort)
	if err != nil {
		return nil, fmt.Errorf("history of flow %s: %w", path, err)
	}
	return list, nil
}

// FlowArchive takes path out of use with all its versions, or with on false back into use; false when it was so before.
func (db *DB) FlowArchive(ctx context.Context, ws, path string, on bool) (bool, error) {
	name := "FlowVersionUnarchive"
	if on {
		name = "FlowVersionArchive"
	}
	done, err := db.changeFlow(ctx, ws, path, name)
	if err != nil {
		return false, fmt.Errorf("archive flow %s: %w", path, err)
	}
	return done, nil
}

// FlowDelete removes all versions of a path; false when there was none.
func (db *DB) FlowDelete(ctx context.Context, ws, path string) (bool, error) {
	done, err := db.changeFlow(ctx, ws, path, "FlowVersionDelete")
	if err != nil {
		return false, fmt.Errorf("delete flow %s: %w", path, err)
	}
	return done, nil
}

// changeFlow runs a statement over the versions of a path, and tells whether there were any.
func (db *DB) changeFlow(ctx context.Context, ws, path, query string) (done bool, err error) {
	err = db.InTx(ctx, func(tx Tx) error {
		if _, err := tx.Exec(ctx, q("FlowVersionLockPath"), ws, path); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, q(query), ws, path)
		if done = tag.RowsAffected() > 0; err != nil || !done {
			return err
		}
		return scriptNotify(ctx, tx, ws, path)
	})
	return done, err
}

// FlowSetLocks stores the locks of a version, or with errText why it has none, and returns its path; "" when there is no such version.
func (db *DB) FlowSetLocks(ctx context.Context, ws string, version int64, locks map[string]string, errText string) (string, error) {
	text, err := encodeLocks(locks)
	if err != nil {
		return "", fmt.Errorf("store the locks of flow version %d: %w", version, err)
	}
	path, err := db.changeScript(ctx, ws, "FlowVersionSetLocks", ws, version, text, errText)
	if err != nil {
		return "", fmt.Errorf("store the locks of flow version %d: %w", version, err)
	}
	return path, nil
}

// FlowPaths returns the paths in use, at most limit, the most recently deployed first.
func (db *DB) FlowPaths(ctx context.Context, ws string, limit int) ([]string, error) {
	rows, err := db.pool.Query(ctx, q("FlowVersionPaths"), ws, limit)
	if err != nil {
		return nil, fmt.Errorf("list flow paths: %w", err)
	}
	paths, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("list flow paths: %w", err)
	}
	return paths, nil
}

func encodeLocks(locks map[string]string) ([]byte, error) {
	if locks == nil {
		return nil, nil
	}
	return json.Marshal(locks)
}

func scanFlow(row pgx.Row) (*engine.Flow, error) {
	var (
		f                           engine.Flow
		timeout                     int64
		value, schema, locks, extra []byte
	)
	err := row.Scan(&f.Workspace, &f.Version, &f.Path, &f.Summary, &f.Doc, &value, &schema, &locks, &f.LockError, &f.Tag, &timeout, &f.Archived,
		&f.CreatedBy, &f.CreatedAt, &f.Message, &extra)
	if err != nil {
		return nil, err
	}
	f.Value, f.Schema = value, schema
	if locks != nil {
		if err := json.Unmarshal(locks, &f.Locks); err != nil {
			return nil, fmt.Errorf("locks: %w", err)
		}
	}
	return finishFlow(&f, timeout, extra)
}

func scanFlowShort(row pgx.CollectableRow) (*engine.Flow, error) {
	var (
		f       engine.Flow
		timeout int64
		extra   []byte
	)
	err := row.Scan(&f.Workspace, &f.Version, &f.Path, &f.Summary, &f.Doc, &f.LockError, &f.Tag, &timeout, &f.Archived, &f.CreatedBy, &f.CreatedAt,
		&f.Message, &extra)
	if err != nil {
		return nil, err
	}
	return finishFlow(&f, timeout, extra)
}

func finishFlow(f *engine.Flow, timeout int64, extra []byte) (*engine.Flow, error) {
	f.Timeout = time.Duration(timeout) * time.Millisecond
	if len(extra) > 0 {
		if err := json.Unmarshal(extra, &f.Extra); err != nil {
			return nil, fmt.Errorf("extra fields: %w", err)
		}
	}
	return f, nil
}
