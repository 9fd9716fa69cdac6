package queue

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store/storetest"
)

func TestRateNeverExceeded(t *testing.T) {
	t.Parallel()
	const jobs, slotsOf, window = 20, 3, 150 * time.Millisecond
	url := storetest.URL(t)
	ctx, stop := context.WithCancel(t.Context())
	var crews sync.WaitGroup
	var queues []*Queue
	var done atomic.Int64
	all := make(chan struct{})
	for range 2 {
		s := newSlots(8)
		cfg := quiet(storetest.Open(t, url), s)
		cfg.Poll = 20 * time.Millisecond
		q := start(t, cfg)
		queues = append(queues, q)
		crew(ctx, t, &crews, q, s, func(*engine.Claim) {
			if done.Add(1) == jobs {
				close(all)
			}
		})
	}
	for i := range jobs {
		j := noop()
		j.Limit = &engine.Limit{Key: "k", Slots: slotsOf, Window: window}
		push(t, queues[i%2], j)
	}
	<-all
	stop()
	crews.Wait()
	var most int
	storetest.Row(t, queues[0].cfg.DB, fmt.Sprintf(`select max((select count(*) from done b
		where b.started_at > a.started_at - interval '%d ms' and b.started_at <= a.started_at)) from done a`, window.Milliseconds()), &most)
	if most != slotsOf {
		t.Fatalf("%d jobs were started within %s, the limit is %d", most, window, slotsOf)
	}
}

func TestRateExplained(t *testing.T) {
	t.Parallel()
	db, s := storetest.New(t), newSlots(5)
	q := start(t, quiet(db, s))
	rated := func() *engine.Job {
		j := noop()
		j.Limit = &engine.Limit{Key: "api", Slots: 1, Window: time.Hour}
		return j
	}
	push(t, q, rated())
	finish(t, q, success(<-s.claims))
	j := rated()
	if res := push(t, q, j); res.Claimed {
		t.Fatal("a second start within the window")
	}
	why, err := q.Why(t.Context(), "main", j.ID)
	if err != nil || !strings.Contains(strings.Join(why.Reasons, "; "), "rate limit api: 1 of 1 started within 1h0m0s, next start at ") {
		t.Fatalf("got %+v, %v", why, err)
	}
	storetest.Exec(t, db, "update gate_use set at = at - interval '1 hour'")
	if ids, err := db.GateLook(t.Context()); len(ids) != 1 || err != nil {
		t.Fatalf("the poll finds %v, %v", ids, err)
	} else {
		q.admitAt(t.Context(), ids)
	}
	if list := claim(t, q, 5, "noop"); len(list) != 1 || list[0].Job.ID != j.ID {
		t.Fatalf("got %+v", list)
	}
}
