package store_test

import (
	"fmt"
	"testing"

	"github.com/millrace/millrace/engine/store"
	"github.com/millrace/millrace/engine/store/storetest"
)

// TestPlansOfARescue: what takes back the jobs of a dead worker goes by the rows of the hot table, which are few, and never through all
// jobs that ever ran. A start after a crash waits for it. Some of these jobs are to end: lost too often, or canceled; some are steps.
func TestPlansOfARescue(t *testing.T) {
	t.Parallel()
	c := dial(t, storetest.New(t))
	run(t, c, prepare)
	run(t, c, `
insert into job (id, created_at, scheduled_for, spec, workspace, args, step)
	select tid(i), now(), now(), 1, 'main', '{}', case when i % 5 = 0 then 'a' end from generate_series(1, 50000) i;
insert into q (id, scheduled_for, tag, state, worker, attempt, started_at, lost, canceled_by)
	select tid(i), now(), 'noop', (i <= 300)::int, case when i <= 300 then 77 else 0 end, (i <= 300)::int, case when i <= 300 then now() end,
		case when i % 7 = 0 then 100 else 0 end, case when i % 11 = 0 and i <= 300 then 'bob' end
	from generate_series(1, 1500) i`)
	for _, knows := range []struct{ what, sql string }{
		{"of a few rows", ""},
		{"of a hot table that a peak has left large", "update pg_class set reltuples = 40000, relpages = 900 where relname = 'q'"},
		{"of now", "analyze"},
		{"of empty tables", "delete from pg_statistic; update pg_class set reltuples = 0, relpages = 0 where relnamespace = 'public'::regnamespace and relkind in ('r', 'p')"},
		{"none", "update pg_class set reltuples = -1, relpages = 0 where relnamespace = 'public'::regnamespace and relkind in ('r', 'p')"},
	} {
		run(t, c, knows.sql)
		for _, mode := range []string{"force_custom_plan", "force_generic_plan"} {
			run(t, c, "set plan_cache_mode = "+mode)
			for name, args := range map[string]string{"JobRescue": `12, 1, 4`, "JobRescueEnd": `12, '{}', '{}'`, "JobStepsOver": `12`} {
				w := want{args: args, rows: 10_000}
				w.check(t, c, statement{table: "job", name: name, statistics: fmt.Sprintf("%s, %s", knows.what, mode)})
			}
		}
	}
}

// TestNoCompiledPlans: no connection lets the server compile a statement, whatever its default. The planner takes a hot table that a
// peak has left large for a full one; at a start after a crash, compiling three statements then took five seconds, running them five milliseconds.
func TestNoCompiledPlans(t *testing.T) {
	t.Parallel()
	url := storetest.URL(t)
	first := storetest.Open(t, url)
	storetest.Exec(t, first, "alter database "+storetest.Name(t, first)+" set jit = on")
	db := storetest.Open(t, url)
	for kind, ask := range store.Connections(db) {
		if got, err := ask(t.Context(), "jit"); err != nil || got != "off" {
			t.Errorf("%s: jit is %q, %v", kind, got, err)
		}
	}
}
