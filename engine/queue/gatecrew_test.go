package queue

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store/storetest"
)

// overlap counts jobs that run at the same time, by key.
type overlap struct {
	mu       sync.Mutex
	now, max map[string]int
	full     map[string]chan struct{} // closed once that many have run at the same time
	want     map[string]int
}

// begin notes a start, and waits until as many of the key as are wanted have run at the same time, which they do once they may: a busy
// machine would run short ones one after the other.
func (o *overlap) begin(ctx context.Context, key string) {
	o.mu.Lock()
	o.now[key]++
	o.max[key] = max(o.max[key], o.now[key])
	full := o.full[key]
	if full != nil && o.now[key] == o.want[key] {
		close(full)
		o.full[key] = nil
		full = nil
	}
	o.mu.Unlock()
	if full != nil {
		select {
		case <-full:
		case <-ctx.Done():
		}
	}
}

func (o *overlap) end(key string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.now[key]--
}

// crew runs what q claims or delivers until ctx ends: a dispatcher of n workers.
func crew(ctx context.Context, t *testing.T, wg *sync.WaitGroup, q *Queue, s *slots, work func(*engine.Claim)) {
	handle := func(c *engine.Claim, direct bool) {
		for c != nil {
			work(c)
			ok, next, err := q.FinishAndClaim(context.Background(), success(c), []string{"noop"})
			if err != nil || !ok {
				t.Errorf("finish: %v %v", ok, err)
				return
			}
			c = next
		}
		if direct {
			s.Release("noop")
		}
	}
	wg.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case c := <-s.claims:
				wg.Go(func() { handle(c, true) })
			case <-q.Wake():
				for s.TryReserve("noop", 0) {
					list, err := q.Claim(ctx, []string{"noop"}, 1)
					if err != nil || len(list) == 0 {
						s.Release("noop")
						break
					}
					wg.Go(func() { handle(list[0], true) })
				}
			}
		}
	})
}

// TestLimitNeverExceeded has two daemons and many clients work on keys of several limits.
func TestLimitNeverExceeded(t *testing.T) {
	t.Parallel()
	workUnderLimits(t, func(*Queue) {})
}

// TestLimitUnderFaults cuts the writers' connections all the while: what was admitted by a flush of which the answer is lost
// neither runs twice nor keeps its place.
func TestLimitUnderFaults(t *testing.T) {
	t.Parallel()
	var n atomic.Int64
	workUnderLimits(t, func(q *Queue) {
		if n.Add(1)%20 == 0 {
			q.writer.conn.Break()
		}
	})
}

func workUnderLimits(t *testing.T, disturb func(*Queue)) {
	const jobs, clients = 1000, 24
	url := storetest.URL(t)
	slotsOf := map[string]int{"one": 1, "three": 3, "many": 100, "two": 2}
	names := []string{"one", "three", "many", "two", ""}
	over := &overlap{now: map[string]int{}, max: map[string]int{}, full: map[string]chan struct{}{}, want: map[string]int{}}
	for key, n := range slotsOf {
		over.full[key], over.want[key] = make(chan struct{}), min(n, 4)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	keys := sync.Map{}
	var done atomic.Int64
	all := make(chan struct{})
	work := func(c *engine.Claim) {
		k, found := keys.LoadAndDelete(c.Job.ID)
		if !found {
			t.Errorf("%s runs twice", c.Job.ID)
			return
		}
		over.begin(ctx, k.(string))
		<-time.After(2 * time.Millisecond) // the job's work
		over.end(k.(string))
		if done.Add(1) == jobs {
			close(all)
		}
	}
	var crews, pushers sync.WaitGroup
	var queues []*Queue
	for range 2 {
		s := newSlots(8)
		cfg := quiet(storetest.Open(t, url), s)
		cfg.Poll, cfg.Heartbeat, cfg.Lease = 50*time.Millisecond, 100*time.Millisecond, time.Minute
		q := start(t, cfg)
		queues = append(queues, q)
		crew(ctx, t, &crews, q, s, work)
	}
	var next atomic.Int64
	for range clients {
		pushers.Go(func() {
			for i := next.Add(1); i <= jobs; i = next.Add(1) {
				j, key := noop(), names[i%int64(len(names))]
				if key != "" {
					j.Limit = &engine.Limit{Key: key, Slots: slotsOf[key]}
				}
				j.Priority = int16(i % 3)
				keys.Store(j.ID, key)
				if _, err := queues[i%2].Push(context.Background(), j); err != nil {
					t.Error(err)
				}
				disturb(queues[i%2])
			}
		})
	}
	pushers.Wait()
	for ran, over := int64(-1), false; !over; {
		select {
		case <-all:
			over = true
		case <-time.After(time.Minute):
			if done.Load() == ran { // a slow machine goes on all the same
				a, b, c := states(t, queues[0].cfg.DB)
				t.Fatalf("%d of %d jobs ran, none within a minute; %d queued, %d running, %d waiting", ran, jobs, a, b, c)
			}
			ran = done.Load()
		}
	}
	stop()
	crews.Wait()
	for key, n := range slotsOf {
		if over.max[key] > n || over.max[key] < min(n, 4) {
			t.Errorf("%d of %s ran at the same time, the limit is %d", over.max[key], key, n)
		}
	}
	var left int
	if storetest.Row(t, queues[0].cfg.DB, "select count(*) from q", &left); left != 0 {
		t.Errorf("%d jobs are left", left)
	}
	t.Logf("at the same time: %v", over.max)
}
