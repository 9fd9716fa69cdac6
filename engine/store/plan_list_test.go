package store_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/millrace/millrace/engine"
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
		latest, batch     bool
		rows, old         int
	}{
		"all": {active: true, completed: true, rows: 1000}, "completed": {completed: true, rows: 5000}, "active": {active: true, rows: 2_000_000},
		"of a script":                          {active: true, completed: true, spec: []int32{7}, rows: 1000},
		"failed":                               {completed: true, states: []int16{3}, rows: 1000, old: 12_000},
		"canceled":                             {completed: true, states: []int16{4}, rows: 1000, old: 12_000},
		"failed or canceled":                   {completed: true, states: []int16{3, 4}, rows: 1000, old: 24_000},
		"failed of a script":                   {completed: true, spec: []int32{51}, states: []int16{3}, rows: 1000, old: 12_000},
		"failed of a script without any":       {completed: true, spec: []int32{7}, states: []int16{3}, rows: 1000, old: 12_000},
		"canceled of two scripts":              {completed: true, spec: []int32{2, 7}, states: []int16{4}, rows: 1000, old: 12_000},
		"succeeded of a script":                {completed: true, spec: []int32{7}, states: []int16{2}, rows: 10_000}, // after 5000 that wait
		"succeeded of a script, of the latest": {completed: true, spec: []int32{7}, states: []int16{2}, latest: true, rows: 10_000},
		"succeeded of a batch that waits":      {completed: true, states: []int16{2}, batch: true, rows: 1000},
		"of a batch that waits":                {active: true, completed: true, batch: true, rows: 1000, old: 12_000},
	} {
		var text []byte
		args := []any{pgx.QueryExecModeExec, "main", l.states, nil, nil, nil, nil, nil, nil, nil, nil, nil, false, nil, nil, 30, 0, nil, l.spec, nil, nil}
		sql := store.ListStatement(l.active, l.completed, l.spec != nil, l.states...)
		if l.batch {
			sql, args[17], args[20] = store.BatchListStatement(l.active, l.completed), fillID(1_300_000), fillID(1_400_000)
		}
		if l.completed && !l.active && !l.batch && (l.spec == nil || l.latest || !slices.Contains(l.states, 2)) {
			args = append(args, store.ListIDs(time.Now())...)
		}
		if l.latest {
			sql, args = store.LatestStatement(), append(args, store.LatestListed)
		}
		run(t, c, "begin")
		if l.batch && l.active {
			run(t, c, store.Statement("BatchInOrder"))
		}
		if err := c.QueryRow(t.Context(), "explain (analyze, timing off, format json) "+sql, args...).Scan(&text); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		run(t, c, "rollback")
		judge(t, want{rows: l.rows, old: l.old}, statement{name: "JobList " + name, statistics: statistics}, text)
	}
}

// TestListBehindQueue: what succeeded of a script is found at once, however many of it wait, and all of it is found.
func TestListBehindQueue(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	c := dial(t, db)
	run(t, c, `create function tid(i int8) returns uuid language sql immutable return ('01a19a98-0000-7000-8000-' || lpad(to_hex(i), 12, '0'))::uuid;
		insert into spec (hash, workspace, kind, tag, path, script, prio, timeout_ms, language, network, created_by, email, permissioned_as, trigger, trigger_path)
			select gen_random_uuid(), 'main', 'noop', 'noop', path, 0, 0, 0, '', '', 'ann', '', '', '', '' from unnest('{u/ann/much,u/ann/rare}'::text[]) path;
		insert into job (id, created_at, scheduled_for, spec, workspace, args)
			select tid(i), now() + i * interval '1 ms', now(), (select id from spec where path = case when i % 1000 = 7 then 'u/ann/rare' else 'u/ann/much' end), 'main', '{}'
			from generate_series(1, 9000) i;
		insert into done (id, started_at, finished_at, worker, attempt, state, cpu_us, memory_peak, log_off)
			select id, now(), now(), 1, 1, case when id = tid(10) then 3 else 2 end, 0, 0, 0 from job where id <= tid(6000);
		insert into q (id, scheduled_for, tag, spec) select id, now(), 'noop', spec from job where id > tid(6000);
		select pg_stat_force_next_flush()`)
	for waiting := 0; waiting < 3000; {
		if err := c.QueryRow(t.Context(), "select pg_stat_get_live_tuples('q'::regclass)").Scan(&waiting); err != nil {
			t.Fatal(err)
		}
	}
	check := func(path string, page, perPage, first, n int) {
		t.Helper()
		jobs, err := db.JobList(t.Context(), "main", engine.JobFilter{
			PathExact: path, States: []engine.JobState{engine.StateSuccess}, Page: page, PerPage: perPage,
		})
		if err != nil {
			t.Fatal(err)
		}
		var want string
		if err := c.QueryRow(t.Context(), "select tid($1)", first).Scan(&want); err != nil {
			t.Fatal(err)
		}
		if len(jobs) != n || jobs[0].ID.String() != want {
			t.Errorf("page %d of %s: %d jobs from %v on, want %d from %s on", page, path, len(jobs), jobs[0].ID, n, want)
		}
	}
	check("u/ann/much", 1, 20, 6000, 20)
	check("u/ann/much", 3, 20, 5960, 20)
	check("u/ann/much", 1, 6000, 6000, 5993) // more than are looked at; one of them has failed
	check("u/ann/rare", 1, 20, 5007, 6)
	batch := uuid.MustParse("01a19a98-0000-7000-8000-000000000000")
	run(t, c, "update job set batch = '01a19a98-0000-7000-8000-000000000000'")
	for _, l := range []struct {
		f           engine.JobFilter
		first, last int
	}{
		{engine.JobFilter{Page: 1, PerPage: 20, States: []engine.JobState{engine.StateSuccess}}, 6000, 5981},
		{engine.JobFilter{Page: 3, PerPage: 20, States: []engine.JobState{engine.StateSuccess, engine.StateFailure}}, 5960, 5941},
		{engine.JobFilter{Page: 1, PerPage: 20, States: []engine.JobState{engine.StateSuccess}, Ascending: true}, 1, 21},
		{engine.JobFilter{Page: 300, PerPage: 20, States: []engine.JobState{engine.StateSuccess}, Ascending: true}, 5982, 6000},
		{engine.JobFilter{Page: 1, PerPage: 20, States: []engine.JobState{engine.StateFailure}}, 10, 10},
		{engine.JobFilter{Page: 1, PerPage: 20, States: []engine.JobState{engine.StateQueued}}, 9000, 8981},
		{engine.JobFilter{Page: 1, PerPage: 20}, 9000, 8981},
	} {
		l.f.Batch = &batch
		jobs, err := db.JobList(t.Context(), "main", l.f)
		if err != nil || len(jobs) == 0 {
			t.Fatalf("%+v: %d jobs, %v", l.f, len(jobs), err)
		}
		if first, last := serial(jobs[0]), serial(jobs[len(jobs)-1]); first != l.first || last != l.last {
			t.Errorf("%+v: from %d to %d, want from %d to %d", l.f, first, last, l.first, l.last)
		}
	}
	run(t, c, `insert into job (id, created_at, scheduled_for, spec, workspace, args)
			select '00000000-0000-4000-8000-000000000001', now() + interval '1 day', now(), min(id), 'main', '{}' from spec where path = 'u/ann/much';
		insert into done (id, started_at, finished_at, worker, attempt, state, cpu_us, memory_peak, log_off)
			values ('00000000-0000-4000-8000-000000000001', now(), now(), 1, 1, 2, 0, 0, 0)`)
	check("u/ann/much", 2, 1, 6000, 1) // an id of somebody else's making, which says nothing of its time, is before it
}

// TestListHanded: what a worker runs and what it ran are one list, in order, and what waits is in none.
func TestListHanded(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	c := dial(t, db)
	run(t, c, `create function tid(i int8) returns uuid language sql immutable return ('01a19a98-0000-7000-8000-' || lpad(to_hex(i), 12, '0'))::uuid;
		insert into spec (hash, workspace, kind, tag, path, script, prio, timeout_ms, language, network, created_by, email, permissioned_as, trigger, trigger_path)
			values (gen_random_uuid(), 'main', 'noop', 'noop', '', 0, 0, 0, '', '', 'ann', '', '', '', '');
		insert into worker (host, pid, name, version, tags, slots) values ('h', 1, 'one', '', '{}', 4), ('h', 2, 'two', '', '{}', 4);
		insert into job (id, created_at, scheduled_for, spec, workspace, args)
			select tid(i), now() + i * interval '1 ms', now(), (select id from spec), 'main', '{}' from generate_series(1, 40) i;
		insert into done (id, started_at, finished_at, worker, attempt, state, cpu_us, memory_peak, log_off)
			select tid(i), now(), now(), (select id from worker where name = case when i % 2 = 1 then 'one' else 'two' end), 1, 2 + (i % 4) / 2, 0, 0, 0
			from generate_series(1, 20) i;
		insert into q (id, scheduled_for, tag, spec, state, worker, attempt, started_at)
			select tid(i), now(), 'noop', spec.id, 1, worker.id, 1, now() from generate_series(15, 26) i, spec, worker where worker.name = 'one' and i > 20 and i % 2 = 1;
		update q set state = 6, worker = 0 where id = tid(23); -- a flow that waits for its steps
		insert into q (id, scheduled_for, tag, spec) select tid(i), now(), 'noop', spec.id from generate_series(27, 40) i, spec`)
	for _, l := range []struct {
		f    engine.JobFilter
		want []int
	}{
		{engine.JobFilter{Worker: "one", Page: 1, PerPage: 5}, []int{25, 21, 19, 17, 15}},
		{engine.JobFilter{Worker: "one", Page: 2, PerPage: 5}, []int{13, 11, 9, 7, 5}},
		{engine.JobFilter{Worker: "one", Page: 3, PerPage: 5}, []int{3, 1}},
		{engine.JobFilter{Worker: "one", Page: 4, PerPage: 5}, nil},
		{engine.JobFilter{Worker: "one", Page: 2, PerPage: 1}, []int{21}},
		{engine.JobFilter{Worker: "one", Page: 3, PerPage: 1}, []int{19}},
		{engine.JobFilter{Worker: "one", Page: 4, PerPage: 1}, []int{17}},
		{engine.JobFilter{Worker: "one", Page: 11, PerPage: 1, Ascending: true}, []int{21}},
		{engine.JobFilter{Worker: "one", Page: 10, PerPage: 1, Ascending: true}, []int{19}},
		{engine.JobFilter{Worker: "one", Page: 2_000_000_000, PerPage: 1000}, nil},
		{engine.JobFilter{Worker: "one", Page: 1, PerPage: 3, Ascending: true}, []int{1, 3, 5}},
		{engine.JobFilter{Worker: "one", Page: 3, PerPage: 5, Ascending: true}, []int{21, 25}},
		{engine.JobFilter{Worker: "one", Page: 1, PerPage: 3, States: []engine.JobState{engine.StateSuccess, engine.StateRunning}}, []int{25, 21, 17}},
		{engine.JobFilter{Worker: "one", Page: 2, PerPage: 3, States: []engine.JobState{engine.StateSuccess, engine.StateRunning}}, []int{13, 9, 5}},
		{engine.JobFilter{Worker: "one", Page: 1, PerPage: 3, States: []engine.JobState{engine.StateFailure}}, []int{19, 15, 11}},
		{engine.JobFilter{Worker: "one", Page: 1, PerPage: 3, States: []engine.JobState{engine.StateQueued}}, nil},
		{engine.JobFilter{Worker: "two", Page: 1, PerPage: 3}, []int{20, 18, 16}},
		{engine.JobFilter{Page: 1, PerPage: 9, States: []engine.JobState{engine.StateRunning}}, []int{25, 23, 21}},
		{engine.JobFilter{Page: 1, PerPage: 6, States: []engine.JobState{engine.StateFailure, engine.StateRunning}}, []int{25, 23, 21, 19, 18, 15}},
		{engine.JobFilter{Page: 2, PerPage: 6, States: []engine.JobState{engine.StateFailure, engine.StateRunning}}, []int{14, 11, 10, 7, 6, 3}},
		{engine.JobFilter{Worker: "nobody", Page: 1, PerPage: 3}, nil},
	} {
		jobs, err := db.JobList(t.Context(), "main", l.f)
		if err != nil {
			t.Fatal(err)
		}
		var got []int
		for _, j := range jobs {
			got = append(got, serial(j))
		}
		if !slices.Equal(got, l.want) {
			t.Errorf("%+v: %v, want %v", l.f, got, l.want)
		}
	}
	if _, err := db.JobList(t.Context(), "main", engine.JobFilter{Worker: "one", Page: 1, PerPage: 3, States: []engine.JobState{"no"}}); err == nil {
		t.Error("a state that there is not was taken")
	}
}

// fillID is tid, for callers outside of the database.
func fillID(i int) string { return fmt.Sprintf("01a19a98-0000-7000-8000-%012x", i) }

// serial is the number of a job of tid.
func serial(j *engine.JobView) int { return int(j.ID[14])<<8 + int(j.ID[15]) }
