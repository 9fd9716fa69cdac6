package store_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/engine/store"
	"github.com/millrace/millrace/engine/store/storetest"
)

func TestPartitions(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	db := storetest.New(t)
	now := time.Now()
	insert := func(at time.Time) string {
		id := store.IDAt(at).String()
		id = id[:len(id)-1] + "7"
		storetest.Exec(t, db, fmt.Sprintf(`insert into job (id, created_at, scheduled_for, spec, workspace) values ('%s', now(), now(), 1, 'main')`, id))
		return id
	}
	where := func(id string) (name string) {
		storetest.Row(t, db, "select tableoid::regclass::text from job where id = '"+id+"'", &name)
		return name
	}
	early := insert(now) // before there is a partition
	if got := where(early); got != "job_default" {
		t.Fatalf("it is in %s", got)
	}
	made, dropped, err := db.Partition(ctx, now, 2, 0)
	if made != 3*10 || dropped != 0 || err != nil {
		t.Fatalf("made %d, dropped %d, %v", made, dropped, err)
	}
	this := store.PartitionName("job", store.WeekOf(now))
	if got := where(early); got != this {
		t.Fatalf("it stayed in %s", got)
	}
	next := store.PartitionName("job", store.WeekOf(now.Add(7*24*time.Hour)))
	if got := where(insert(store.WeekOf(now).Add(7 * 24 * time.Hour))); got != next {
		t.Fatalf("next week's is in %s", got)
	}
	if made, _, err := db.Partition(ctx, now, 2, 0); made != 0 || err != nil {
		t.Fatalf("made %d again, %v", made, err)
	}
	// Half a year on: the old weeks go, except the one of which a job is still queued.
	storetest.Exec(t, db, "insert into q (id, scheduled_for, tag) values ('"+early+"', now(), 'noop')")
	later := now.Add(180 * 24 * time.Hour)
	if _, dropped, err = db.Partition(ctx, later, 0, 90*24*time.Hour); dropped != 2 || err != nil {
		t.Fatalf("dropped %d, %v", dropped, err)
	}
	if got := where(early); got != this {
		t.Fatalf("a queued job's row is in %q", got)
	}
	storetest.Exec(t, db, "delete from q")
	if _, dropped, err = db.Partition(ctx, later, 0, 90*24*time.Hour); dropped != 1 || err != nil {
		t.Fatalf("dropped %d, %v", dropped, err)
	}
}

func TestMigrateTogether(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	storetest.Exec(t, db, "drop schema public cascade; create schema public")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			other, err := store.Open(t.Context(), store.Config{URL: db.URL(), Log: storetest.Log(t)})
			if err != nil {
				t.Error(err)
				return
			}
			other.Close()
		})
	}
	wg.Wait()
	var n int
	storetest.Row(t, db, "select count(*) from migration", &n)
	if n != store.Migrations() {
		t.Fatalf("%d migrations", n)
	}
	storetest.Exec(t, db, "insert into migration (number, name, checksum) values (9999, 'future', 'x')")
	if _, err := store.Open(t.Context(), store.Config{URL: db.URL(), Log: storetest.Log(t)}); err == nil {
		t.Fatal("a newer database was opened")
	}
}
