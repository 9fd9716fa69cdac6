package queue_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/queue"
	"github.com/millrace/millrace/engine/store/storetest"
)

// backlogRows is how many jobs wait; MILLRACE_BACKLOG says otherwise.
const backlogRows = 1_000_000

// pile leaves n jobs queued in url, spread over tags; the first is due at a time and the others a millisecond after each other.
func pile(t testing.TB, url string, tags []string, first time.Time, n int) {
	t.Helper()
	due := fmt.Sprintf("timestamptz '%s' + i * interval '1 millisecond'", first.Format(time.RFC3339Nano))
	q, err := queue.New(queue.Config{DB: storetest.Open(t, url), Log: storetest.Log(t)}) // not started: what is pushed stays queued
	if err != nil {
		t.Fatal(err)
	}
	defer q.Stop()
	s := openSide(t, url)
	s.exec("set synchronous_commit = off")
	for kind, tag := range tags {
		j := typical(tag, 0)
		j.ScheduledFor = time.Now().Add(24 * time.Hour)
		if _, err := q.Push(t.Context(), j); err != nil {
			t.Fatal(err)
		}
		set := map[string]string{"id": idOf(due, kind), "created_at": due, "scheduled_for": due}
		for _, table := range []string{"job", "q"} {
			s.clone(table, []uuid.UUID{j.ID}, set, 1, n/len(tags))
		}
	}
	s.exec("analyze")
	s.exec("checkpoint")
}

// BenchmarkBacklog is a queue with a million jobs of several tags waiting: how long an urgent job of one of these tags takes
// to start while all slots are busy with the others, and what it costs to claim and to complete in batches of several sizes.
func BenchmarkBacklog(b *testing.B) {
	url := storetest.Durable(b)
	tags := []string{"noop", "mail", "report", "video"}
	if _, _, err := storetest.Open(b, url).Partition(b.Context(), time.Now(), 1, 0); err != nil {
		b.Fatal(err)
	}
	pile(b, url, tags, time.Now().Add(-10*time.Minute), setting(b, "MILLRACE_BACKLOG", backlogRows))
	b.Run("start", func(b *testing.B) { urgent(b, url, tags) })
	for _, n := range []int{1, 8, 64, 256} {
		b.Run(fmt.Sprintf("batch=%d", n), func(b *testing.B) { batches(b, url, tags, n) })
	}
}

// backlogSlots is what a machine of two cores has.
const backlogSlots = 8

// urgent pushes one urgent job after the other.
func urgent(b *testing.B, url string, tags []string) {
	l := openLine(b, lineConfig{url: url, tags: tags, slots: backlogSlots, direct: true, work: &work{takes: time.Millisecond}})
	defer l.close()
	until(b, "busy with the backlog", func() bool { return l.ended.Load() > 20*backlogSlots })
	starts, results := make([]time.Duration, 0, b.N), make([]time.Duration, 0, b.N)
	before := l.ended.Load()
	b.ResetTimer()
	for range b.N {
		start, result, err := l.once(typical("noop", 10))
		if err != nil {
			b.Fatal(err)
		}
		starts, results = append(starts, start), append(results, result)
	}
	b.StopTimer()
	times(b, "backlog_start", starts)
	times(b, "backlog_result", results)
	b.ReportMetric(float64(l.ended.Load()-before)/b.Elapsed().Seconds(), "backlog_rate-1/s")
}

// batches claims and completes n jobs at a time.
func batches(b *testing.B, url string, tags []string, n int) {
	db := storetest.Open(b, url)
	q, err := queue.New(queue.Config{DB: db, Tags: tags, Capacity: n, Log: storetest.Log(b)})
	if err != nil {
		b.Fatal(err)
	}
	if err := q.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	defer q.Stop()
	var claims, completes []time.Duration
	server := serverOf(b, openSide(b, url).Conn)
	jobs, used := 0, server.cpu()
	b.ResetTimer()
	for range b.N {
		began := time.Now()
		list, err := q.Claim(b.Context(), tags, n)
		if err != nil {
			b.Fatal(err)
		}
		claims = append(claims, time.Since(began))
		if len(list) < n {
			b.Fatalf("claimed %d of %d: the backlog is too small", len(list), n)
		}
		began = time.Now()
		finishAll(b, q, list)
		completes = append(completes, time.Since(began))
		jobs += n
	}
	b.StopTimer()
	used = server.cpu() - used
	times(b, fmt.Sprintf("claim_b%d", n), claims)
	times(b, fmt.Sprintf("complete_b%d", n), completes)
	b.ReportMetric(float64(jobs)/b.Elapsed().Seconds(), fmt.Sprintf("claim_complete_rate_b%d-1/s", n))
	b.ReportMetric(ms(used)/float64(jobs), fmt.Sprintf("claim_complete_cpu_b%d-ms", n))
}

func finishAll(t testing.TB, q *queue.Queue, list []*engine.Claim) {
	var wg sync.WaitGroup
	for _, c := range list {
		wg.Go(func() {
			ok, err := q.Finish(context.Background(), engine.Outcome{ID: c.Job.ID, Worker: c.Worker, Attempt: c.Attempt, State: engine.StateSuccess,
				Result: []byte("null")})
			if err != nil || !ok {
				t.Errorf("finish: %v %v", ok, err)
			}
		})
	}
	wg.Wait()
}

// BenchmarkPinned is what a transaction that stays open costs the queue: the rows that were deleted since it began cannot be
// removed. Jobs are queued, claimed and completed by 16 clients while a million others wait, in phases without and with such a
// transaction, in the order A B B A. One iteration is the whole comparison.
func BenchmarkPinned(b *testing.B) {
	const clients = 16
	url := storetest.Durable(b)
	phase := setting(b, "MILLRACE_PIN", 10*time.Second)
	l := openLine(b, lineConfig{url: url, tags: []string{"noop"}, slots: clients}) // not direct: every job is queued and claimed
	waiting := setting(b, "MILLRACE_BACKLOG", backlogRows)
	pile(b, url, []string{"mail", "video"}, time.Now().Add(-10*time.Minute), waiting/2)
	pile(b, url, []string{"noop"}, time.Now().Add(24*time.Hour), waiting/2)
	s := openSide(b, url)
	p := &pinned{line: l, url: url, side: s, server: serverOf(b, s.Conn), clients: clients}
	p.measure(b, phase/5, false) // warm-up
	var free, held phaseResult
	for range b.N {
		for _, pin := range []bool{false, true, true, false} {
			r := p.measure(b, phase, pin)
			b.Logf("pinned %v: %.0f jobs/s, %.0f in the last sixth, %.1f us of the server's CPU a job, %.0f dead rows", pin, r.rate, r.last,
				1000*r.cpu, r.dead)
			if pin {
				held.add(r)
			} else {
				free.add(r)
			}
		}
	}
	b.ReportMetric(100*held.rate/free.rate, "pinned_xmin_kept-%")
	b.ReportMetric(100*held.last/free.last, "pinned_xmin_kept_end-%")
	b.ReportMetric(100*free.cpu/held.cpu, "pinned_xmin_cpu_kept-%")
	b.ReportMetric(free.rate/2/float64(b.N), "pinned_rate_free-1/s")
	b.ReportMetric(held.rate/2/float64(b.N), "pinned_rate_held-1/s")
	b.ReportMetric(2*phase.Seconds()*float64(b.N), "n")
}

type pinned struct {
	*line
	url     string
	side    side
	server  server
	clients int
}

type phaseResult struct {
	rate, last float64 // jobs a second, in all and in the last sixth
	cpu        float64 // ms of the server a job
	dead       float64 // rows at the end
}

func (r *phaseResult) add(o phaseResult) {
	r.rate, r.last, r.cpu, r.dead = r.rate+o.rate, r.last+o.last, r.cpu+o.cpu, r.dead+o.dead
}

// measure runs the clients for a time. Every phase starts with a vacuumed table.
func (p *pinned) measure(b *testing.B, during time.Duration, pin bool) (r phaseResult) {
	b.Helper()
	p.side.exec("vacuum q")
	if pin {
		holder := openSide(b, p.url)
		holder.exec("set idle_in_transaction_session_timeout = 0") // a private server would end it after ten seconds
		holder.exec("begin isolation level repeatable read")
		holder.exec("select 1 from worker")
		defer holder.exec("rollback")
	}
	var done, lastSixth atomic.Int64
	used, began := p.server.cpu(), time.Now()
	end, late := began.Add(during), began.Add(during-during/6)
	var wg sync.WaitGroup
	for range p.clients {
		wg.Go(func() {
			for time.Now().Before(end) {
				if _, _, err := p.once(typical("noop", 0)); err != nil {
					b.Error(err)
					return
				}
				done.Add(1)
				if time.Now().After(late) {
					lastSixth.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if done.Load() == 0 {
		b.Fatal("no job was completed")
	}
	r.rate, r.last = float64(done.Load())/time.Since(began).Seconds(), float64(lastSixth.Load())/time.Since(late).Seconds()
	r.cpu = ms(p.server.cpu()-used) / float64(done.Load())
	r.dead = p.side.number("select coalesce(sum(n_dead_tup), 0) from pg_stat_user_tables where relname = 'q'")
	return r
}

// BenchmarkRemote is a job that is pushed on one process and started by another: two queues that share nothing but the
// database, where the first has no slots.
func BenchmarkRemote(b *testing.B) {
	url := storetest.Durable(b)
	far := openLine(b, lineConfig{url: url, tags: []string{"far"}, slots: 8, direct: true})
	near, err := queue.New(queue.Config{DB: storetest.Open(b, url), Log: storetest.Log(b)})
	if err != nil {
		b.Fatal(err)
	}
	if err := near.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	defer near.Stop()
	// Until its heartbeat counts them, a process does not know whom to tell.
	until(b, "the other worker is seen", func() bool { return near.Others() > 0 })
	b.Run("c=1", func(b *testing.B) {
		starts := make([]time.Duration, 0, b.N)
		for range b.N {
			start, _, err := once(near, far.work, &engine.Job{ID: uuid.Must(uuid.NewV7()), Workspace: "main", Kind: engine.KindNoop, Tag: "far",
				CreatedBy: "ann", Email: "ann@example.org", PermissionedAs: "u/ann", Trigger: "api"})
			if err != nil {
				b.Fatal(err)
			}
			starts = append(starts, start)
		}
		times(b, "remote_start", starts)
	})
}
