package store

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// An index of q is rebuilt when it is larger than this, and than that for every row there is, four times what a row needs at most.
const (
	tidyAbove  = 4 << 20
	tidyPerRow = 400
)

// QueueTidy rebuilds the indexes of the hot table that a peak has left much larger than they need to be, beside the work, which
// it does not hold up. Another process at it, or at the partitions: nothing is done.
func (db *DB) QueueTidy(ctx context.Context) (rebuilt []string, err error) {
	return db.queueTidy(ctx, tidyAbove)
}

func (db *DB) queueTidy(ctx context.Context, above int64) (rebuilt []string, err error) {
	err = db.pool.AcquireFunc(ctx, func(c *pgxpool.Conn) error {
		var mine bool
		if err := c.QueryRow(ctx, q("PartitionLock"), int64(partitionLock)).Scan(&mine); err != nil || !mine {
			return err
		}
		defer c.Exec(context.WithoutCancel(ctx), q("PartitionUnlock"), int64(partitionLock)) //nolint:errcheck // ends with the session anyway
		broken, err := names(ctx, c.Conn(), q("TidyBroken"))
		if err != nil {
			return err
		}
		bloated, err := names(ctx, c.Conn(), q("TidyBloated"), above, int64(tidyPerRow))
		if err != nil || len(broken)+len(bloated) == 0 {
			return err
		}
		// It waits for transactions that began before it; a request for a lock that waits longer would have others wait behind it.
		if _, err := c.Exec(ctx, "set lock_timeout = '3s'"); err != nil {
			return err
		}
		defer c.Exec(context.WithoutCancel(ctx), "reset lock_timeout") //nolint:errcheck // ends with the session anyway
		for _, name := range broken {
			if _, err := c.Exec(ctx, "drop index concurrently if exists "+pgx.Identifier{name}.Sanitize()); err != nil {
				return err
			}
		}
		for _, name := range bloated {
			if _, err := c.Exec(ctx, "reindex index concurrently "+pgx.Identifier{name}.Sanitize()); err != nil {
				return err
			}
			rebuilt = append(rebuilt, name)
		}
		return nil
	})
	if err != nil {
		return rebuilt, fmt.Errorf("rebuild indexes of the queue: %w", err)
	}
	return rebuilt, nil
}

func names(ctx context.Context, c *pgx.Conn, sql string, args ...any) ([]string, error) {
	rows, err := c.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}
