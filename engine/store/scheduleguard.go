package store

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// TickGuarded notes that the guards of ticks are pushed.
func (db *DB) TickGuarded(ctx context.Context, guards []uuid.UUID) error {
	if _, err := db.pool.Exec(ctx, q("TickGuarded"), guards); err != nil {
		return fmt.Errorf("note guards of ticks: %w", err)
	}
	return nil
}

// TickAnswer is what the guard of a due tick answered.
type TickAnswer struct {
	TickPush
	Success bool
	Result  json.RawMessage // nil: none, or too large for a row
	Skip    string          // the schedule's dynamic_skip
	Live    bool            // the schedule is switched on, or the tick was asked for by hand
}

// TickGuardEnded finds ticks whose guard is done, among the given guards or, with nil, all, and locks them.
func (db *DB) TickGuardEnded(ctx context.Context, tx Tx, guards []uuid.UUID, limit int) ([]TickAnswer, error) {
	name, args := "TickGuardEnded", []any{limit}
	if guards != nil {
		name, args = "TickGuardEndedOf", []any{limit, guards}
	}
	rows, err := tx.Query(ctx, q(name), args...)
	if err != nil {
		return nil, fmt.Errorf("find answers of guards: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (t TickAnswer, err error) {
		err = r.Scan(&t.Workspace, &t.Path, &t.At, &t.Job, &t.Backfill, &t.Guard, &t.Success, (*[]byte)(&t.Result), &t.Skip, &t.Live)
		t.At = t.At.UTC()
		return t, err
	})
	if err != nil {
		return nil, fmt.Errorf("find answers of guards: %w", err)
	}
	return list, nil
}

// TickVerdict says what becomes of a tick that has a guard: it runs, or is skipped. Why is for the ledger.
type TickVerdict struct {
	Guard uuid.UUID
	Run   bool
	Why   string
}

// TickGuardEnd stores verdicts, and returns the guards whose ticks had none before. Ticks that run are the caller's to push.
func (db *DB) TickGuardEnd(ctx context.Context, tx Tx, list []TickVerdict) (map[uuid.UUID]bool, error) {
	var guards []uuid.UUID
	var run []bool
	var why []string
	for _, v := range list {
		guards, run, why = append(guards, v.Guard), append(run, v.Run), append(why, v.Why)
	}
	rows, err := tx.Query(ctx, q("TickGuardEnd"), guards, run, why)
	if err != nil {
		return nil, fmt.Errorf("note answers of guards: %w", err)
	}
	out := map[uuid.UUID]bool{}
	var id uuid.UUID
	if _, err := pgx.ForEachRow(rows, []any{&id}, func() error { out[id] = true; return nil }); err != nil {
		return nil, fmt.Errorf("note answers of guards: %w", err)
	}
	return out, nil
}
