package store

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/millrace/millrace/engine"
)

// TickKey names a line of a ledger.
type TickKey struct {
	Workspace, Path string
	At              time.Time
}

// NewTick is a line to be written.
type NewTick struct {
	TickKey
	State   engine.TickState
	Count   int
	Job     *uuid.UUID
	Claimed bool       // the caller pushes it; otherwise it waits
	Guard   *uuid.UUID // the run that the caller asks first, of one that is claimed
	Error   string
}

// TickInsert writes lines and returns the keys of those that were new; a tick that has its line is left as it is.
func (db *DB) TickInsert(ctx context.Context, tx Tx, list []NewTick) (map[TickKey]bool, error) {
	var ws, paths, states, errs []string
	var at []time.Time
	var counts []int32
	var ids, guards []*uuid.UUID
	var claimed []bool
	for _, t := range list {
		ws, paths, states, errs = append(ws, t.Workspace), append(paths, t.Path), append(states, string(t.State)), append(errs, t.Error)
		at, counts, ids, claimed = append(at, t.At), append(counts, int32(t.Count)), append(ids, t.Job), append(claimed, t.Claimed)
		guards = append(guards, t.Guard)
	}
	rows, err := tx.Query(ctx, q("TickInsert"), ws, paths, at, states, counts, ids, claimed, errs, guards)
	if err != nil {
		return nil, fmt.Errorf("write ticks: %w", err)
	}
	out := map[TickKey]bool{}
	var k TickKey
	_, err = pgx.ForEachRow(rows, []any{&k.Workspace, &k.Path, &k.At}, func() error {
		k.At = k.At.UTC()
		out[k] = true
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("write ticks: %w", err)
	}
	return out, nil
}

// TickBackfill makes past ticks wait to be fired: those without a line, and those that were not run. It returns how many.
func (db *DB) TickBackfill(ctx context.Context, tx Tx, ws, path string, at []time.Time) (int, error) {
	ids := make([]uuid.UUID, len(at))
	for i := range ids {
		ids[i] = engine.NewJobID()
	}
	tag, err := tx.Exec(ctx, q("TickBackfill"), ws, path, at, ids)
	if err != nil {
		return 0, fmt.Errorf("backfill schedule %s: %w", path, err)
	}
	return int(tag.RowsAffected()), nil
}

// TickOpen counts the ticks of a schedule that wait, and those that are on their way or run; one whose job failed goes on while
// there are further attempts.
func (db *DB) TickOpen(ctx context.Context, tx Tx, k TickKey, retries int) (waiting, running int, err error) {
	if err := tx.QueryRow(ctx, q("TickOpen"), k.Workspace, k.Path, retries).Scan(&waiting, &running); err != nil {
		return 0, 0, fmt.Errorf("count ticks of %s: %w", k.Path, err)
	}
	return waiting, running, nil
}

// TickGiveUp ends the ticks of a schedule that wait in another state; byHand: also those of a backfill.
func (db *DB) TickGiveUp(ctx context.Context, tx Tx, k TickKey, state engine.TickState, why string, byHand bool) error {
	if _, err := tx.Exec(ctx, q("TickGiveUp"), k.Workspace, k.Path, string(state), why, byHand); err != nil {
		return fmt.Errorf("end waiting ticks of %s: %w", k.Path, err)
	}
	return nil
}

// TickWaiting returns the schedules with ticks that wait; At is not set.
func (db *DB) TickWaiting(ctx context.Context, limit int) ([]TickKey, error) {
	rows, err := db.pool.Query(ctx, q("TickWaiting"), limit)
	if err != nil {
		return nil, fmt.Errorf("find waiting ticks: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (k TickKey, err error) {
		err = r.Scan(&k.Workspace, &k.Path)
		return k, err
	})
	if err != nil {
		return nil, fmt.Errorf("find waiting ticks: %w", err)
	}
	return list, nil
}

// TickPush is a due tick in the hands of a pusher.
type TickPush struct {
	TickKey
	Job      uuid.UUID
	Backfill bool
	Guard    *uuid.UUID // the run that is asked first; nil: none
}

// TickRelease takes the oldest waiting ticks of a schedule that ScheduleLock has locked, guarded: to be asked about first.
func (db *DB) TickRelease(ctx context.Context, tx Tx, k TickKey, limit int, guarded bool) ([]TickPush, error) {
	var guards []uuid.UUID
	for guarded && len(guards) < limit {
		guards = append(guards, engine.NewJobID())
	}
	rows, err := tx.Query(ctx, q("TickRelease"), k.Workspace, k.Path, limit, guards)
	if err != nil {
		return nil, fmt.Errorf("release ticks of %s: %w", k.Path, err)
	}
	list, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (TickPush, error) {
		t := TickPush{TickKey: TickKey{Workspace: k.Workspace, Path: k.Path}}
		err := r.Scan(&t.At, &t.Job, &t.Backfill, &t.Guard)
		t.At = t.At.UTC()
		return t, err
	})
	if err != nil {
		return nil, fmt.Errorf("release ticks of %s: %w", k.Path, err)
	}
	return list, nil
}

// TickStale takes over due ticks whose pusher has not been heard of for late.
func (db *DB) TickStale(ctx context.Context, late time.Duration, limit int) ([]TickPush, error) {
	rows, err := db.pool.Query(ctx, q("TickStale"), late, limit)
	if err != nil {
		return nil, fmt.Errorf("take over ticks: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (t TickPush, err error) {
		err = r.Scan(&t.Workspace, &t.Path, &t.At, &t.Job, &t.Backfill)
		t.At = t.At.UTC()
		return t, err
	})
	if err != nil {
		return nil, fmt.Errorf("take over ticks: %w", err)
	}
	return list, nil
}

// TickFired notes that the jobs of ticks are pushed, and when.
func (db *DB) TickFired(ctx context.Context, list []TickKey, when []time.Time) error {
	ws, paths, at := splitKeys(list)
	if _, err := db.pool.Exec(ctx, q("TickFired"), ws, paths, at, when); err != nil {
		return fmt.Errorf("note fired ticks: %w", err)
	}
	return nil
}

func splitKeys(list []TickKey) (ws, paths []string, at []time.Time) {
	for _, k := range list {
		ws, paths, at = append(ws, k.Workspace), append(paths, k.Path), append(at, k.At)
	}
	return ws, paths, at
}

// TickFail notes why the job of a due tick could not be pushed; off: the schedule is switched off, and says why.
func (db *DB) TickFail(ctx context.Context, k TickKey, why string, off bool) error {
	err := db.InTx(ctx, func(tx Tx) error {
		if off { // first: whoever fires locks schedules before ticks
			if err := db.ScheduleDisable(ctx, tx, k.Workspace, k.Path, why); err != nil {
				return err
			}
			if err := db.TickGiveUp(ctx, tx, k, engine.TickFailed, why, true); err != nil {
				return err
			}
		}
		_, err := tx.Exec(ctx, q("TickFail"), k.Workspace, k.Path, k.At, why)
		return err
	})
	if err != nil {
		return fmt.Errorf("note a failed tick of %s: %w", k.Path, err)
	}
	return nil
}

// TickList returns a page of lines, newest first.
func (db *DB) TickList(ctx context.Context, ws string, f engine.TickFilter) ([]engine.Tick, error) {
	limit, offset := page(f.Page, f.PerPage)
	var states []string
	for _, s := range f.States {
		states = append(states, string(s))
	}
	name, args := "TickList", []any{ws, states, orNil(f.After), orNil(f.Before), limit, offset}
	if f.Schedule != "" {
		name, args = "TickListOf", append(args, f.Schedule)
	}
	rows, err := db.pool.Query(ctx, q(name), args...)
	if err != nil {
		return nil, fmt.Errorf("list ticks: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (t engine.Tick, err error) {
		var state string
		err = r.Scan(&t.Schedule, &t.At, &state, &t.Count, &t.FiredAt, &t.JobID, &t.Attempts, &t.Success, &t.Handler, &t.Recovery,
			&t.Guard, &t.Error)
		t.At, t.State = t.At.UTC(), engine.TickState(state)
		if t.FiredAt != nil {
			t.Drift = t.FiredAt.Sub(t.At)
		}
		return t, err
	})
	if err != nil {
		return nil, fmt.Errorf("list ticks: %w", err)
	}
	return list, nil
}

func orNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// TickExpire removes lines that are older than keep.
func (db *DB) TickExpire(ctx context.Context, keep time.Duration) (int64, error) {
	tag, err := db.pool.Exec(ctx, q("TickExpire"), keep)
	if err != nil {
		return 0, fmt.Errorf("remove old ticks: %w", err)
	}
	return tag.RowsAffected(), nil
}
