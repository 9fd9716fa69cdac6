package schedule

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/queue"
	"github.com/millrace/millrace/engine/store/storetest"
)

// pusher pushes into a real queue, in which nobody works.
type pusher struct {
	*world
	queue *queue.Queue
	fired chan struct{}
}

func (p pusher) Run(ctx context.Context, who engine.Principal, r engine.RunRequest) (uuid.UUID, error) {
	res, err := p.queue.Push(ctx, &engine.Job{ID: *r.ID, Workspace: r.Workspace, Kind: r.Kind, Path: r.Path, Args: []byte("{}"), Tag: "bench",
		ScheduledFor: r.ScheduledFor, CreatedBy: who.Username, Email: who.Email, PermissionedAs: who.PermissionedAs(), Trigger: r.Trigger, TriggerPath: r.TriggerPath})
	p.fired <- struct{}{}
	return res.ID, err
}

// BenchmarkTick fires b.N ticks of eight schedules that tick every second, on a database that syncs to disk, and reports how late
// their jobs are in the queue.
func BenchmarkTick(b *testing.B) {
	db := storetest.Open(b, storetest.Durable(b))
	q, err := queue.New(queue.Config{DB: db, Log: storetest.Log(b)})
	if err != nil {
		b.Fatal(err)
	}
	if err := q.Start(context.Background()); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(q.Stop)
	w := &world{t: b, db: db}
	p := pusher{w, q, make(chan struct{}, 1<<16)}
	s := w.daemon(func(c *Config) { c.Clock, c.Poll, c.Late, c.Jobs = nil, 5*time.Second, 10*time.Second, p })
	if err := s.Start(context.Background()); err != nil {
		b.Fatal(err)
	}
	for i := range 8 {
		x := plain(func(x *engine.Schedule) { x.Path, x.Cron = fmt.Sprintf("f/bench/s%d", i), "* * * * * *" })
		if err := s.Create(context.Background(), ann, x); err != nil {
			b.Fatal(err)
		}
	}
	for range b.N {
		<-p.fired
	}
	s.Stop()
	list, err := s.Ticks(context.Background(), ann, ws, engine.TickFilter{PerPage: 1000, States: []engine.TickState{engine.TickFired}})
	if err != nil || len(list) == 0 {
		b.Fatal(len(list), err)
	}
	slices.SortFunc(list, func(a, b engine.Tick) int { return int(a.Drift - b.Drift) })
	at := func(q float64) float64 { return float64(list[int(q*float64(len(list)-1))].Drift.Microseconds()) / 1000 }
	b.ReportMetric(at(0.5), "p50-ms")
	b.ReportMetric(at(0.99), "p99-ms")
	b.ReportMetric(0, "ns/op")
}
