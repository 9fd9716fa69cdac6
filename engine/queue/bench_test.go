package queue

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store/storetest"
)

// instant is a dispatcher of empty jobs: a delivered job is finished at once, on a goroutine of its own.
type instant struct {
	q       *Queue
	waiting sync.Map // *engine.Job -> chan time.Time: when the job started, then when its outcome was stored
}

func (d *instant) TryReserve(string, int16) bool { return true }
func (d *instant) Release(string)                {}

func (d *instant) Deliver(c *engine.Claim) {
	started := time.Now()
	go func() {
		ok, err := d.q.Finish(context.Background(), engine.Outcome{ID: c.Job.ID, Worker: c.Worker, Attempt: c.Attempt, State: engine.StateSuccess,
			Result: []byte("null")})
		v, _ := d.waiting.LoadAndDelete(c.Job)
		w := v.(chan time.Time)
		if err != nil || !ok {
			close(w)
			return
		}
		w <- started
		w <- time.Now()
	}()
}

// openInstant starts a queue with such a dispatcher.
func openInstant(b *testing.B, url string) (d *instant, stop func()) {
	b.Helper()
	d = &instant{}
	cfg := Config{DB: storetest.Open(b, url), Tags: []string{"noop"}, Slots: d, Log: storetest.Log(b)}
	q, err := New(cfg)
	if err != nil {
		b.Fatal(err)
	}
	d.q = q
	if _, _, err := cfg.DB.Partition(b.Context(), time.Now(), 1, 0); err != nil {
		b.Fatal(err)
	}
	if err := q.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	return d, q.Stop
}

// BenchmarkNoop is the life of a job that does nothing, durable at both ends, at several numbers of clients that wait for
// their results, on a server with fsync.
func BenchmarkNoop(b *testing.B) {
	url := storetest.Durable(b)
	for _, clients := range []int{1, 64, 256} {
		b.Run(fmt.Sprintf("c=%d", clients), func(b *testing.B) {
			d, stop := openInstant(b, url)
			defer stop()
			server, here := serverCPU(b, d.q.cfg.DB), ownCPU(b)
			b.ResetTimer()
			d.load(b, b.N, clients).report(b)
			b.ReportMetric(float64((serverCPU(b, d.q.cfg.DB)-server).Microseconds())/float64(b.N), "server-cpu-us/job")
			b.ReportMetric(float64(d.q.Flushes())/float64(b.N), "flushes/job")
			b.ReportMetric(float64((ownCPU(b)-here).Microseconds())/float64(b.N), "own-cpu-us/job")
		})
	}
}

// loaded is what a load took, and the times from the push to the start and to the stored result.
type loaded struct {
	took            time.Duration
	starts, results []time.Duration
}

func (l loaded) report(b *testing.B) {
	b.StopTimer()
	b.ReportMetric(float64(len(l.starts))/l.took.Seconds(), "jobs/s")
	for name, list := range map[string][]time.Duration{"start": l.starts, "result": l.results} {
		if len(list) == 0 {
			continue
		}
		slices.Sort(list)
		b.ReportMetric(float64(list[len(list)/2].Microseconds()), name+"-p50-us")
		b.ReportMetric(float64(list[len(list)*99/100].Microseconds()), name+"-p99-us")
	}
}

// load runs n jobs with that many clients.
func (d *instant) load(b *testing.B, n, clients int) loaded {
	b.Helper()
	var left atomic.Int64
	left.Store(int64(n))
	starts, results := make([][]time.Duration, clients), make([][]time.Duration, clients)
	var wg sync.WaitGroup
	began := time.Now()
	for i := range clients {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				j := &engine.Job{Workspace: "main", Kind: engine.KindNoop, Tag: "noop", Args: []byte(`{"n": 1, "name": "a typical argument"}`),
					CreatedBy: "ann", Email: "ann@example.org", PermissionedAs: "u/ann", Trigger: "api"}
				w := make(chan time.Time, 2)
				d.waiting.Store(j, w)
				began := time.Now()
				if _, err := d.q.Push(context.Background(), j); err != nil {
					b.Error(err)
					return
				}
				started, ok := <-w
				if !ok {
					b.Error("not finished")
					return
				}
				starts[i] = append(starts[i], started.Sub(began))
				results[i] = append(results[i], (<-w).Sub(began))
			}
		})
	}
	wg.Wait()
	return loaded{took: time.Since(began), starts: slices.Concat(starts...), results: slices.Concat(results...)}
}
