package store_test

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/millrace/millrace/engine/store"
	"github.com/millrace/millrace/engine/store/storetest"
)

// million is how many jobs each of q and done holds when plans are looked at; the race detector's run takes fewer.
func million() int {
	if testing.Short() {
		return 1_000_000 / 10
	}
	return 1_000_000
}

// prepare makes the functions that the calls use, a few rows, and statistics of those: what a young database knows of itself
// when it fills up within minutes. Nothing analyzes the tables behind the test's back.
const prepare = `
create function tid(i int8) returns uuid language sql immutable return ('01a19a98-0000-7000-8000-' || lpad(to_hex(i), 12, '0'))::uuid;
create function tids(i int8, n int) returns uuid[] language sql immutable return (select array_agg(tid(k)) from generate_series(i, i + n - 1) k);
create function running(n int) returns uuid[] language sql immutable return (select array_agg(tid(1000000 + 1000 * k)) from generate_series(1, n) k);
create function times(n int) returns timestamptz[] language sql stable return array_fill(now(), array[n]);
create function fill(n int, v anyelement) returns anyarray language sql immutable as 'select array_fill(v, array[n])';
do $$ declare t record; begin
	for t in select oid::regclass as name from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace loop
		execute format('alter table %s set (autovacuum_enabled = off)', t.name);
	end loop;
end $$;
insert into spec (hash, workspace, kind, tag, path, script, prio, timeout_ms, language, network, created_by, email, permissioned_as, trigger, trigger_path)
	select gen_random_uuid(), 'main', 'noop', 'noop', 'u/ann/x' || i, 0, 0, 0, '', '', 'ann', '', '', '', '' from generate_series(1, 100) i;
insert into job (id, created_at, scheduled_for, spec, workspace, args) select gen_random_uuid(), now(), now(), 1, 'main', '{}' from generate_series(1, 20);
insert into q (id, scheduled_for, state, worker, attempt, started_at, tag) select id, now(), 1, 1, 1, now(), 'noop' from job;
insert into done (id, finished_at, worker, attempt, state, cpu_us, memory_peak, log_off) select id, now(), 1, 1, 2, 0, 0, 0 from job;
insert into job_log (job_id, kind, off, chunk) select id, 0, 0, 'x' from job;
insert into worker (host, pid, name, version, tags, slots, gone)
	select 'host', i, 'name', '', '{noop}', 1, case when i > 4 then now() end from generate_series(1, 200) i;
insert into gate (workspace, key, slots, window_ms) select 'main', 'key ' || i, 2, (i % 2) * 60000 from generate_series(1, 1000) i;
insert into gate_use (gate, at, job) select 1 + i % 1000, now() - i * interval '1 s', gen_random_uuid() from generate_series(1, 5000) i;
insert into debounce (workspace, key, job_id, first_at, count, used_at)
	select 'main', 'key ' || i, gen_random_uuid(), now(), 1, now() from generate_series(1, 1000) i;
insert into idempotency (workspace, key, job_id) select 'main', 'key ' || i, gen_random_uuid() from generate_series(1, 20000) i;
insert into blob (hash, size, data) select sha256(i::text::bytea), 1, 'x' from generate_series(1, 1000) i;
insert into batch (id, workspace, kind, path, script, state, total, done, created_by, finished_at, idempotency_key)
	select gen_random_uuid(), 'main', 'script', 'u/ann/x', 0, 1, 5, 5, 'ann', now(), 'batch ' || i from generate_series(1, 1000) i;
insert into batch (id, workspace, kind, path, script, state, total, created_by) values (tid(1300000), 'main', 'script', 'u/ann/x', 0, 1, 100000, 'ann');
insert into schedule (workspace, path, summary, description, cron, cron_version, timezone, enabled, script_path, is_flow, tag, missed, overlap,
	catch_up_limit, grace_ms, calendars, handlers, permissioned_as, email, edited_by, next_at)
	select 'main', 'u/ann/s' || i, '', '', '* * * * *', '', 'UTC', true, 'u/ann/x', false, '', '', '', 1, 1, '{}', '{}', '', '', '', now() + i * interval '1 minute'
	from generate_series(1, 200) i;
insert into flow_run (id, root, def, place, state) select tid(1000000 + 1000 * i), tid(1), tid(1), '', '{}' from generate_series(1, 500) i;
insert into flow_step (run, n, module, ok, skipped) select tid(1000000 + 1000 * i), 0, 'a', true, false from generate_series(1, 500) i;
insert into flow_version (workspace, path, summary, doc, value, tag, timeout_ms, created_by, message, current)
	select 'main', 'f/x/' || i % 500, '', '', '{}', '', 0, 'ann', '', i > 4500 from generate_series(1, 5000) i;
insert into checkpoint (job, n, key, kind, name, ok, tries) select tid(1000000 + 1000 * i), n, 'a_' || n, 'step', 'a', true, 0 from generate_series(1, 500) i, generate_series(1, 5) n;
insert into flow_vote (job, resume_id, run, module, approved, approver, account) select tid(1000000 + 1000 * i), 1, tid(1000000 + 1000 * i), 'a', true, '', '' from generate_series(1, 500) i;
insert into flow_user_state (run, key, value) select tid(1000000 + 1000 * i), 'k', '1' from generate_series(1, 500) i;
insert into tick (workspace, path, at, state) select 'main', 'u/ann/s' || 1 + i % 200, now() - i * interval '1 minute', 'done' from generate_series(1, 20000) i;
analyze`

const rowsOfQ = `
insert into q (id, scheduled_for, prio, tag, state, worker, attempt, started_at, gate, batch, canceled_by)
select tid(1000000 + i), now() - interval '1 day' + i * interval '100 ms', i % 3, case when i % 6 < 3 then 'noop' else 'other' end,
	case when i % 1000 = 0 then 1 when i % 20 = 1 then 5 else 0 end, case when i % 1000 = 0 then 1 + i % 4 else 0 end, (i % 1000 = 0)::int,
	case when i % 1000 = 0 then now() end, case when i % 20 = 1 then 1 + i % 500 end,
	case when i > 300000 and i <= 400000 then tid(1300000) end, case when i % 200000 = 0 then 'bob' end
from generate_series(1, N) i`

// fillQ makes N queued jobs, from 1000001 on: every 1000th runs, every 20th waits for one of 500 limits, a tenth is of a batch.
// Indexes are made afterwards, which takes a third of the time.
const fillQ = `
create temp table defs as select indexrelid::regclass::text as name, pg_get_indexdef(indexrelid) as def
	from pg_index where indrelid = 'q'::regclass and not indisprimary;
do $$ declare d record; begin for d in select * from defs loop execute 'drop index ' || d.name; end loop; end $$;
alter table q drop constraint q_pkey;
alter table q set unlogged;
` + rowsOfQ + `;
alter table q add primary key (id);
do $$ declare d record; begin for d in select * from defs loop execute d.def; end loop; end $$`

// fillDone makes N completed jobs, up to 1000000, in two partitions: every 50th has failed, every 20,000th was canceled. And N rows of job in four, half of them for queued jobs.
const fillDone = `
do $$ begin
	for w in 0..3 loop
		execute format('create unlogged table job_w%s (like job including defaults)', w);
		execute format('insert into job_w%s (id, created_at, scheduled_for, spec, workspace, args, batch)
			select tid(i), now() + i * interval ''1 ms'', now(), 1 + i %% 100, ''main'', ''{}'',
				case when i > 1300000 and i <= 1400000 then tid(1300000) end
			from generate_series(%s, %s) i', w, 1000001 - N / 2 + w * N / 4, 1000000 - N / 2 + (w + 1) * N / 4);
		execute format('alter table job attach partition job_w%s for values from (%L) to (%L)', w,
			tid(1000001 - N / 2 + w * N / 4), tid(1000001 - N / 2 + (w + 1) * N / 4));
	end loop;
	for w in 0..1 loop
		execute format('create unlogged table done_w%s (like done including defaults)', w);
		execute format('insert into done_w%s (id, started_at, finished_at, worker, attempt, state, cpu_us, memory_peak, log_off, spec)
			select tid(i), now(), now(), 1, 1, case when i %% 50 = 0 then 3 when i %% 20000 = 1 then 4 else 2 end, 0, 0, 0,
				case when i %% 50 = 0 or i %% 20000 = 1 then 1 + i %% 100 end from generate_series(%s, %s) i',
			w, 1000001 - N + w * N / 2, 1000000 - N + (w + 1) * N / 2);
		execute format('alter table done attach partition done_w%s for values from (%L) to (%L)', w,
			tid(1000001 - N + w * N / 2), tid(1000001 - N + (w + 1) * N / 2));
	end loop;
end $$;
insert into job_log (job_id, kind, off, chunk) select tid(1000000 - i), 0, 0, 'x' from generate_series(1, N / 20) i`

func dial(t *testing.T, db *store.DB) *pgx.Conn {
	t.Helper()
	c, err := pgx.Connect(t.Context(), db.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(context.Background()) }) //nolint:errcheck // a test's connection
	return c
}

// run runs statements of the test's own; N stands for how many jobs there are.
func run(t *testing.T, c *pgx.Conn, sql string) {
	t.Helper()
	sql = regexp.MustCompile(`\bN\b`).ReplaceAllString(sql, fmt.Sprint(million()))
	if _, err := c.PgConn().Exec(context.Background(), sql).ReadAll(); err != nil {
		t.Errorf("%s: %v", sql[:min(len(sql), 200)], err)
	}
}

// TestPlans runs the statements of all tables that grow on a million jobs, with the settings that they have, and counts the rows
// that they look at. Statistics may be old or missing: a plan must be as good then.
func TestPlans(t *testing.T) {
	t.Parallel()
	began := time.Now()
	db := storetest.New(t)
	c := dial(t, db)
	run(t, c, prepare)
	filled := make(chan struct{})
	go func() { // two connections, two processors
		defer close(filled)
		run(t, dial(t, db), fillDone)
	}()
	run(t, c, fillQ)
	<-filled
	if t.Failed() {
		t.FailNow()
	}
	t.Logf("filled: %s", time.Since(began).Round(time.Millisecond))
	for _, knows := range []struct{ what, sql string }{
		{"of a few rows", "update pg_class set reltuples = 20, relpages = 1 where relnamespace = 'public'::regnamespace and relkind = 'r'"},
		{"of now", "analyze"},
		{"of empty tables", "delete from pg_statistic; update pg_class set reltuples = 0, relpages = 0 where relnamespace = 'public'::regnamespace and relkind in ('r', 'p')"},
		{"none", "update pg_class set reltuples = -1, relpages = 0 where relnamespace = 'public'::regnamespace and relkind in ('r', 'p')"},
	} {
		run(t, c, knows.sql)
		for _, hot := range []bool{true, false} {
			run(t, c, "reset all; set plan_cache_mode = force_generic_plan")
			if hot {
				for k, v := range store.Pinned {
					run(t, c, fmt.Sprintf("set %s = %s", k, v))
				}
			}
			for table, wants := range tables {
				for name, w := range wants {
					if w.why == "" && w.hot == hot {
						w.check(t, c, statement{table: table, name: name, statistics: knows.what})
					}
				}
			}
		}
		listPlans(t, c, knows.what)
		t.Logf("statistics %s: %s", knows.what, time.Since(began).Round(time.Millisecond))
	}
}

// TestPlansWanted finds statements of which nobody has said what they may look at.
func TestPlansWanted(t *testing.T) {
	t.Parallel()
	for table, wants := range tables {
		names := store.StatementsOf(table)
		for _, name := range names {
			if _, ok := wants[name]; !ok {
				t.Errorf("%s: say in plan_want_test.go what the statement %s may look at", table, name)
			}
		}
		for name := range wants {
			if !slices.Contains(names, name) {
				t.Errorf("%s: there is no statement %s any more", table, name)
			}
			if _, writer := store.WriterStatements()[name]; writer && (!wants[name].hot || wants[name].why != "") {
				t.Errorf("%s is prepared on the writer's connection, so it must be run as a hot one here", name)
			}
		}
	}
}

// statement is one with a name, under some statistics.
type statement struct{ table, name, statistics string }

func (s statement) sql() string {
	if s.table == "batch" {
		return store.BatchStatement(s.name)
	}
	return store.Statement(s.name)
}

// types are those of the parameters where the program says them; otherwise the server finds them out.
func (s statement) types(t *testing.T, c *pgx.Conn) string {
	t.Helper()
	var names []string
	for _, oid := range store.WriterStatements()[s.name] {
		var name string
		if err := c.QueryRow(t.Context(), "select $1::int8::oid::regtype::text", pgx.QueryExecModeExec, int64(oid)).Scan(&name); err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	if names == nil {
		return ""
	}
	return "(" + strings.Join(names, ", ") + ")"
}

// check runs a statement, takes back what it did, and looks at what it looked at.
func (w want) check(t *testing.T, c *pgx.Conn, s statement) {
	t.Helper()
	ctx := t.Context()
	s.prepare(t, c, "stmt")
	run(t, c, "begin")
	if w.ordered {
		run(t, c, store.Statement("BatchInOrder"))
	}
	text, err := w.explain(ctx, c, "stmt")
	run(t, c, "rollback; deallocate stmt")
	if err != nil {
		t.Fatalf("%s: %v", s.name, err)
	}
	judge(t, w, s, text)
}

func (s statement) prepare(t *testing.T, c *pgx.Conn, as string) {
	t.Helper()
	if _, err := c.Exec(t.Context(), "prepare "+as+s.types(t, c)+" as "+s.sql()); err != nil {
		t.Fatalf("prepare %s: %v", s.name, err)
	}
}

func (w want) explain(ctx context.Context, c *pgx.Conn, prepared string) (text []byte, err error) {
	args := ""
	if w.args != "" {
		args = "(" + w.args + ")"
	}
	err = c.QueryRow(ctx, "explain (analyze, timing off, format json) execute "+prepared+args, pgx.QueryExecModeSimpleProtocol).Scan(&text)
	return text, err
}

// TestPlansOfAnEmptyQueue looks at plans that were made when q was empty, as a queue that is kept up with is most of the time, and
// are used when it is full: nothing tells Postgres to plan again before the next look at statistics.
func TestPlansOfAnEmptyQueue(t *testing.T) {
	t.Parallel()
	c := dial(t, storetest.New(t))
	run(t, c, prepare)
	run(t, c, "delete from q")
	run(t, c, "vacuum (analyze) q")
	run(t, c, "set plan_cache_mode = force_generic_plan")
	for k, v := range store.Pinned {
		run(t, c, fmt.Sprintf("set %s = %s", k, v))
	}
	var full []string
	for _, table := range []string{"job", "gate", "debounce", "flow"} {
		for name, w := range tables[table] {
			if !w.hot || w.why != "" {
				continue
			}
			s := statement{table: table, name: name, statistics: "of an empty queue"}
			s.prepare(t, c, name)
			if strings.Contains(s.sql(), " q ") || strings.Contains(s.sql(), " q\n") {
				full = append(full, name)
			}
			run(t, c, "begin")
			if _, err := w.explain(t.Context(), c, name); err != nil { // plans
				t.Fatalf("%s: %v", name, err)
			}
			run(t, c, "rollback")
		}
	}
	run(t, c, strings.ReplaceAll(rowsOfQ, "N", "300000"))
	for _, table := range []string{"job", "gate", "debounce", "flow"} {
		for name, w := range tables[table] {
			if !slices.Contains(full, name) {
				continue
			}
			run(t, c, "begin")
			text, err := w.explain(t.Context(), c, name)
			run(t, c, "rollback")
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			w.via = "" // one that reads an empty table as well is as good
			judge(t, w, statement{table: table, name: name, statistics: "of an empty queue"}, text)
		}
	}
}

// judge fails the test when the plan of s looks at more than w allows, or does not use its index.
func judge(t *testing.T, w want, s statement, text []byte) {
	t.Helper()
	var out []struct {
		Plan node
		Time float64 `json:"Execution Time"`
	}
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatalf("%s: %v: %s", s.name, err, text)
	}
	most := w.rows
	if most == 0 {
		most = 1000
	}
	if s.statistics != "of now" {
		most = max(most, w.old)
	}
	rows, indexes := out[0].Plan.looked()
	if out[0].Time > 500 {
		t.Logf("%s took %.0f ms with statistics %s:\n%s", s.name, out[0].Time, s.statistics, out[0].Plan.text("  "))
	}
	if rows > float64(most) {
		t.Errorf("%s looks at %.0f rows with statistics %s, %d are allowed:\n%s", s.name, rows, s.statistics, most, out[0].Plan.text("  "))
	}
	if w.via != "" && !strings.Contains(indexes, w.via) {
		t.Errorf("%s is planned with %q instead of %s with statistics %s:\n%s", s.name, indexes, w.via, s.statistics, out[0].Plan.text("  "))
	}
}

// node is a part of a plan, as EXPLAIN shows it.
type node struct {
	Type     string  `json:"Node Type"`
	Relation string  `json:"Relation Name"`
	Index    string  `json:"Index Name"`
	Rows     float64 `json:"Actual Rows"`
	Filtered float64 `json:"Rows Removed by Filter"`
	Recheck  float64 `json:"Rows Removed by Index Recheck"`
	Loops    float64 `json:"Actual Loops"`
	Plans    []node
}

// looked counts the rows of tables that were looked at, and joins the names of the indexes.
func (n node) looked() (rows float64, indexes string) {
	if n.Relation != "" && strings.Contains(n.Type, "Scan") || n.Type == "Bitmap Index Scan" {
		rows = (n.Rows + n.Filtered + n.Recheck) * n.Loops
	}
	indexes = n.Index + " "
	for _, p := range n.Plans {
		r, i := p.looked()
		rows, indexes = rows+r, indexes+i
	}
	return rows, indexes
}

// text shows the plan, a line a node, with the rows that came out of each and those that were thrown away.
func (n node) text(indent string) string {
	out := fmt.Sprintf("%s%s %s %s: %.0f rows, %.0f filtered, %.0f times\n", indent, n.Type, n.Relation, n.Index, n.Rows, n.Filtered+n.Recheck, n.Loops)
	for _, p := range n.Plans {
		out += p.text(indent + "  ")
	}
	return out
}
