package store_test

import (
	"slices"
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
	}{{"failures", []int16{3}, 2000}, {"cancellations", []int16{4}, 1000}, {"both", []int16{3, 4}, 2000}} {
		var text []byte
		args := []any{pgx.QueryExecModeDescribeExec, "main", l.states, nil, nil, nil, nil, nil, nil, nil, nil, nil, false, nil, nil, 20, 0, nil, nil, nil, nil}
		err := c.QueryRow(t.Context(), "explain (analyze, timing off, format json) "+store.ListStatement(false, true, false, l.states...),
			append(args, store.ListIDs(time.Now())...)...).Scan(&text)
		if err != nil {
			t.Fatal(err)
		}
		judge(t, want{rows: l.rows}, statement{name: "JobList of " + l.name, statistics: "of now"}, text)
	}
}

// listPlans looks at lists of jobs, which are planned for their very values. Without statistics the few hundred workers and specs, a few
// pages, may be looked through for each job of each of their parts.
func listPlans(t *testing.T, c *pgx.Conn, statistics string) {
	t.Helper()
	run(t, c, "reset all")
	for name, l := range map[string]struct {
		active, completed bool
		spec              any
		states            []int16
		rows, old         int
	}{
		"all": {active: true, completed: true, rows: 1000}, "completed": {completed: true, rows: 5000}, "active": {active: true, rows: 2_000_000},
		"of a script":                    {active: true, completed: true, spec: []int32{7}, rows: 1000},
		"failed":                         {completed: true, states: []int16{3}, rows: 1000, old: 12_000},
		"canceled":                       {completed: true, states: []int16{4}, rows: 1000, old: 12_000},
		"failed or canceled":             {completed: true, states: []int16{3, 4}, rows: 1000, old: 24_000},
		"failed of a script":             {completed: true, spec: []int32{51}, states: []int16{3}, rows: 1000, old: 12_000},
		"failed of a script without any": {completed: true, spec: []int32{7}, states: []int16{3}, rows: 1000, old: 12_000},
		"canceled of two scripts":        {completed: true, spec: []int32{2, 7}, states: []int16{4}, rows: 1000, old: 12_000},
		"succeeded of a script":          {completed: true, spec: []int32{7}, states: []int16{2}, rows: 10_000}, // after 5000 that wait
	} {
		var text []byte
		args := []any{pgx.QueryExecModeExec, "main", l.states, nil, nil, nil, nil, nil, nil, nil, nil, nil, false, nil, nil, 30, 0, nil, l.spec, nil, nil}
		if l.completed && !l.active && (l.spec == nil || !slices.Contains(l.states, 2)) {
			args = append(args, store.ListIDs(time.Now())...)
		}
		sql := store.ListStatement(l.active, l.completed, l.spec != nil, l.states...)
		if err := c.QueryRow(t.Context(), "explain (analyze, timing off, format json) "+sql, args...).Scan(&text); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		judge(t, want{rows: l.rows, old: l.old}, statement{name: "JobList " + name, statistics: statistics}, text)
	}
}
