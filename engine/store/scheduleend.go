package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/millrace/millrace/engine"
)

// TickEnded is a fired tick whose job is done, with what its schedule knows of the runs before.
type TickEnded struct {
	TickKey
	Job                              uuid.UUID
	Success                          bool
	OnFailure, OnRecovery, OnSuccess *engine.Handler
	Counts                           TickCounts
	Retry                            json.RawMessage // the schedule's policy, when another attempt may follow
	Attempts                         int             // so many there were
}

// TickCounts are the runs in a row of a schedule that ended alike; Broken: it failed often enough to be reported.
type TickCounts struct {
	Fails, Wins int
	Broken      bool
}

// TickEnd is how a tick ended. Handler and Recovery are runs that are still to be pushed; nil: none.
type TickEnd struct {
	TickKey
	Success           bool
	Streak            int
	Handler, Recovery *uuid.UUID
}

// TickEnded finds fired ticks whose job is done, among the given ones or, with nil, all, and locks them with their schedules.
func (db *DB) TickEnded(ctx context.Context, tx Tx, jobs []uuid.UUID, limit int) ([]TickEnded, error) {
	name, args := "TickEnded", []any{limit}
	if jobs != nil {
		name, args = "TickEndedOf", []any{limit, jobs}
	}
	rows, err := tx.Query(ctx, q(name), args...)
	if err != nil {
		return nil, fmt.Errorf("find ended ticks: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (t TickEnded, err error) {
		var h []byte
		err = r.Scan(&t.Workspace, &t.Path, &t.At, &t.Job, &t.Success, &h, &t.Counts.Fails, &t.Counts.Wins, &t.Counts.Broken,
			(*[]byte)(&t.Retry), &t.Attempts)
		if err != nil {
			return t, err
		}
		t.At = t.At.UTC()
		var hs handlers
		if err := json.Unmarshal(h, &hs); err != nil {
			return t, fmt.Errorf("handlers: %w", err)
		}
		t.OnFailure, t.OnRecovery, t.OnSuccess = hs.Failure, hs.Recovery, hs.Success
		return t, nil
	})
	if err != nil {
		return nil, fmt.Errorf("find ended ticks: %w", err)
	}
	return list, nil
}

// TickEnd stores how ticks that TickEnded has locked ended, and the counts of their schedules, by key without At.
func (db *DB) TickEnd(ctx context.Context, tx Tx, ends []TickEnd, counts map[TickKey]TickCounts) error {
	var keys []TickKey
	var success []bool
	var streaks []int32
	var handler, recovery []*uuid.UUID
	for _, e := range ends {
		keys, success, streaks = append(keys, e.TickKey), append(success, e.Success), append(streaks, int32(e.Streak))
		handler, recovery = append(handler, e.Handler), append(recovery, e.Recovery)
	}
	ws, paths, at := splitKeys(keys)
	if _, err := tx.Exec(ctx, q("TickEnd"), ws, paths, at, success, streaks, handler, recovery); err != nil {
		return fmt.Errorf("note ended ticks: %w", err)
	}
	var fails, wins []int32
	var broken []bool
	keys = keys[:0]
	for k, c := range counts {
		keys, fails, wins, broken = append(keys, k), append(fails, int32(c.Fails)), append(wins, int32(c.Wins)), append(broken, c.Broken)
	}
	ws, paths, _ = splitKeys(keys)
	if _, err := tx.Exec(ctx, q("ScheduleCounts"), ws, paths, fails, wins, broken); err != nil {
		return fmt.Errorf("note ended ticks: %w", err)
	}
	return nil
}

// TickRetry is a tick whose job failed, and the job that follows it.
type TickRetry struct {
	TickKey
	Job    uuid.UUID
	Former uuid.UUID // the one that failed
	Due    time.Time // when it is to run
}

// TickRetry stores the next attempts of ticks that TickEnded has locked. They are still to be pushed.
func (db *DB) TickRetry(ctx context.Context, tx Tx, list []TickRetry) error {
	var keys []TickKey
	var ids []uuid.UUID
	var due []time.Time
	for _, r := range list {
		keys, ids, due = append(keys, r.TickKey), append(ids, r.Job), append(due, r.Due)
	}
	ws, paths, at := splitKeys(keys)
	if _, err := tx.Exec(ctx, q("TickRetry"), ws, paths, at, ids, due); err != nil {
		return fmt.Errorf("note further attempts: %w", err)
	}
	return nil
}

// TickRetried notes that an attempt is pushed, or with why that it cannot be, so that the one before it was the last.
func (db *DB) TickRetried(ctx context.Context, k TickKey, job uuid.UUID, why string) error {
	name, args := "TickRetried", []any{k.Workspace, k.Path, k.At, job}
	if why != "" {
		name, args = "TickNoRetry", append(args, why)
	}
	if _, err := db.pool.Exec(ctx, q(name), args...); err != nil {
		return fmt.Errorf("note an attempt of %s: %w", k.Path, err)
	}
	return nil
}

// TickHandler is an ended tick whose handlers are in the hands of a pusher.
type TickHandler struct {
	TickEnd
	Job uuid.UUID
}

// TickTodo is a tick of which a job is still to be pushed. State says which: TickDue the guard, TickFired the attempt Job, TickDone
// the handlers.
type TickTodo struct {
	TickHandler
	State    engine.TickState
	Backfill bool
	Former   *uuid.UUID
	RetryAt  *time.Time
	Guard    *uuid.UUID
}

// TickPending takes over ticks of which a job was not pushed for late.
func (db *DB) TickPending(ctx context.Context, late time.Duration, limit int) ([]TickTodo, error) {
	rows, err := db.pool.Query(ctx, q("TickPending"), late, limit)
	if err != nil {
		return nil, fmt.Errorf("take over what ticks wait for: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (t TickTodo, err error) {
		err = r.Scan(&t.Workspace, &t.Path, &t.At, &t.Job, &t.Success, &t.Streak, &t.Handler, &t.Recovery, (*string)(&t.State), &t.Backfill,
			&t.Former, &t.RetryAt, &t.Guard)
		t.At = t.At.UTC()
		return t, err
	})
	if err != nil {
		return nil, fmt.Errorf("take over what ticks wait for: %w", err)
	}
	return list, nil
}

// TickHandled notes that the handlers of a tick are pushed, or with why that one could not be.
func (db *DB) TickHandled(ctx context.Context, k TickKey, why string) error {
	if _, err := db.pool.Exec(ctx, q("TickHandled"), k.Workspace, k.Path, k.At, why); err != nil {
		return fmt.Errorf("note handlers of %s: %w", k.Path, err)
	}
	return nil
}
