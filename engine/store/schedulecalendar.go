package store

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/millrace/millrace/engine"
)

// CalendarPut stores a calendar, new or not.
func (db *DB) CalendarPut(ctx context.Context, tx Tx, c *engine.Calendar) error {
	if _, err := tx.Exec(ctx, q("CalendarPut"), c.Workspace, c.Path, c.Summary, orEmpty(c.Days), orEmpty(c.Weekdays), c.EditedBy); err != nil {
		return fmt.Errorf("store calendar %s: %w", c.Path, err)
	}
	return nil
}

func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

// rower is the pool or a transaction.
type rower interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// CalendarList returns calendars by path: those named, or with nil all of the workspace. tx may be nil.
func (db *DB) CalendarList(ctx context.Context, tx Tx, ws string, paths []string) ([]engine.Calendar, error) {
	var from rower = db.pool
	if tx != nil {
		from = tx
	}
	rows, err := from.Query(ctx, q("CalendarList"), ws, paths)
	if err != nil {
		return nil, fmt.Errorf("list calendars: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (c engine.Calendar, err error) {
		err = r.Scan(&c.Workspace, &c.Path, &c.Summary, &c.Days, &c.Weekdays, &c.EditedBy, &c.EditedAt)
		return c, err
	})
	if err != nil {
		return nil, fmt.Errorf("list calendars: %w", err)
	}
	return list, nil
}

// CalendarLock lets one transaction at a time delete calendars of a workspace or name them in a schedule.
func (db *DB) CalendarLock(ctx context.Context, tx Tx, ws string) error {
	if _, err := tx.Exec(ctx, q("CalendarLock"), ws); err != nil {
		return fmt.Errorf("lock calendars: %w", err)
	}
	return nil
}

// CalendarDelete removes a calendar. user is a schedule that names it, which keeps it from being removed; false: there is none.
func (db *DB) CalendarDelete(ctx context.Context, ws, path string) (user string, done bool, err error) {
	err = db.InTx(ctx, func(tx Tx) error {
		if err := db.CalendarLock(ctx, tx, ws); err != nil {
			return err
		}
		switch err := tx.QueryRow(ctx, q("CalendarUser"), ws, path).Scan(&user); {
		case err == nil:
			return nil
		case !IsNotFound(err):
			return err
		}
		tag, err := tx.Exec(ctx, q("CalendarDelete"), ws, path)
		done = err == nil && tag.RowsAffected() > 0
		return err
	})
	if err != nil {
		return "", false, fmt.Errorf("delete calendar %s: %w", path, err)
	}
	return user, done, nil
}
