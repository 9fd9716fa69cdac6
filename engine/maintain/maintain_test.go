package maintain_test

import (
	"testing"
	"time"

	"github.com/millrace/millrace/engine/maintain"
	"github.com/millrace/millrace/engine/store/storetest"
)

func TestRound(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	s, err := maintain.New(maintain.Config{DB: db, Log: storetest.Log(t), Grace: time.Nanosecond, Keys: time.Nanosecond})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	var n int
	const partitions = "select count(*) from pg_inherits where inhparent = 'done'::regclass"
	if storetest.Row(t, db, partitions, &n); n != 6 { // this week, four ahead, the default one
		t.Fatalf("%d partitions after the start", n)
	}
	if _, _, err := db.BlobPut(t.Context(), []byte("nobody's"), 1000); err != nil {
		t.Fatal(err)
	}
	storetest.Exec(t, db, "insert into idempotency (workspace, key, job_id) values ('main', 'k', gen_random_uuid())")
	storetest.Exec(t, db, "insert into worker (host, pid, name, version, tags, slots, gone) values ('h', 1, 'old', '', '{}', 1, now() - interval '1 year')")
	if err := s.Round(t.Context(), time.Now().Add(300*24*time.Hour)); err != nil {
		t.Fatal(err)
	}
	storetest.Row(t, db, "select (select count(*) from blob) + (select count(*) from idempotency) + (select count(*) from worker)", &n)
	if n != 0 {
		t.Fatalf("%d rows are left", n)
	}
	if storetest.Row(t, db, partitions, &n); n != 6 { // the old ones went, those of the new time came
		t.Fatalf("%d partitions after the round", n)
	}
}

// TestTidy: the service itself rebuilds the indexes that a peak has left large.
func TestTidy(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	storetest.Exec(t, db, "insert into q (id, scheduled_for, tag) select gen_random_uuid(), now(), 'noop' from generate_series(1, 200000)")
	storetest.Exec(t, db, "delete from q")
	storetest.Exec(t, db, "vacuum analyze q")
	s, err := maintain.New(maintain.Config{DB: db, Log: storetest.Log(t), Tidy: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for small := false; !small; <-tick.C {
		if t.Context().Err() != nil {
			t.Fatal("it stays large")
		}
		// Null: the index was exchanged between the look at its name and that at its file.
		storetest.Row(t, db, "select coalesce(pg_relation_size('q_pkey') < 100000 and pg_relation_size('q_ready') < 100000, false)", &small)
	}
}
