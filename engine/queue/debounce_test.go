package queue

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store/storetest"
)

func debounced(args string) *engine.Job {
	j := noop()
	j.Args = json.RawMessage(args)
	j.Debounce = &engine.Debounce{Key: "k", Delay: time.Hour, Accumulate: []string{"items"}}
	return j
}

func TestDebounceMerges(t *testing.T) {
	t.Parallel()
	q := start(t, quiet(storetest.New(t), newSlots(9)))
	var last uuid.UUID
	for i := range 4 {
		j := debounced(fmt.Sprintf(`{"z": %d, "items": [%d, {"a": null}], "b": 2}`, i, i))
		res := push(t, q, j)
		if res.Claimed || res.ID != j.ID || (i > 0) != (res.Replaced != nil) || (i > 0 && *res.Replaced != last) {
			t.Fatalf("push %d: got %+v", i, res)
		}
		if i > 0 {
			v := get(t, q, last)
			if v.State != engine.StateCanceled || v.CanceledBy != "debounce" || string(v.Result) != `{"debounced_by":"`+j.ID.String()+`"}` {
				t.Fatalf("the one before is %+v %s", v, v.Result)
			}
		}
		last = j.ID
	}
	v := get(t, q, last)
	if string(v.Args) != `{"z": 3, "items": [0,{"a": null},1,{"a": null},2,{"a": null},3,{"a": null}], "b": 2}` {
		t.Fatalf("got %s", v.Args)
	}
	if in := time.Until(v.ScheduledFor); in < 59*time.Minute || in > time.Hour+time.Minute {
		t.Fatalf("it runs in %s", in)
	}
	other := debounced(`{}`)
	other.Debounce.Key = "other"
	if res := push(t, q, other); res.Replaced != nil {
		t.Fatal("two keys are one")
	}
	other = debounced(`{}`)
	other.Workspace = "other"
	if res := push(t, q, other); res.Replaced != nil {
		t.Fatal("two workspaces share a key")
	}
}

func TestDebounceBounds(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	q := start(t, quiet(db, nil))
	counted := func() *engine.Job {
		j := debounced(`{"items": [1]}`)
		j.Debounce.MaxCount = 3
		return j
	}
	push(t, q, counted())
	push(t, q, counted())
	third := counted()
	push(t, q, third)
	list := claim(t, q, 9, "noop")
	if len(list) != 1 || list[0].Job.ID != third.ID || string(list[0].Job.Args) != `{"items": [1,1,1]}` {
		t.Fatalf("got %+v", list)
	}
	if res := push(t, q, counted()); res.Replaced != nil {
		t.Fatal("a job that runs was replaced")
	}

	waited := func() *engine.Job {
		j := debounced(`{}`)
		j.Debounce.Key, j.Debounce.MaxWait = "wait", time.Minute
		return j
	}
	first := waited()
	push(t, q, first)
	begin := get(t, q, first.ID).ScheduledFor
	storetest.Exec(t, db, "update debounce set first_at = first_at - interval '50 s' where key = 'wait'")
	second := waited()
	push(t, q, second)
	if moved := begin.Sub(get(t, q, second.ID).ScheduledFor); moved < 49*time.Second || moved > 51*time.Second {
		t.Fatalf("the second runs %s before the first would have, want 50 s", moved)
	}
	storetest.Exec(t, db, "update debounce set first_at = first_at - interval '50 s' where key = 'wait'")
	third = waited()
	if res := push(t, q, third); res.Replaced == nil || *res.Replaced != second.ID {
		t.Fatalf("got %+v", res)
	}
	list = claim(t, q, 9, "noop")
	if len(list) != 1 || list[0].Job.ID != third.ID {
		t.Fatalf("it waited for too long: %+v", list)
	}
	finish(t, q, success(list[0]))
	if n, err := db.DebounceSweep(t.Context(), 0); n != 1 || err != nil { // that of the job that waits for an hour stays
		t.Fatalf("forgot %d keys, %v", n, err)
	}
}

// TestDebounceAtOnce has many clients and two daemons ask at the same time: one job is left, with what all said.
func TestDebounceAtOnce(t *testing.T) {
	t.Parallel()
	const n = 60
	url := storetest.URL(t)
	queues := []*Queue{start(t, quiet(storetest.Open(t, url), nil)), start(t, quiet(storetest.Open(t, url), nil))}
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			j := debounced(fmt.Sprintf(`{"items": [%d]}`, i))
			j.Limit = &engine.Limit{Key: "one", Slots: 1}
			if i%10 == 0 {
				j.Args = json.RawMessage(fmt.Sprintf(`{"items": [%d], "pad": "%s"}`, i, strings.Repeat("x", 300<<10))) // large arguments take another way
			}
			if _, err := queues[i%2].Push(t.Context(), j); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	db := queues[0].cfg.DB
	var left, ended int
	storetest.Row(t, db, "select (select count(*) from q), (select count(*) from done where state = 4)", &left, &ended)
	if left != 1 || ended != n-1 {
		t.Fatalf("%d jobs wait, %d were replaced", left, ended)
	}
	var id uuid.UUID
	storetest.Row(t, db, "select id from q", (*[16]byte)(&id))
	var args struct{ Items []int }
	if err := json.Unmarshal(get(t, queues[0], id).Args, &args); err != nil {
		t.Fatal(err)
	}
	seen := map[int]bool{}
	for _, i := range args.Items {
		seen[i] = true
	}
	if len(args.Items) != n || len(seen) != n {
		t.Fatalf("%d items, %d of them different", len(args.Items), len(seen))
	}
}

// TestDebounceTwice asks again with the same id or key, as after an answer that was lost.
func TestDebounceTwice(t *testing.T) {
	t.Parallel()
	q := start(t, quiet(storetest.New(t), nil))
	first := debounced(`{"items": [1]}`)
	push(t, q, first)
	again := *first
	again.ScheduledFor, again.Args = time.Time{}, json.RawMessage(`{"items": [1]}`)
	if res := push(t, q, &again); !res.Duplicate || res.ID != first.ID || res.Replaced != nil {
		t.Fatalf("got %+v", res)
	}
	second := debounced(`{"items": [2]}`)
	second.IdempotencyKey = "once"
	push(t, q, second)
	if res := push(t, q, &again); !res.Duplicate {
		t.Fatalf("a replaced job came back: %+v", res)
	}
	keyed := debounced(`{"items": [2]}`)
	keyed.IdempotencyKey = "once"
	if res := push(t, q, keyed); !res.Duplicate || res.ID != second.ID {
		t.Fatalf("got %+v", res)
	}
	v := get(t, q, second.ID)
	if v.State != engine.StateQueued || string(v.Args) != `{"items": [1,2]}` {
		t.Fatalf("got %s %s", v.State, v.Args)
	}
}

// TestDebounceCrash undoes the transaction at its last step: nothing of it is left.
func TestDebounceCrash(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	q := start(t, quiet(db, nil))
	first := debounced(`{"items": [1]}`)
	push(t, q, first)
	storetest.Exec(t, db, "alter table q add constraint broken check (prio <> 77) not valid")
	bad := debounced(`{"items": [2]}`)
	bad.Priority = 77
	if _, err := q.Push(t.Context(), bad); err == nil {
		t.Fatal("it was stored")
	}
	if v := get(t, q, first.ID); v.State != engine.StateQueued {
		t.Fatalf("the former is %s", v.State)
	}
	last := debounced(`{"items": [3]}`)
	if res := push(t, q, last); res.Replaced == nil || *res.Replaced != first.ID {
		t.Fatalf("got %+v", res)
	}
	if v := get(t, q, last.ID); string(v.Args) != `{"items": [1,3]}` {
		t.Fatalf("got %s", v.Args)
	}
}

func TestDebounceInvalid(t *testing.T) {
	t.Parallel()
	q := start(t, quiet(storetest.New(t), nil))
	for _, d := range []engine.Debounce{{Key: "k"}, {Delay: 1}, {Key: "k", Delay: 1, MaxCount: -1}, {Key: "k", Delay: 1, Accumulate: []string{"b"}}} {
		j := noop()
		j.Debounce = &d
		if _, err := q.Push(t.Context(), j); engine.CodeOf(err) != engine.Invalid {
			t.Errorf("%+v: %v", d, err)
		}
	}
	// A canceled job is not replaced, and its arguments are gone with it.
	first, second := debounced(`{"items": [1]}`), debounced(`{}`)
	push(t, q, first)
	if err := q.Cancel(t.Context(), "main", first.ID, "bob", ""); err != nil {
		t.Fatal(err)
	}
	if res := push(t, q, second); res.Replaced != nil {
		t.Fatalf("got %+v", res)
	}
	if v := get(t, q, second.ID); string(v.Args) != `{}` {
		t.Fatalf("got %s", v.Args)
	}
}
