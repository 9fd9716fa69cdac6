package queue_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/maintain"
	"github.com/millrace/millrace/engine/store/storetest"
)

// A soak runs jobs at a steady rate for a long time and looks at what must stay as it is: memory, the hot table, the times.
// TestSoak is the short form, which judges counts and tables but no times. The long one, which `make soak` starts, has
// MILLRACE_SOAK for its time, MILLRACE_SOAK_RATE for the jobs a second, and writes what it saw to the file MILLRACE_BENCH_OUT.

// soakReport is the long form's file. bench reads it.
type soakReport struct {
	Seconds   float64      `json:"seconds"`
	Rate      int          `json:"rate"`
	Pushed    int64        `json:"pushed"`
	Completed int64        `json:"completed"` // rows of done
	Ran       int64        `json:"ran"`       // starts
	Left      int64        `json:"left"`      // rows of q at the end
	StartP50  float64      `json:"start_p50_ms"`
	StartP99  float64      `json:"start_p99_ms"`
	StartMax  float64      `json:"start_max_ms"`
	WALPerJob float64      `json:"wal_bytes_per_job"`
	OwnCPU    float64      `json:"own_cpu_us_per_job"`
	ServerCPU float64      `json:"server_cpu_us_per_job"`
	Growth    []growth     `json:"growth"`
	Samples   []soakSample `json:"samples"`
	Failures  []string     `json:"failures"`
}

// soakSample is what was seen in one interval.
type soakSample struct {
	At         float64 `json:"at_s"`
	Pushed     int64   `json:"pushed"`
	StartP50   float64 `json:"start_p50_ms"`
	StartP99   float64 `json:"start_p99_ms"`
	StartMax   float64 `json:"start_max_ms"`
	OwnMB      float64 `json:"own_mb"`
	ServerMB   float64 `json:"server_mb"`
	QueueHeap  float64 `json:"q_heap_mb"`
	QueueIndex float64 `json:"q_index_mb"`
	Dead       float64 `json:"q_dead_rows"`
	Vacuums    float64 `json:"q_autovacuums"`
	WAL        float64 `json:"-"`
	WALPerJob  float64 `json:"wal_bytes_per_job"`
}

// growth is a value's tendency after the warm-up.
type growth struct {
	Name    string  `json:"name"`
	From    float64 `json:"from"` // of the fitted line, at its beginning
	To      float64 `json:"to"`   // and at its end
	Allowed float64 `json:"allowed"`
}

func (g growth) tooMuch() bool { return g.To-g.From > g.Allowed }

// tendency fits a line to what value says of the samples after the warm-up, a fifth of them all. A value may grow by a share of
// itself and by some more.
func tendency(name string, samples []soakSample, share, more float64, value func(soakSample) float64) growth {
	rest := samples[len(samples)/5:]
	n, sx, sy, sxx, sxy := float64(len(rest)), 0.0, 0.0, 0.0, 0.0
	for _, s := range rest {
		x, y := s.At, value(s)
		sx, sy, sxx, sxy = sx+x, sy+y, sxx+x*x, sxy+x*y
	}
	g := growth{Name: name}
	if d := n*sxx - sx*sx; n > 1 && d > 0 {
		slope := (n*sxy - sx*sy) / d
		base := (sy - slope*sx) / n
		g.From, g.To = base+slope*rest[0].At, base+slope*rest[len(rest)-1].At
	}
	g.Allowed = share*max(g.From, 0) + more
	return g
}

// soak is a load under way. One goroutine pushes and samples.
type soak struct {
	*line
	t      testing.TB
	side   side
	server server
	starts histogram // of this interval
	whole  histogram
	pushed atomic.Int64
	failed atomic.Int64
	first  atomic.Pointer[error]
}

const (
	soakTick  = time.Millisecond
	soakSlots = 512
	// A shorter soak is all warm-up: caches fill.
	soakJudged = 5 * time.Minute
	// Now and then a job is for a little later: it is queued, and claimed when it is due.
	soakLaterEvery = 1000
	soakLater      = 200 * time.Millisecond
)

func newSoak(t testing.TB, url string) *soak {
	s := &soak{t: t, side: openSide(t, url)}
	w := &work{begun: s.begun}
	s.line = openLine(t, lineConfig{url: url, tags: []string{"noop"}, slots: soakSlots, direct: true, work: w})
	s.server = serverOf(t, s.side.Conn)
	s.maintain()
	if os.Getenv("GOGC") == "" {
		collected := debug.SetGCPercent(400) // as the daemon does
		t.Cleanup(func() { debug.SetGCPercent(collected) })
	}
	return s
}

// maintain keeps the database in shape as the daemon does. Rebuilding indexes waits for old snapshots; none of the load's are long.
func (s *soak) maintain() {
	s.t.Helper()
	m, err := maintain.New(maintain.Config{DB: s.db, Log: storetest.Log(s.t)})
	if err != nil {
		s.t.Fatal(err)
	}
	if err := m.Start(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(m.Stop)
}

// begun times the start of a job.
func (s *soak) begun(c *engine.Claim) {
	var args struct{ Due time.Time }
	if err := json.Unmarshal(c.Job.Args, &args); err != nil {
		s.t.Error(err)
	}
	late := time.Since(args.Due)
	s.starts.add(late)
	s.whole.add(late)
}

// push pushes a job that was meant to be pushed at a moment.
func (s *soak) push(at time.Time, later bool) {
	j := typical("noop", 0)
	j.ID = uuid.Nil // as it is asked for mostly
	if later {
		at = at.Add(soakLater)
		j.ScheduledFor = at
	}
	j.Args = fmt.Appendf(nil, `{"due": %q, "name": "an argument"}`, at.Format(time.RFC3339Nano))
	if _, err := s.queue.Push(context.Background(), j); err != nil {
		s.failed.Add(1)
		s.first.CompareAndSwap(nil, &err)
		return
	}
	s.pushed.Add(1)
}

// load pushes perSecond jobs a second until end, in bursts of a millisecond's worth. A burst that is sent late counts from when
// it was meant to be sent.
func (s *soak) load(perSecond int, during time.Duration) {
	tick := time.NewTicker(soakTick)
	defer tick.Stop()
	began := time.Now()
	var wg sync.WaitGroup
	for sent := 0; time.Since(began) < during; <-tick.C {
		for due := int(time.Since(began).Seconds() * float64(perSecond)); sent < due; {
			sent++
			after := time.Duration(sent) * time.Second / time.Duration(perSecond)
			at := began.Add((after + soakTick - 1).Truncate(soakTick))
			later := sent%soakLaterEvery == 0
			wg.Go(func() { s.push(at, later) })
		}
	}
	wg.Wait()
}

// run loads the line for a time, samples it every so often, waits for its end and counts what came out.
func (s *soak) run(rate int, during, every time.Duration) *soakReport {
	s.t.Helper()
	s.side.exec("checkpoint")
	r := &soakReport{Rate: rate, Failures: []string{}}
	began, wal, cpu, own := time.Now(), s.wal(), s.server.cpu(), ownCPU()
	loaded := make(chan struct{})
	go func() {
		s.load(rate, during)
		close(loaded)
	}()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for last := (soakSample{}); ; {
		select {
		case <-tick.C:
			last = s.sample(began, last)
			r.Samples = append(r.Samples, last)
			continue
		case <-loaded:
		}
		break
	}
	r.Seconds, r.Pushed = time.Since(began).Seconds(), s.pushed.Load()
	until(s.t, "every job has an outcome", func() bool { return s.ended.Load() >= r.Pushed })
	_, q, most := s.whole.take(0.5, 0.99)
	r.StartP50, r.StartP99, r.StartMax = ms(q[0]), ms(q[1]), ms(most)
	jobs := float64(max(r.Pushed, 1))
	r.WALPerJob = (s.wal() - wal) / jobs
	r.OwnCPU, r.ServerCPU = 1000*ms(ownCPU()-own)/jobs, 1000*ms(s.server.cpu()-cpu)/jobs
	r.Ran, r.Left = s.ran.Load(), int64(s.side.number("select count(*) from q"))
	r.Completed = int64(s.side.number("select count(*) from done"))
	return r
}

// sample looks at everything once.
func (s *soak) sample(began time.Time, last soakSample) soakSample {
	s.t.Helper()
	_, q, most := s.starts.take(0.5, 0.99)
	out := soakSample{At: time.Since(began).Seconds(), Pushed: s.pushed.Load(), StartP50: ms(q[0]), StartP99: ms(q[1]), StartMax: ms(most),
		OwnMB: ownMemory(), ServerMB: s.server.memory(), QueueHeap: s.side.number("pg_table_size('q')") / 1e6,
		QueueIndex: s.side.number("pg_indexes_size('q')") / 1e6, Dead: s.stat("n_dead_tup"), Vacuums: s.stat("autovacuum_count"), WAL: s.wal()}
	if n := float64(out.Pushed - last.Pushed); n > 0 && last.WAL > 0 {
		out.WALPerJob = (out.WAL - last.WAL) / n
	}
	s.t.Logf("%5.0f s: %9d jobs, start p50 %.2f, p99 %.2f, max %.0f ms; %.0f MB here, %.0f MB server; q %.1f MB, indexes %.1f MB, %.0f dead, %.0f vacuums; %.0f bytes of WAL a job",
		out.At, out.Pushed, out.StartP50, out.StartP99, out.StartMax, out.OwnMB, out.ServerMB, out.QueueHeap, out.QueueIndex, out.Dead, out.Vacuums, out.WALPerJob)
	return out
}

func (s *soak) wal() float64 { return s.side.number("pg_current_wal_lsn() - '0/0'::pg_lsn") }

func (s *soak) stat(column string) float64 {
	return s.side.number("select coalesce(sum(" + column + "), 0) from pg_stat_user_tables where relname = 'q'")
}

// judge notes what is wrong whatever the machine.
func (s *soak) judge(r *soakReport) {
	wrong := func(format string, args ...any) { r.Failures = append(r.Failures, fmt.Sprintf(format, args...)) }
	if n := s.failed.Load(); n > 0 {
		wrong("%d pushes failed, the first with: %v", n, *s.first.Load())
	}
	if r.Pushed == 0 || r.Completed != r.Pushed || r.Ran != r.Pushed || r.Left != 0 || s.lost.Load() != 0 {
		wrong("%d jobs were pushed, %d started, %d completed, %d are left, %d lost their outcome", r.Pushed, r.Ran, r.Completed, r.Left, s.lost.Load())
	}
	if n := s.side.number("select count(*) from job"); int64(n) != r.Pushed {
		wrong("there are %.0f jobs, %d were pushed", n, r.Pushed)
	}
	if n := s.side.number("select count(*) from done where state <> 2 or attempt <> 1"); n != 0 {
		wrong("%.0f jobs did not succeed at the first attempt", n)
	}
	for _, g := range r.Growth {
		if g.tooMuch() {
			wrong("%s grew from %.1f to %.1f, %.1f is allowed", g.Name, g.From, g.To, g.Allowed)
		}
	}
	// What no open transaction could see any more can be removed.
	if n := s.side.vacuum("q"); n != 0 {
		wrong("%d dead rows of q cannot be removed: a transaction is open", n)
	}
}

func TestSoak(t *testing.T) {
	long, rate, during := os.Getenv("MILLRACE_SOAK") != "", 500, 15*time.Second
	url := ""
	switch {
	case long:
		rate, during = setting(t, "MILLRACE_SOAK_RATE", 10_000), setting(t, "MILLRACE_SOAK", 30*time.Minute)
		url = storetest.Durable(t)
	case testing.Short():
		rate, during = 300, 3*time.Second
		fallthrough
	default:
		t.Parallel()
		url = storetest.URL(t)
	}
	s := newSoak(t, url)
	every := min(10*time.Second, during/10)
	r := s.run(rate, during, every)
	if long && during >= soakJudged {
		r.Growth = []growth{
			tendency("memory of this process, MB", r.Samples, 0.1, 16, func(s soakSample) float64 { return s.OwnMB }),
			tendency("memory of the server, MB", r.Samples, 0.1, 16, func(s soakSample) float64 { return s.ServerMB }),
			tendency("heap of q, MB", r.Samples, 0.2, 4, func(s soakSample) float64 { return s.QueueHeap }),
			tendency("indexes of q, MB", r.Samples, 0.2, 4, func(s soakSample) float64 { return s.QueueIndex }),
			tendency("dead rows of q, thousands", r.Samples, 0.2, 10, func(s soakSample) float64 { return s.Dead / 1000 }),
		}
	}
	// Dead rows wait for a vacuum, which must come by itself.
	if r.Pushed > 5000 {
		until(t, "autovacuum of q", func() bool { return s.stat("autovacuum_count") > 0 })
	}
	// A vacuum gives the end of a table back; what stays is bounded by what a few seconds' jobs need, not by how many there were.
	if size := s.side.number("pg_table_size('q')"); size > float64(max(20*rate*200, 4<<20)) {
		r.Failures = append(r.Failures, fmt.Sprintf("q takes %.1f MB although it is empty", size/1e6))
	}
	s.judge(r)
	for _, f := range r.Failures {
		t.Error(f)
	}
	writeReport(t, r)
}
