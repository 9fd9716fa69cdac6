package queue_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/dispatch"
	"github.com/millrace/millrace/engine/queue"
	"github.com/millrace/millrace/engine/store"
	"github.com/millrace/millrace/engine/store/storetest"
)

// work runs jobs that do nothing but last. It notes when they start and end for those who wait.
type work struct {
	takes   time.Duration // how long a job lasts
	ran     atomic.Int64  // starts
	ended   atomic.Int64  // outcomes that were stored
	lost    atomic.Int64  // claims that ended without an outcome of theirs
	begun   func(*engine.Claim)
	waiting sync.Map // uuid.UUID -> chan time.Time: when it started, when its outcome was stored
}

func (w *work) Execute(_ context.Context, c *engine.Claim) (engine.Outcome, bool) {
	w.ran.Add(1)
	if ch, ok := w.waiting.Load(c.Job.ID); ok {
		ch.(chan time.Time) <- time.Now()
	}
	if w.begun != nil {
		w.begun(c)
	}
	if w.takes > 0 {
		<-time.After(w.takes)
	}
	return engine.Outcome{ID: c.Job.ID, Worker: c.Worker, Attempt: c.Attempt, State: engine.StateSuccess, Result: json.RawMessage("null")}, true
}

func (w *work) Finished(c *engine.Claim, o *engine.Outcome) {
	ch, waited := w.waiting.LoadAndDelete(c.Job.ID)
	switch {
	case o == nil:
		w.lost.Add(1)
		if waited {
			close(ch.(chan time.Time))
		}
	default:
		w.ended.Add(1)
		if waited {
			ch.(chan time.Time) <- time.Now()
		}
	}
}

// line is a worker without HTTP and sandboxes: a queue, the real dispatcher, and work.
type line struct {
	*work
	queue    *queue.Queue
	dispatch *dispatch.Dispatcher
	db       *store.DB
}

type lineConfig struct {
	url    string
	tags   []string
	slots  int
	direct bool // a free slot takes a job as it is pushed; otherwise every job is queued and then claimed
	work   *work
}

func openLine(t testing.TB, c lineConfig) *line {
	t.Helper()
	l := &line{work: c.work, db: storetest.Open(t, c.url)}
	if l.work == nil {
		l.work = &work{}
	}
	var err error
	if l.dispatch, err = dispatch.New(dispatch.Config{Executor: l.work, ProcessSlots: c.slots, ProcessTags: c.tags, Log: storetest.Log(t)}); err != nil {
		t.Fatal(err)
	}
	cfg := queue.Config{DB: l.db, Tags: c.tags, Capacity: c.slots, OnCancel: l.dispatch.Cancel, Log: storetest.Log(t)}
	if c.direct {
		cfg.Slots = l.dispatch
	}
	if l.queue, err = queue.New(cfg); err != nil {
		t.Fatal(err)
	}
	if _, _, err := l.db.Partition(t.Context(), time.Now(), 1, 0); err != nil {
		t.Fatal(err)
	}
	if err := l.queue.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := l.dispatch.Start(t.Context(), l.queue); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.close)
	return l
}

// close ends the line once its running jobs are over; safe to call twice.
func (l *line) close() {
	l.dispatch.Drain(context.Background())
	l.queue.Stop()
}

// once pushes a job and waits for its outcome.
func (l *line) once(j *engine.Job) (start, result time.Duration, err error) {
	return once(l.queue, l.work, j)
}

// once pushes a job to q and waits until w, which may belong to another queue, has run it.
func once(q *queue.Queue, w *work, j *engine.Job) (start, result time.Duration, err error) {
	ch := make(chan time.Time, 2)
	w.waiting.Store(j.ID, ch)
	began := time.Now()
	if _, err := q.Push(context.Background(), j); err != nil {
		return 0, 0, err
	}
	for _, d := range []*time.Duration{&start, &result} {
		at, ok := <-ch
		if !ok {
			return 0, 0, fmt.Errorf("job %s has no outcome", j.ID)
		}
		*d = at.Sub(began)
	}
	return start, result, nil
}

// typical is a job as the benchmarks push it.
func typical(tag string, prio int16) *engine.Job {
	return &engine.Job{ID: uuid.Must(uuid.NewV7()), Workspace: "main", Kind: engine.KindNoop, Path: "f/bench/noop", Tag: tag, Priority: prio,
		Args: json.RawMessage(`{"n": 1, "name": "a typical argument"}`), CreatedBy: "ann", Email: "ann@example.org", PermissionedAs: "u/ann",
		Trigger: "api", CreatedAt: time.Now()}
}

// until waits for a fact of another process or goroutine that nobody announces.
func until(t testing.TB, what string, fact func() bool) {
	t.Helper()
	limit := time.After(2 * time.Minute)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !fact() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("%s: not within two minutes", what)
		}
	}
}

// setting reads a size of a measurement from the environment, so that it can be tried in small.
func setting[T int | time.Duration](t testing.TB, name string, value T) T {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return value
	}
	switch any(value).(type) {
	case time.Duration:
		d, err := time.ParseDuration(text)
		if err != nil || d <= 0 {
			t.Fatalf("%s=%q: give a duration such as 30s", name, text)
		}
		return T(d)
	default:
		n, err := strconv.Atoi(text)
		if err != nil || n <= 0 {
			t.Fatalf("%s=%q: give a number above 0", name, text)
		}
		return T(n)
	}
}
