package store

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// FlowPurge says what of a run is to be deleted when.
type FlowPurge struct {
	Run, Root uuid.UUID
	Step      string // "": all of it
	After     time.Duration
}

// purgesAtOnce bounds a round.
const purgesAtOnce = 100

// Purge deletes arguments, results and logs of what is due, and returns how many requests it served. What was asked for is done or is
// there still: a process that ends meanwhile leaves it to the next.
func (db *DB) Purge(ctx context.Context) (n int, err error) {
	rows, err := db.pool.Query(ctx, q("PurgeDue"), purgesAtOnce)
	if err != nil {
		return 0, fmt.Errorf("look for what is to be deleted: %w", err)
	}
	due, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (p FlowPurge, err error) {
		err = row.Scan((*[16]byte)(&p.Run), &p.Step)
		return p, err
	})
	if err != nil {
		return 0, fmt.Errorf("look for what is to be deleted: %w", err)
	}
	for _, p := range due {
		// By the pinned plans of quick connections; what a crash of the server undoes is done again, as the request comes back with it.
		if err := pgx.BeginFunc(ctx, db.quick, func(tx Tx) error { return purge(ctx, tx, p) }); err != nil {
			return n, fmt.Errorf("delete what is left of run %s: %w", p.Run, err)
		}
		n++
	}
	return n, nil
}

func purge(ctx context.Context, tx Tx, p FlowPurge) error {
	rows, err := tx.Query(ctx, q("PurgeJobs"), [16]byte(p.Run), p.Step)
	if err != nil {
		return err
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[[16]byte])
	if err != nil {
		return err
	}
	for _, name := range []string{"PurgeArgs", "PurgeResults", "PurgeLogs", "PurgeRuns"} {
		if _, err := tx.Exec(ctx, q(name), ids); err != nil {
			return err
		}
	}
	if _, err := tx.Exec(ctx, q("PurgeSteps"), ids, [16]byte(p.Run), p.Step); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, q("PurgeDone"), [16]byte(p.Run), p.Step)
	return err
}
