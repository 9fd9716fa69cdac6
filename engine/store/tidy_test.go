package store_test

import (
	"slices"
	"testing"

	"github.com/millrace/millrace/engine/store"
	"github.com/millrace/millrace/engine/store/storetest"
)

// TestQueueTidy: what a peak has left of indexes is rebuilt; what is in use is not, however large.
func TestQueueTidy(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	ctx := t.Context()
	const little = 64 << 10 // stands for what is worth it
	size := func() (n int64) {
		storetest.Row(t, db, "select pg_relation_size('q_pkey')", &n)
		return n
	}
	tidy := func() []string {
		t.Helper()
		got, err := store.QueueTidyAbove(ctx, db, little)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	storetest.Exec(t, db, `insert into q (id, scheduled_for, tag) select gen_random_uuid(), now(), 'noop' from generate_series(1, 20000)`)
	storetest.Exec(t, db, "vacuum analyze q")
	full := size()
	if got := tidy(); len(got) != 0 {
		t.Fatalf("rebuilt %v while all is in use", got)
	}
	storetest.Exec(t, db, "delete from q where id not in (select id from q limit 10)")
	storetest.Exec(t, db, "vacuum analyze q")
	// What a rebuild leaves that was cut off.
	storetest.Exec(t, db, `create index q_ready_ccnew on q (scheduled_for);
		update pg_index set indisvalid = false where indexrelid = 'q_ready_ccnew'::regclass`)
	got := tidy()
	if !slices.Contains(got, "q_pkey") || !slices.Contains(got, "q_ready") || slices.Contains(got, "q_wait") {
		t.Errorf("rebuilt %v", got)
	}
	if now := size(); now >= full/10 {
		t.Errorf("%d bytes of %d are left", now, full)
	}
	var left int
	if storetest.Row(t, db, "select count(*) from pg_class where relname like '%ccnew%'", &left); left != 0 {
		t.Errorf("%d broken indexes are left", left)
	}
	var rows, indexes int
	storetest.Row(t, db, "select count(*) from q", &rows)
	storetest.Row(t, db, "select count(*) from pg_index where indrelid = 'q'::regclass and indisvalid", &indexes)
	if rows != 10 || indexes < 8 {
		t.Errorf("%d rows, %d indexes", rows, indexes)
	}
	if got := tidy(); len(got) != 0 {
		t.Errorf("rebuilt again: %v", got)
	}
	// Another process is at it.
	db2 := storetest.Open(t, db.URL())
	storetest.Exec(t, db, `insert into q (id, scheduled_for, tag) select gen_random_uuid(), now(), 'noop' from generate_series(1, 5000); delete from q`)
	storetest.Exec(t, db, "vacuum analyze q")
	unlock := store.HoldUpkeep(t, db2)
	if got := tidy(); len(got) != 0 {
		t.Errorf("rebuilt %v beside another process", got)
	}
	unlock()
	if got := tidy(); len(got) == 0 {
		t.Error("nothing was rebuilt afterwards")
	}
}
