package queue

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store"
	"github.com/millrace/millrace/engine/store/storetest"
)

// holdWriter makes everything that is pushed meanwhile one batch: it keeps the writer busy until release.
func holdWriter(q *Queue) (release func()) {
	q.writer.group.mu.Lock()
	q.writer.group.busy = true
	q.writer.group.mu.Unlock()
	return q.writer.group.drain
}

func TestOneBadOperation(t *testing.T) {
	t.Parallel()
	q := start(t, quiet(storetest.New(t), nil))
	release := holdWriter(q)
	good := make([]*op, 5)
	for i := range good {
		j := noop()
		spec, err := q.cfg.DB.Spec(t.Context(), j)
		if err != nil {
			t.Fatal(err)
		}
		good[i] = &op{insert: &store.JobInsert{Job: j, Spec: spec}, done: make(chan struct{})}
	}
	rotten := noop()
	rotten.Args = json.RawMessage(`{"this is": not json`)
	bad := &op{insert: &store.JobInsert{Job: rotten}, done: make(chan struct{})}
	for _, o := range slices.Insert(slices.Clone(good), 2, bad) {
		q.writer.group.add(o)
	}
	release()
	<-bad.done
	if bad.err == nil {
		t.Fatal("bad JSON was stored")
	}
	for i, o := range good {
		<-o.done
		if o.err != nil || !o.insert.Inserted {
			t.Fatalf("operation %d fell with the bad one: %v", i, o.err)
		}
		get(t, q, o.insert.Job.ID)
	}
	if _, err := q.Get(t.Context(), "main", rotten.ID); engine.CodeOf(err) != engine.NotFound {
		t.Fatalf("the bad one: %v", err)
	}
}

func TestBatchSharesFlush(t *testing.T) {
	t.Parallel()
	q := start(t, quiet(storetest.New(t), nil))
	before := q.Flushes()
	release := holdWriter(q)
	var ops []*op
	for range 300 {
		o := &op{insert: &store.JobInsert{Job: noop()}, done: make(chan struct{})}
		ops = append(ops, o)
		q.writer.group.add(o)
	}
	release()
	for _, o := range ops {
		if <-o.done; o.err != nil || !o.insert.Inserted {
			t.Fatal(o.err)
		}
	}
	if n := q.Flushes() - before; n != 1 {
		t.Fatalf("%d flushes", n)
	}
}

func TestWriterReconnects(t *testing.T) {
	t.Parallel()
	url := storetest.URL(t)
	s := newSlots(10000)
	q := start(t, quiet(storetest.Open(t, url), s))
	killer := storetest.Open(t, url)
	const clients, each = 16, 60
	var wg sync.WaitGroup
	ids := make(chan uuid.UUID, clients*each)
	for range clients {
		wg.Go(func() {
			for range each {
				j := noop()
				if res, err := q.Push(context.Background(), j); err != nil || !res.Claimed || res.Duplicate {
					t.Errorf("push: %+v %v", res, err)
					return
				}
				ids <- j.ID
				c := <-s.claims
				if ok, err := q.Finish(context.Background(), success(c)); err != nil || !ok {
					t.Errorf("finish: %v %v", ok, err)
					return
				}
			}
		})
	}
	done := make(chan struct{})
	go func() {
		wg.Wait()
		close(done)
	}()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for kills := 0; ; {
		select {
		case <-tick.C:
			if kills < 8 {
				storetest.Exec(t, killer, "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()")
				kills++
			}
			continue
		case <-done:
		}
		break
	}
	close(ids)
	n := 0
	for id := range ids {
		if v := get(t, q, id); v.State != engine.StateSuccess {
			t.Fatalf("%s is %s", id, v.State)
		}
		n++
	}
	if len(s.claims) != 0 || n != clients*each {
		t.Fatalf("%d jobs, %d delivered too much", n, len(s.claims))
	}
}

func TestUnavailable(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	s := newSlots(1)
	cfg := quiet(db, s)
	cfg.RetryFor = 50 * time.Millisecond
	q, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := q.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer q.Stop()
	storetest.Admin(t, fmt.Sprintf("alter database %s allow_connections false", storetest.Name(t, db)))
	q.writer.conn.Break()
	if _, err := q.Push(t.Context(), noop()); engine.CodeOf(err) != engine.Unavailable {
		t.Fatalf("got %v", err)
	}
	if s.left() != 1 {
		t.Fatal("the slot was not given back")
	}
}

func TestFlushThatHangs(t *testing.T) {
	t.Parallel()
	url := storetest.URL(t)
	cfg := quiet(storetest.Open(t, url), newSlots(1))
	cfg.FlushTime = 200 * time.Millisecond
	q := start(t, cfg)
	other := storetest.Open(t, url)
	release := storetest.Lock(t, other, "job")
	res := make(chan error, 1)
	go func() {
		_, err := q.Push(context.Background(), noop())
		res <- err
	}()
	for q.Flushes() < 1 { // it is cut off
		select {
		case err := <-res:
			t.Fatalf("pushed through a lock: %v", err)
		case <-time.After(5 * time.Millisecond):
		}
	}
	release()
	if err := <-res; err != nil {
		t.Fatal(err)
	}
}
