package queue

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store/storetest"
)

func TestRoomExact(t *testing.T) {
	t.Parallel()
	cfg := quiet(storetest.New(t), nil)
	cfg.MaxQueued = 10
	q := start(t, cfg)
	for range 3 { // filled and emptied, with jobs that wait for a limit and jobs that are due later
		for i := range 10 {
			j := noop()
			switch i % 3 {
			case 0:
				j.Limit = &engine.Limit{Key: "k", Slots: 1}
			case 1:
				j.ScheduledFor = time.Now().Add(time.Hour)
			}
			push(t, q, j)
		}
		_, err := q.Push(t.Context(), noop())
		if engine.CodeOf(err) != engine.TooMany || !strings.Contains(err.Error(), "the queue is full: 10 jobs wait, 10 may (try again") {
			t.Fatalf("the eleventh: %v", err)
		}
		if _, err := q.PushMany(t.Context(), []*engine.Job{noop()}); engine.CodeOf(err) != engine.TooMany {
			t.Fatalf("in bulk: %v", err)
		}
		for _, c := range claim(t, q, 1, "noop") {
			finish(t, q, success(c))
		}
		push(t, q, noop())
		if _, err := q.Push(t.Context(), noop()); engine.CodeOf(err) != engine.TooMany {
			t.Fatalf("after one ran: %v", err)
		}
		storetest.Exec(t, q.cfg.DB, "delete from q")
	}
}

func TestRoomOfRequest(t *testing.T) {
	t.Parallel()
	s := newSlots(0)
	q := start(t, quiet(storetest.New(t), s))
	bounded := func(tag string, n int64) *engine.Job {
		j := noop()
		j.Tag, j.QueueLimit = tag, n
		return j
	}
	push(t, q, bounded("noop", 3))
	push(t, q, noop()) // one without a bound counts
	if _, err := q.PushMany(t.Context(), []*engine.Job{noop(), noop()}); err != nil {
		t.Fatal(err)
	}
	if _, err := q.Push(t.Context(), bounded("noop", 3)); engine.CodeOf(err) != engine.TooMany || !strings.Contains(err.Error(), "jobs with the tag noop wait, 3 may") {
		t.Fatalf("got %v", err)
	}
	push(t, q, bounded("noop", 5)) // another bound
	push(t, q, bounded("other", 1))
	s.Release("noop")
	if res := push(t, q, bounded("noop", 1)); !res.Claimed { // it need not wait
		t.Fatalf("got %+v", res)
	}
}

// TestRoomAtOnce pushes from many clients: the bound holds all the same, and what is refused leaves no seat taken.
func TestRoomAtOnce(t *testing.T) {
	t.Parallel()
	cfg := quiet(storetest.New(t), nil)
	cfg.MaxQueued = 100
	q := start(t, cfg)
	var wg sync.WaitGroup
	var pushed, refused atomic.Int64
	for range 30 {
		wg.Go(func() {
			for range 10 {
				switch _, err := q.Push(context.Background(), noop()); engine.CodeOf(err) {
				case "":
					pushed.Add(1)
				case engine.TooMany:
					refused.Add(1)
				default:
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	var n int64
	storetest.Row(t, q.cfg.DB, "select count(*) from q", &n)
	if n > 100 || n != pushed.Load() || pushed.Load()+refused.Load() != 300 {
		t.Fatalf("%d wait, %d were pushed, %d refused", n, pushed.Load(), refused.Load())
	}
	for ; n < 100; n++ {
		push(t, q, noop())
	}
	if _, err := q.Push(t.Context(), noop()); engine.CodeOf(err) != engine.TooMany {
		t.Fatalf("got %v", err)
	}
	bad := noop()
	bad.Tag = ""
	for range 5 { // neither invalid nor repeated ones keep seats
		if _, err := q.Push(t.Context(), bad); engine.CodeOf(err) != engine.Invalid {
			t.Fatal(err)
		}
	}
}
