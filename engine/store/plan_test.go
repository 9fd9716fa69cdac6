package store_test

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/millrace/millrace/engine/store"
	"github.com/millrace/millrace/engine/store/storetest"
)

// fillRows is how many jobs each of q and done holds when plans are looked at.
const fillRows = 100_000

// fill makes rows in several partitions: half of the jobs queued, half done.
func fill(t *testing.T, c *pgx.Conn) {
	t.Helper()
	const id = `(lpad(to_hex((extract(epoch from date_trunc('week', now())) * 1000)::int8 + i * 6000), 12, '0') || '70008000' || lpad(to_hex(i), 12, '0'))::uuid`
	for _, sql := range []string{
		`insert into spec (hash, workspace, kind, tag, path, script, prio, timeout_ms, language, network, created_by, email, permissioned_as, trigger, trigger_path)
		select gen_random_uuid(), 'main', 'noop', 'noop', 'u/ann/x' || i, 0, 0, 0, '', '', 'ann', '', '', '', '' from generate_series(1, 100) i`,
		`insert into job (id, created_at, scheduled_for, spec, workspace, args)
		select ` + id + `, now() + i * interval '6 seconds', now(), 1 + i % 100, 'main', '{}'
		from generate_series(1, 2 * ` + strconv.Itoa(fillRows) + `) i`,
		`insert into q (id, scheduled_for, prio, tag) select ` + id + `, now() - i * interval '1 millisecond', i % 3, case when i % 2 = 0 then 'noop' else 'other' end
		from generate_series(1, ` + strconv.Itoa(fillRows) + `) i`,
		`insert into done (id, finished_at, worker, attempt, state, cpu_us, memory_peak, log_off)
		select ` + id + `, now(), 1, 1, 2, 0, 0, 0 from generate_series(` + strconv.Itoa(fillRows) + ` + 1, 2 * ` + strconv.Itoa(fillRows) + `) i`,
		`insert into job_log (job_id, kind, off, chunk) select id, 0, 0, 'x' from done`,
		"analyze",
	} {
		if _, err := c.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
}

// explain shows the generic plan of a statement.
func explain(t *testing.T, c *pgx.Conn, name, sql string) string {
	t.Helper()
	ctx := context.Background()
	if _, err := c.Exec(ctx, "prepare stmt as "+sql); err != nil {
		t.Fatalf("prepare %s: %v", name, err)
	}
	var n int
	if err := c.QueryRow(ctx, "select cardinality(parameter_types) from pg_prepared_statements where name = 'stmt'").Scan(&n); err != nil {
		t.Fatal(err)
	}
	args := ""
	if n > 0 {
		args = "(" + strings.TrimSuffix(strings.Repeat("null,", n), ",") + ")"
	}
	rows, err := c.Query(ctx, "explain execute stmt"+args, pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		t.Fatalf("explain %s: %v", name, err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatalf("explain %s: %v", name, err)
	}
	if _, err := c.Exec(ctx, "deallocate stmt"); err != nil {
		t.Fatal(err)
	}
	return strings.Join(lines, "\n")
}

// bigScan finds scans of more than a few rows; empty partitions are scanned rightly.
var bigScan = regexp.MustCompile(`Seq Scan on (q|job\w*|done\w*)\b.*rows=\d{3,}`)

// TestPlans looks at the plans of all statements of the hot path, with their settings, on tables of 100,000 rows and more.
func TestPlans(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	if _, _, err := db.Partition(t.Context(), time.Now(), 4, 0); err != nil {
		t.Fatal(err)
	}
	c, err := pgx.Connect(t.Context(), db.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.Background()) //nolint:errcheck // a test's connection
	fill(t, c)
	for k, v := range store.Pinned {
		if _, err := c.Exec(t.Context(), fmt.Sprintf("set %s = %s", k, v)); err != nil {
			t.Fatal(err)
		}
	}
	for name, index := range map[string]string{
		"JobInsertMany": "", "JobInsertOne": "", "JobFinishOne": "q_pkey", "JobFinishMany": "q_pkey", "JobClaim": "q_ready",
		"JobHeads": "q_ready", "JobCanceled": "q_cancel", "LogAppend": "q_pkey", "WorkerBeat": "worker_", "BlobTouch": "blob_pkey",
	} {
		plan := explain(t, c, name, store.Statement(name))
		if bigScan.MatchString(plan) || strings.Contains(plan, "cost=1000000") || !strings.Contains(plan, index) {
			t.Errorf("%s is not planned with %q:\n%s", name, index, plan)
		}
		if (name == "JobClaim" || name == "JobHeads") && strings.Contains(plan, "Sort") {
			t.Errorf("%s sorts:\n%s", name, plan)
		}
	}
	readPlans(t, c)
}

// readPlans looks at what ordinary connections read, with the server's own choice of joins.
func readPlans(t *testing.T, c *pgx.Conn) {
	t.Helper()
	if _, err := c.Exec(t.Context(), "reset all; set plan_cache_mode = force_generic_plan"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"JobGet", "JobResult", "LogRead", "JobOwned", "JobFinished", "JobExists", "JobCancelQueued", "JobCancelRunning", "JobHandBack"} {
		if plan := explain(t, c, name, store.Statement(name)); bigScan.MatchString(plan) {
			t.Errorf("%s scans:\n%s", name, plan)
		}
	}
	for _, kind := range [][2]bool{{true, true}, {true, false}, {false, true}} {
		rows, err := c.Query(t.Context(), "explain (analyze, timing off) "+store.ListStatement(kind[0], kind[1], false), pgx.QueryExecModeExec,
			"main", nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, false, nil, nil, 30, 0, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		plan := strings.Join(lines, "\n")
		if kind[1] && (bigScan.MatchString(plan) || !strings.Contains(plan, "workspace_created_at")) {
			t.Errorf("a list %v reads everything:\n%s", kind, plan)
		}
	}
}
