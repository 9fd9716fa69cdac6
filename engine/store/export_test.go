package store

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Pinned are the settings of hot connections, for the tests of their plans.
var Pinned = pinned

// Statement returns a named statement as it is sent.
func Statement(name string) string { return withColumns(q(name)) }

// ListStatement returns the statement of a list of jobs.
func ListStatement(active, completed, specs bool, states ...int16) string {
	l := list{active: active, completed: completed, rare: rareOnly(states)}
	l.ofSpecs = specs && l.rare != nil
	l.specs, l.ids = specs && l.rare == nil, completed && !active && (!specs || l.rare != nil)
	return l.query()
}

// BatchListStatement returns the statement of a list of a batch's jobs.
func BatchListStatement(active, completed bool) string {
	return list{active: active, completed: completed, batch: true}.query()
}

// LatestStatement returns the statement of a list of what completed of a script, among the latest that completed.
func LatestStatement() string { return list{completed: true, specs: true, latest: true}.query() }

// LatestListed is how many of those it looks at.
const LatestListed = latestListed

// ListIDs are the further parameters of a list of completed jobs of any time.
func ListIDs(now time.Time) (out []any) {
	for _, id := range idRange(time.Time{}, time.Time{}, now) {
		out = append(out, uuid.UUID(id.([16]byte)).String())
	}
	return out
}

// Migrations is how many there are.
func Migrations() int { return len(migrations) }

var (
	// WeekOf and PartitionName say where the rows of a moment are.
	WeekOf        = weekOf
	PartitionName = partitionName
	IDAt          = idAt
)

// Connections ask for a setting in each pool. The other connections begin with the settings of the first.
func Connections(db *DB) map[string]func(ctx context.Context, setting string) (string, error) {
	out := map[string]func(context.Context, string) (string, error){}
	for kind, pool := range map[string]*pgxpool.Pool{"pool": db.pool, "quick": db.quick} {
		out[kind] = func(ctx context.Context, setting string) (got string, err error) {
			err = pool.QueryRow(ctx, "select current_setting($1)", setting).Scan(&got)
			return got, err
		}
	}
	return out
}

// QueueTidyAbove is QueueTidy with another idea of what is worth it.
func QueueTidyAbove(ctx context.Context, db *DB, above int64) ([]string, error) {
	return db.queueTidy(ctx, above)
}

// HoldUpkeep keeps other processes from partitions and indexes until unlock.
func HoldUpkeep(t testing.TB, db *DB) (unlock func()) {
	t.Helper()
	c, err := db.pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var mine bool
	if err := c.QueryRow(t.Context(), q("PartitionLock"), int64(partitionLock)).Scan(&mine); err != nil || !mine {
		t.Fatalf("mine %v, %v", mine, err)
	}
	return func() {
		if _, err := c.Exec(t.Context(), q("PartitionUnlock"), int64(partitionLock)); err != nil {
			t.Error(err)
		}
		c.Release()
	}
}
