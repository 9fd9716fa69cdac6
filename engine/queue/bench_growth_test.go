package queue_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/queue"
	"github.com/millrace/millrace/engine/store/storetest"
)

// growthReport is what TestGrowth writes to the file MILLRACE_BENCH_OUT. bench reads it.
type growthReport struct {
	Rows    []int         `json:"rows"`    // completed jobs in the tables, one number a step
	SizeMB  []float64     `json:"size_mb"` // of the database then
	Costs   []*growthCost `json:"costs"`
	Backlog int           `json:"backlog"` // queued jobs at every step
}

// growthCost is what one operation costs at each step.
type growthCost struct {
	Name  string    `json:"name"`
	Title string    `json:"title"`
	N     int       `json:"n"` // operations measured
	CPU   []float64 `json:"server_cpu_us"`
	P50   []float64 `json:"p50_us"`
	P99   []float64 `json:"p99_us"`
}

const (
	growthWeeks   = 12 // of history, a partition each
	growthBacklog = 5000
	growthRare    = 20 // runs of a script that was used long ago, and just once since
	growthOld     = "f/bench/rare"
)

// history is a database that gets older.
type history struct {
	t        testing.TB
	line     *line
	side     side
	other    side      // to fill two tables at a time
	from, to time.Time // the span of the history
	many     [2]uuid.UUID
	rare     uuid.UUID
	rows     int
	url      string
}

// template completes a job, to be copied.
func (h *history) template(path string) uuid.UUID {
	j := typical("noop", 0)
	j.Path = path
	if _, _, err := h.line.once(j); err != nil {
		h.t.Fatal(err)
	}
	return j.ID
}

func newHistory(t testing.TB) *history {
	url := storetest.Durable(t)
	h := &history{t: t, url: url, line: openLine(t, lineConfig{url: url, tags: []string{"noop"}, slots: 64, direct: true}), side: openSide(t, url),
		other: openSide(t, url), to: time.Now().Add(-time.Hour), from: time.Now().Add(-growthWeeks * 7 * 24 * time.Hour)}
	if _, _, err := h.line.db.Partition(t.Context(), h.from, growthWeeks+1, 0); err != nil {
		t.Fatal(err)
	}
	h.many = [2]uuid.UUID{h.template("f/bench/noop"), h.template("f/bench/other")}
	h.rare = h.template(growthOld)
	for _, s := range []side{h.side, h.other} {
		s.exec("set synchronous_commit = off")
	}
	h.copy([]uuid.UUID{h.rare}, 999, 1, growthRare, h.from.Add(7*24*time.Hour))
	h.side.exec("update done set state = 4, spec = job.spec from job where job.id = done.id and job.spec = (select spec from job where id = $1) and job.id <> $1",
		[16]byte(h.rare))
	return h
}

// copy makes completed jobs lo to hi of templates, by turns and in the order of time as a system makes them, spread evenly between the
// history's beginning and end. One in a hundred has failed. Jobs and outcomes go in at the same time, on a connection each.
func (h *history) copy(ids []uuid.UUID, kind, lo, hi int, end time.Time) {
	const format = "2006-01-02T15:04:05.000Z07:00"
	at := fmt.Sprintf("(timestamptz '%s' + (i - %d) * (timestamptz '%s' - timestamptz '%s') / %d)", h.from.Format(format), lo, end.Format(format),
		h.from.Format(format), hi-lo+1)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		h.other.clone("done", ids, map[string]string{"id": idOf(at, kind), "started_at": at, "finished_at": at,
			"state": "case when i % 200 in (0, 101) then 3 else 2 end",
			"spec":  "case when i % 200 in (0, 101) then (select job.spec from job where job.id = t.id) end"}, lo, hi)
	}()
	h.side.clone("job", ids, map[string]string{"id": idOf(at, kind), "created_at": at, "scheduled_for": at}, lo, hi)
	<-ended
	h.rows += hi - lo + 1
}

// grow fills the history up to n jobs.
func (h *history) grow(n int) {
	if lo := h.rows; n > lo {
		h.copy(h.many[:], 1, lo+1, n, h.to)
	}
	h.side.exec("vacuum (analyze)")
	h.side.exec("checkpoint")
}

// forget removes everything that measuring has left.
func (h *history) forget() {
	mark := fmt.Sprintf("created_at > timestamptz '%s' and id not in ('%s', '%s', '%s')", h.to.Add(time.Minute).Format(time.RFC3339),
		h.many[0], h.many[1], h.rare)
	for _, sql := range []string{"delete from q", "delete from done where id in (select id from job where " + mark + ")", "delete from job where " + mark} {
		h.side.exec(sql)
	}
}

// backendCPU is the processor time of the server's processes that serve connections.
func (h *history) backendCPU() (sum time.Duration) {
	rows, err := h.side.Query(context.Background(), `select pid from pg_stat_activity
		where backend_type = 'client backend' and pid <> pg_backend_pid()`)
	if err != nil {
		h.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var pid int
		if err := rows.Scan(&pid); err != nil {
			h.t.Fatal(err)
		}
		sum += onCPU(pid)
	}
	return sum
}

// growthOp is one thing that is measured at each step.
type growthOp struct {
	name, title string
	n, clients  int
	do          func(i int) error
}

func (h *history) ops(far *queue.Queue, ids []uuid.UUID) []growthOp {
	ctx, q := context.Background(), h.line.queue
	run := func(int) error {
		_, _, err := h.line.once(typical("noop", 0))
		return err
	}
	list := func(want int, f engine.JobFilter) func(int) error {
		return func(int) error {
			got, err := q.List(ctx, "main", f)
			if err == nil && len(got) != want {
				err = fmt.Errorf("list %+v: %d jobs, want %d", f, len(got), want)
			}
			return err
		}
	}
	return []growthOp{
		{"job", "a job, one client", 400, 1, run},
		{"job_c64", "a job, 64 clients", 4000, 64, run},
		{"claim", "claim and complete 16 of a backlog", 50, 1, func(int) error {
			list, err := far.Claim(ctx, []string{"far"}, 16)
			if err == nil && len(list) != 16 {
				err = fmt.Errorf("claimed %d", len(list))
			}
			if err == nil {
				finishAll(h.t, far, list)
			}
			return err
		}},
		{"get", "read a job", 1000, 1, func(i int) error {
			_, err := q.Get(ctx, "main", ids[i%len(ids)])
			return err
		}},
		{"result", "read a result", 1000, 1, func(i int) error {
			_, err := q.Result(ctx, "main", ids[i%len(ids)])
			return err
		}},
		{"list", "the latest 30 jobs", 200, 1, list(30, engine.JobFilter{})},
		{"list_script", "the latest 30 of a busy script", 200, 1, list(30, engine.JobFilter{PathExact: "f/bench/other"})},
		{"list_rare", "all 21 runs of a rare script", 100, 1, list(growthRare+1, engine.JobFilter{PathExact: growthOld})},
		{"list_failed", "the latest 5 failures", 100, 1, list(5, engine.JobFilter{States: []engine.JobState{engine.StateFailure}, PerPage: 5})},
		{"list_canceled", "all 20 canceled jobs, which are old", 50, 1, list(growthRare, engine.JobFilter{States: []engine.JobState{engine.StateCanceled}})},
		{"list_queued", "30 queued jobs", 100, 1, list(30, engine.JobFilter{States: []engine.JobState{engine.StateQueued}})},
		{"list_person", "the latest 30 of a person", 100, 1, list(30, engine.JobFilter{CreatedBy: "ann"})},
		{"counts", "count queued and running jobs", 100, 1, func(int) error {
			queued, _, err := q.Counts(ctx, "main")
			if err == nil && queued == 0 {
				err = fmt.Errorf("nothing is queued")
			}
			return err
		}},
	}
}

// growthPatience is how long one operation is measured at a step; what is so slow that it comes to less than its n is still
// done a few times.
const (
	growthPatience = 10 * time.Second
	growthLeast    = 3
)

// measure does op and notes what it costs.
func (h *history) measure(op growthOp, c *growthCost) {
	h.t.Helper()
	began := time.Now()
	for i := 0; i < min(op.n/10, 50) && time.Since(began) < growthPatience/10; i++ { // warm-up
		if err := op.do(i); err != nil {
			h.t.Fatalf("%s: %v", op.name, err)
		}
	}
	took := make([][]time.Duration, op.clients)
	var wg sync.WaitGroup
	began = time.Now()
	used := h.backendCPU()
	for k := range op.clients {
		wg.Go(func() {
			for i := 0; i < op.n/op.clients && (i < growthLeast || time.Since(began) < growthPatience); i++ {
				asked := time.Now()
				if err := op.do(i); err != nil {
					h.t.Errorf("%s: %v", op.name, err)
					return
				}
				took[k] = append(took[k], time.Since(asked))
			}
		})
	}
	wg.Wait()
	used = h.backendCPU() - used
	var all []time.Duration
	for _, s := range took {
		all = append(all, s...)
	}
	us := func(d time.Duration) float64 { return 1000 * ms(d) }
	c.CPU, c.P50, c.P99 = append(c.CPU, us(used)/float64(max(len(all), 1))), append(c.P50, us(quantile(all, 0.5))), append(c.P99, us(quantile(all, 0.99)))
	c.N = len(all)
	h.t.Logf("%9d jobs: %-12s %8.0f us of the server's CPU, p50 %8.0f us, p99 %8.0f us", h.rows, op.name, c.CPU[len(c.CPU)-1], c.P50[len(c.P50)-1], c.P99[len(c.P99)-1])
}

// sampleIDs takes some completed jobs of all ages.
func (h *history) sampleIDs(n int) (ids []uuid.UUID) {
	for range n {
		at := h.from.Add(rand.N(h.to.Sub(h.from)))
		var id [16]byte
		err := h.side.QueryRow(context.Background(), "select id from done where id >= $1 order by id limit 1", [16]byte(idAt(at))).Scan(&id)
		if err != nil {
			h.t.Fatal(err)
		}
		ids = append(ids, id)
	}
	return ids
}

// idAt is the least id of a moment.
func idAt(t time.Time) (id uuid.UUID) {
	ms := t.UnixMilli()
	for i := range 6 {
		id[i] = byte(ms >> (40 - 8*i))
	}
	return id
}

// TestGrowth measures what operations cost while completed jobs pile up from a thousand to as many as MILLRACE_GROWTH says.
func TestGrowth(t *testing.T) {
	if os.Getenv("MILLRACE_GROWTH") == "" {
		t.Skip("takes minutes and gigabytes; make growth runs it")
	}
	most := setting(t, "MILLRACE_GROWTH", 10_000_000)
	h := newHistory(t)
	r := &growthReport{Backlog: growthBacklog}
	for n := 1000; n <= most; n *= 10 {
		began := time.Now()
		h.grow(n)
		t.Logf("%d jobs after %.0f s", n, time.Since(began).Seconds())
		h.step(r)
		h.forget()
	}
	writeReport(t, r)
}

// step measures everything at the present size.
func (h *history) step(r *growthReport) {
	h.t.Helper()
	pile(h.t, h.url, []string{"far"}, time.Now().Add(-time.Minute), growthBacklog)
	far, err := queue.New(queue.Config{DB: storetest.Open(h.t, h.url), Tags: []string{"far"}, Log: storetest.Log(h.t)})
	if err != nil {
		h.t.Fatal(err)
	}
	if err := far.Start(h.t.Context()); err != nil {
		h.t.Fatal(err)
	}
	defer far.Stop()
	r.Rows = append(r.Rows, h.rows)
	r.SizeMB = append(r.SizeMB, h.side.number("pg_database_size(current_database())")/1e6)
	for i, op := range h.ops(far, h.sampleIDs(200)) {
		if i == len(r.Costs) {
			r.Costs = append(r.Costs, &growthCost{Name: op.name, Title: op.title})
		}
		h.measure(op, r.Costs[i])
	}
}
