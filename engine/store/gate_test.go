package store_test

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/millrace/millrace/engine/store"
	"github.com/millrace/millrace/engine/store/storetest"
)

// TestGateAmongMany admits at a gate with 100,000 waiting jobs, half of which are due later and of a higher priority: it looks
// at those that it admits, and is as quick as at an empty one.
func TestGateAmongMany(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	c, err := pgx.Connect(t.Context(), db.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.Background()) //nolint:errcheck // a test's connection
	run := func(sql string) {
		t.Helper()
		if _, err := c.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	run(`insert into gate (workspace, key, slots, window_ms) select 'main', i::text, 3, (i % 2) * 60000 from generate_series(1, 100) i`)
	run(`insert into q (id, scheduled_for, tag, state, gate, prio)
		select gen_random_uuid(), now() + i * interval '1 minute', 'noop', 5, 1 + abs(i) % 2, (i > 0)::int from generate_series(-50000, 50000) i where i < 0 or i > 100`)
	for k, v := range store.Pinned {
		run(fmt.Sprintf("set %s = %s", k, v))
	}
	run("prepare admit as " + store.Statement("GateAdmit"))
	rows, err := c.Query(t.Context(), "explain (analyze, timing off) execute admit('{1,2,77}', '{}', 1)", pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	plan := strings.Join(lines, "\n")
	if !strings.Contains(plan, "q_wait ") || strings.Contains(plan, "Seq Scan on q") {
		t.Fatalf("not planned with q_wait:\n%s", plan)
	}
	for _, m := range regexp.MustCompile(`actual rows=(\d+)|Rows Removed by Filter: (\d+)`).FindAllStringSubmatch(plan, -1) {
		if n, _ := strconv.Atoi(m[1] + m[2]); n > 200 {
			t.Errorf("it looks at %d rows:\n%s", n, plan)
		}
	}
	var admitted, high int
	storetest.Row(t, db, "select count(*), count(*) filter (where prio > 0) from q where state = 0", &admitted, &high)
	if admitted != 6 || high != 0 {
		t.Fatalf("%d admitted, %d of them not due", admitted, high)
	}
	b := &store.GateBatch{Gates: []int32{1, 2, 77}}
	if err := db.GateAdmit(t.Context(), b); err != nil || len(b.Admitted) != 0 {
		t.Fatalf("admitted at full gates: %+v, %v", b.Admitted, err)
	}
}
