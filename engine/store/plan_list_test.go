package store_test

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/millrace/millrace/engine/store"
	"github.com/millrace/millrace/engine/store/storetest"
)

// TestListOfFailures: where failures are common the latest are found from the latest job on, and where they are rare by their
// index. With a wrong idea of how many there are, all of them were read for each list.
func TestListOfFailures(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	if _, _, err := db.Partition(t.Context(), time.Date(2026, 11, 2, 5, 0, 0, 0, time.UTC), 0, 0); err != nil { // of the ids below
		t.Fatal(err)
	}
	c := dial(t, db)
	run(t, c, prepare)
	run(t, c, `insert into job (id, created_at, scheduled_for, spec, workspace, args)
			select tid(i), now() + i * interval '1 ms', now(), 1 + i % 100, 'main', '{}' from generate_series(1, 100000) i;
		insert into done (id, started_at, finished_at, worker, attempt, state, cpu_us, memory_peak, log_off)
			select tid(i), now(), now(), 1, 1, case when i % 5000 = 0 then 4 when i % 20 = 0 then 3 else 2 end, 0, 0, 0
			from generate_series(1, 100000) i;
		analyze job;
		analyze done`)
	for _, l := range []struct {
		name   string
		states []int16
		rows   int
	}{{"failures", []int16{3}, 2000}, {"cancellations", []int16{4}, 6000}} {
		var text []byte
		args := []any{pgx.QueryExecModeDescribeExec, "main", l.states, nil, nil, nil, nil, nil, nil, nil, nil, nil, false, nil, nil, 20, 0, nil, nil, nil, nil}
		err := c.QueryRow(t.Context(), "explain (analyze, timing off, format json) "+store.ListStatement(false, true, false),
			append(args, store.ListIDs(time.Now())...)...).Scan(&text)
		if err != nil {
			t.Fatal(err)
		}
		judge(t, want{rows: l.rows}, statement{name: "JobList of " + l.name, statistics: "of now"}, text)
	}
}
