package store

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/millrace/millrace/engine"
)

// WorkerInfo describes a process that takes jobs.
type WorkerInfo struct {
	Host    string
	PID     int
	Name    string // shown to people; empty: host:pid
	Version string
	Tags    []string
	Slots   int
}

// WorkerInsert registers a start of a process; the number is never used again.
func (db *DB) WorkerInsert(ctx context.Context, w WorkerInfo) (id int32, err error) {
	tags := w.Tags
	if tags == nil {
		tags = []string{}
	}
	err = db.pool.QueryRow(ctx, q("WorkerInsert"), w.Host, w.PID, w.Name, w.Version, tags, w.Slots).Scan(&id)
	if err != nil {
		return 0, fmt.Errorf("register worker: %w", err)
	}
	return id, nil
}

// WorkerBeat renews the lease of a worker, notes what it does and has done, and returns how many other workers live, and the server's clock. IsNotFound: it was
// given up as dead and must register anew.
func (db *DB) WorkerBeat(ctx context.Context, id int32, busy int, executed int64, lease time.Duration) (others int, now time.Time, err error) {
	if err := db.quick.QueryRow(ctx, q("WorkerBeat"), id, busy, lease, executed).Scan(&others, &now); err != nil {
		return 0, now, fmt.Errorf("heartbeat: %w", err)
	}
	return others, now, nil
}

// WorkerLeave marks a worker as gone: what it still owns may be rescued at once.
func (db *DB) WorkerLeave(ctx context.Context, id int32) error {
	_, err := db.count(ctx, "leave", "WorkerLeave", id)
	return err
}

// WorkerBury marks workers without a heartbeat for longer than lease as gone and returns how many there were. now is the
// server's clock at the caller's own heartbeat: should the clock have been set since, nobody is buried for that.
func (db *DB) WorkerBury(ctx context.Context, now time.Time, lease time.Duration) (int64, error) {
	return db.count(ctx, "look for dead workers", "WorkerBury", lease, now)
}

// WorkerForget removes workers that have been gone for longer than age.
func (db *DB) WorkerForget(ctx context.Context, age time.Duration) (int64, error) {
	return db.count(ctx, "forget workers", "WorkerForget", age)
}

// WorkerList lists the live workers.
func (db *DB) WorkerList(ctx context.Context, lease time.Duration) ([]engine.WorkerView, error) {
	rows, err := db.pool.Query(ctx, q("WorkerList"), lease)
	if err != nil {
		return nil, fmt.Errorf("list workers: %w", err)
	}
	out, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (w engine.WorkerView, err error) {
		err = r.Scan(&w.ID, &w.Name, &w.Host, &w.PID, &w.Tags, &w.Slots, &w.Busy, &w.Executed, &w.Version, &w.Started, &w.Heartbeat)
		return w, err
	})
	if err != nil {
		return nil, fmt.Errorf("list workers: %w", err)
	}
	return out, nil
}
