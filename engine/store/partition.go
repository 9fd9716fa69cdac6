package store

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// partitioned are the tables in partitions by job id, and the name of the id's column.
var partitioned = []struct{ table, key string }{
	{"job", "id"}, {"done", "id"}, {"job_log", "job_id"}, {"contact", "job_id"}, {"flow_run", "id"}, {"flow_step", "run"},
	{"checkpoint", "job"},
	{"flow_vote", "job"}, {"flow_user_state", "run"}, {"flow_restart", "id"},
}

// partitionLock keeps processes from making partitions at the same time.
const partitionLock = migrateLock + 1

const week = 7 * 24 * time.Hour

// weekOf is the beginning of the partition that holds the ids of t. Weeks begin on Monday.
func weekOf(t time.Time) time.Time { return t.UTC().Truncate(week) }

// idAt is the least UUIDv7 of a moment.
func idAt(t time.Time) (id uuid.UUID) {
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(t.UnixMilli()))
	copy(id[:6], ms[2:])
	return id
}

func partitionName(table string, week time.Time) string { return table + "_" + week.Format("20060102") }

// Partition makes the partitions of the week of now and of the weeks ahead that are missing, and drops those of weeks that
// ended longer than keep ago and of which no job is queued or running. keep 0: forever. Another process at it: nothing is done.
func (db *DB) Partition(ctx context.Context, now time.Time, ahead int, keep time.Duration) (made, dropped int, err error) {
	err = db.pool.AcquireFunc(ctx, func(c *pgxpool.Conn) error {
		var mine bool
		if err := c.QueryRow(ctx, q("PartitionLock"), int64(partitionLock)).Scan(&mine); err != nil || !mine {
			return err
		}
		defer c.Exec(context.WithoutCancel(ctx), q("PartitionUnlock"), int64(partitionLock)) //nolint:errcheck // ends with the session anyway
		for _, p := range partitioned {
			n, err := makePartitions(ctx, c.Conn(), p.table, p.key, now, ahead)
			made += n
			if err != nil {
				return err
			}
		}
		if keep > 0 {
			if dropped, err = dropPartitions(ctx, c.Conn(), now.Add(-keep)); err == nil {
				_, err = c.Exec(ctx, q("PartitionDefaultExpire"), now.Add(-keep))
			}
		}
		return err
	})
	if err != nil {
		return made, dropped, fmt.Errorf("maintain partitions: %w", err)
	}
	return made, dropped, nil
}

func partitionsOf(ctx context.Context, c *pgx.Conn, table string) (map[string]bool, error) {
	rows, err := c.Query(ctx, q("PartitionList"), table)
	if err != nil {
		return nil, err
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	out := map[string]bool{}
	for _, n := range names {
		out[n] = true
	}
	return out, err
}

func makePartitions(ctx context.Context, c *pgx.Conn, table, key string, now time.Time, ahead int) (made int, err error) {
	have, err := partitionsOf(ctx, c, table)
	if err != nil {
		return 0, err
	}
	for i := range ahead + 1 {
		from := weekOf(now).Add(time.Duration(i) * week)
		if have[partitionName(table, from)] {
			continue
		}
		if err := makePartition(ctx, c, table, key, from); err != nil {
			return made, fmt.Errorf("%s: %w", partitionName(table, from), err)
		}
		made++
	}
	return made, nil
}

// makePartition makes the table first and attaches it then, which locks out nobody but the default partition; rows that have
// gone there meanwhile move over.
func makePartition(ctx context.Context, c *pgx.Conn, table, key string, from time.Time) error {
	name, lo, hi := partitionName(table, from), idAt(from), idAt(from.Add(week))
	bounds := fmt.Sprintf("%s >= '%s' and %s < '%s'", key, lo, key, hi)
	return pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
		for _, sql := range []string{
			"set local lock_timeout = '3s'",
			fmt.Sprintf("create table %s (like %s including defaults including constraints)", name, table),
			fmt.Sprintf("lock table %s_default in access exclusive mode", table),
			fmt.Sprintf("with moved as (delete from %s_default where %s returning *) insert into %s select * from moved", table, bounds, name),
			fmt.Sprintf("alter table %s add constraint bounds check (%s)", name, bounds), // spares the scan at attaching
			fmt.Sprintf("alter table %s attach partition %s for values from ('%s') to ('%s')", table, name, lo, hi),
			fmt.Sprintf("alter table %s drop constraint bounds", name),
		} {
			if _, err := tx.Exec(ctx, sql); err != nil {
				return err
			}
		}
		return nil
	})
}

// dropPartitions drops the weeks that ended before limit, all tables of a week together.
func dropPartitions(ctx context.Context, c *pgx.Conn, limit time.Time) (dropped int, err error) {
	have, err := partitionsOf(ctx, c, "job")
	if err != nil {
		return 0, err
	}
	for name := range have {
		from, err := time.Parse("job_20060102", name)
		if err != nil || from.Add(week).After(limit) {
			continue // the default partition, or too young
		}
		var busy bool
		err = c.QueryRow(ctx, q("PartitionBusy"), [16]byte(idAt(from)), [16]byte(idAt(from.Add(week)))).Scan(&busy)
		if err != nil {
			return dropped, err
		}
		if busy {
			continue
		}
		err = pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, "set local lock_timeout = '3s'"); err != nil {
				return err
			}
			for _, p := range partitioned {
				if _, err := tx.Exec(ctx, "drop table if exists "+partitionName(p.table, from)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return dropped, fmt.Errorf("drop %s: %w", name, err)
		}
		dropped++
	}
	return dropped, nil
}
