package store_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/millrace/millrace/engine/store"
	"github.com/millrace/millrace/engine/store/storetest"
)

func TestWorkerList(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	ctx := t.Context()
	info := store.WorkerInfo{Host: "h", PID: 7, Name: "one", Version: "v1.2.3", Tags: []string{"gpu"}, Slots: 4}
	one, err := db.WorkerInsert(ctx, info)
	if err != nil {
		t.Fatal(err)
	}
	info.Name = "two"
	two, err := db.WorkerInsert(ctx, info)
	if err != nil {
		t.Fatal(err)
	}
	if others, _, err := db.WorkerBeat(ctx, one, 3, 77, time.Minute); err != nil || others != 1 {
		t.Errorf("others %d, %v", others, err)
	}
	list, err := db.WorkerList(ctx, time.Minute)
	if err != nil || len(list) != 2 {
		t.Fatalf("%+v %v", list, err)
	}
	w := list[0]
	if w.ID != one || w.Busy != 3 || w.Executed != 77 || w.Slots != 4 || w.Version != "v1.2.3" || w.PID != 7 || w.Host != "h" || w.Name != "one" ||
		!reflect.DeepEqual(w.Tags, []string{"gpu"}) || w.Started.IsZero() || w.Heartbeat.Before(w.Started) {
		t.Errorf("%+v", w)
	}
	if err := db.WorkerLeave(ctx, two); err != nil {
		t.Fatal(err)
	}
	if list, err := db.WorkerList(ctx, time.Minute); err != nil || len(list) != 1 || list[0].ID != one {
		t.Errorf("after one left: %+v %v", list, err)
	}
}
