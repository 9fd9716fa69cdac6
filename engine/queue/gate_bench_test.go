package queue

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store/storetest"
)

// finisher is a dispatcher of empty jobs, delivered and claimed ones.
type finisher struct {
	q       *Queue
	waiting sync.Map // uuid.UUID -> chan struct{}: closed when the outcome is stored
}

func (d *finisher) TryReserve(string, int16) bool { return true }
func (d *finisher) Release(string)                {}
func (d *finisher) Deliver(c *engine.Claim)       { go d.run(c) }

func (d *finisher) run(c *engine.Claim) {
	for c != nil {
		o := engine.Outcome{ID: c.Job.ID, Worker: c.Worker, Attempt: c.Attempt, State: engine.StateSuccess, Result: []byte("null")}
		_, next, err := d.q.FinishAndClaim(context.Background(), o, []string{"noop"})
		if err != nil {
			return // whoever waits will fail
		}
		if v, ok := d.waiting.LoadAndDelete(c.Job.ID); ok {
			close(v.(chan struct{}))
		}
		c = next
	}
}

// claimer claims what is left queued.
func (d *finisher) claimer(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.q.Wake():
		}
		for {
			list, err := d.q.Claim(ctx, []string{"noop"}, 64)
			if err != nil || len(list) == 0 {
				break
			}
			for _, c := range list {
				go d.run(c)
			}
		}
	}
}

// BenchmarkGate is the life of an empty job with a limit, for 64 clients that wait for their results, on a server with fsync:
// of one key that lets all in, of one that most have to wait for, of many keys, and of a rate. "none" has no limit.
func BenchmarkGate(b *testing.B) {
	url := storetest.Durable(b)
	for _, c := range []struct {
		name  string
		limit func(i int64) *engine.Limit
	}{
		{"none", func(int64) *engine.Limit { return nil }},
		{"wide", func(int64) *engine.Limit { return &engine.Limit{Key: "wide", Slots: 1000} }},
		{"tight", func(int64) *engine.Limit { return &engine.Limit{Key: "tight", Slots: 8} }},
		{"keys", func(i int64) *engine.Limit { return &engine.Limit{Key: fmt.Sprint(i % 500), Slots: 1} }},
		{"rate", func(int64) *engine.Limit { return &engine.Limit{Key: "rate", Slots: 5000, Window: time.Second} }},
	} {
		b.Run(c.name, func(b *testing.B) {
			d := &finisher{}
			q, err := New(Config{DB: storetest.Open(b, url), Tags: []string{"noop"}, Slots: d, Log: storetest.Log(b)})
			if err != nil {
				b.Fatal(err)
			}
			d.q = q
			if err := q.Start(b.Context()); err != nil {
				b.Fatal(err)
			}
			defer q.Stop()
			ctx, stop := context.WithCancel(b.Context())
			defer stop()
			go d.claimer(ctx)
			d.load(b, c.limit)
		})
	}
}

func (d *finisher) load(b *testing.B, limit func(int64) *engine.Limit) {
	const clients = 64
	var next atomic.Int64
	took := make([][]time.Duration, clients)
	var wg sync.WaitGroup
	b.ResetTimer()
	for k := range clients {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
				j := &engine.Job{ID: uuid.Must(uuid.NewV7()), Workspace: "main", Kind: engine.KindNoop, Tag: "noop", Args: []byte(`{"n": 1}`), CreatedBy: "ann",
					PermissionedAs: "u/ann", Trigger: "api", Limit: limit(i)}
				done, began := make(chan struct{}), time.Now()
				d.waiting.Store(j.ID, done)
				if _, err := d.q.Push(context.Background(), j); err != nil {
					b.Error(err)
					return
				}
				<-done
				took[k] = append(took[k], time.Since(began))
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	all := slices.Concat(took...)
	slices.Sort(all)
	b.ReportMetric(float64(len(all))/b.Elapsed().Seconds(), "jobs/s")
	b.ReportMetric(float64(all[len(all)/2].Microseconds()), "p50-us")
	b.ReportMetric(float64(all[len(all)*99/100].Microseconds()), "p99-us")
}
