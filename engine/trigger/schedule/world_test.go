package schedule

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/bus"
	"github.com/millrace/millrace/engine/store"
	"github.com/millrace/millrace/engine/store/storetest"
)

type ended = store.TickEnded

const (
	ws     = "admins"
	script = "f/jobs/work"
	path   = "f/cron/nightly"
)

var ann = engine.Principal{Username: "ann", Email: "ann@example.com"}

// world is what daemons have in common: the database, the clock, and the jobs that were pushed.
type world struct {
	t     testing.TB
	db    *store.DB
	clock *hands

	mu      sync.Mutex
	jobs    map[uuid.UUID]*engine.JobView
	asked   []engine.RunRequest // in order; guarded by mu
	twice   int                 // pushes of an id that was there; guarded by mu
	gone    map[string]bool     // scripts that are not there; guarded by mu
	refuse  func(engine.RunRequest) error
	buses   []*bus.Bus
	pushed  chan uuid.UUID // every new job
	answers map[string]error
}

func newWorld(t testing.TB) *world {
	return &world{t: t, db: storetest.New(t), clock: &hands{now: time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)}, jobs: map[uuid.UUID]*engine.JobView{},
		gone: map[string]bool{}, answers: map[string]error{}, pushed: make(chan uuid.UUID, 10_000)}
}

// daemon is one of several schedulers on the database. Unless it is started, round does its work.
func (w *world) daemon(change ...func(*Config)) *Schedules {
	b := bus.New()
	w.buses = append(w.buses, b)
	cfg := Config{DB: w.db, Jobs: w, Scripts: w, Flows: flows{w}, Gate: w, Bus: b, Clock: w.clock, Late: time.Millisecond, Poll: time.Nanosecond, Log: storetest.Log(w.t)}
	for _, c := range change {
		c(&cfg)
	}
	s, err := New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(s.Stop)
	return s
}

func (w *world) Can(_ engine.Principal, verb, _, p string) error { return w.answers[verb+" "+p] }

func (w *world) Latest(_ context.Context, _, p string) (*engine.Script, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.gone[p] {
		return nil, &engine.Error{Code: engine.NotFound, Op: "script.get", Path: p, Msg: "no such script"}
	}
	return &engine.Script{Path: p}, nil
}

// flows is the world of flows: it has them at the same paths.
type flows struct{ *world }

func (f flows) Latest(ctx context.Context, ws, p string) (*engine.Flow, error) {
	if _, err := f.world.Latest(ctx, ws, p); err != nil {
		return nil, err
	}
	return &engine.Flow{Path: p}, nil
}

func (w *world) Run(ctx context.Context, p engine.Principal, r engine.RunRequest) (uuid.UUID, error) {
	if _, err := w.Latest(ctx, r.Workspace, r.Path); err != nil {
		return uuid.Nil, err
	}
	if w.refuse != nil {
		if err := w.refuse(r); err != nil {
			return uuid.Nil, err
		}
	}
	id := engine.NewJobID()
	if r.ID != nil {
		id = *r.ID
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.jobs[id] != nil {
		w.twice++
		return id, nil
	}
	started := w.clock.Now()
	w.jobs[id] = &engine.JobView{Job: engine.Job{ID: id, Workspace: r.Workspace, Kind: r.Kind, Path: r.Path, Args: r.Args, CreatedBy: p.Username, Email: p.Email,
		PermissionedAs: p.PermissionedAs(), Trigger: r.Trigger, TriggerPath: r.TriggerPath}, StartedAt: &started}
	w.asked = append(w.asked, r)
	w.pushed <- id
	return id, nil
}

func (w *world) Get(_ context.Context, _ engine.Principal, _ string, id uuid.UUID, _ bool) (*engine.JobView, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	v := *w.jobs[id]
	return &v, nil
}

// end completes a job, as the queue would; told: the daemons hear of it at once.
func (w *world) end(id uuid.UUID, ok, told bool) {
	w.t.Helper()
	w.mu.Lock()
	v := *w.jobs[id]
	v.State, v.Result = engine.StateSuccess, json.RawMessage(`{"rows":3}`)
	state := 2
	if !ok {
		v.State, v.Result, state = engine.StateFailure, json.RawMessage(`{"error":{"name":"Boom","message":"no luck"}}`), 3
	}
	w.jobs[id] = &v
	w.mu.Unlock()
	storetest.Exec(w.t, w.db, fmt.Sprintf(`insert into done (id, started_at, finished_at, worker, attempt, state, cpu_us, memory_peak, log_off)
		values ('%s', now(), now(), 1, 1, %d, 0, 0, 0)`, id, state))
	if told {
		for _, b := range w.buses {
			b.PublishDone(&v)
		}
	}
}

// runs returns what was asked for so far.
func (w *world) runs() []engine.RunRequest {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]engine.RunRequest(nil), w.asked...)
}

// plain is a minutely schedule.
func plain(change ...func(*engine.Schedule)) engine.Schedule {
	s := engine.Schedule{Workspace: ws, Path: path, Cron: "* * * * *", Enabled: true, ScriptPath: script}
	for _, c := range change {
		c(&s)
	}
	return s
}

func (w *world) create(s *Schedules, change ...func(*engine.Schedule)) {
	w.t.Helper()
	if err := s.Create(context.Background(), ann, plain(change...)); err != nil {
		w.t.Fatal(err)
	}
}

// work lets a daemon do all there is to do at this moment.
func (w *world) work(s *Schedules) {
	w.t.Helper()
	for range 3 { // the first finds out, settling releases, releasing pushes
		s.polls = time.Time{}
		s.collect()
		if _, err := s.round(context.Background()); err != nil {
			w.t.Fatal(err)
		}
	}
}

// pass moves the clock on and lets the daemons work.
func (w *world) pass(d time.Duration, daemons ...*Schedules) {
	w.t.Helper()
	w.clock.set(w.clock.Now().Add(d))
	for _, s := range daemons {
		w.work(s)
	}
}

// ledger writes the lines of a schedule, oldest first.
func (w *world) ledger(s *Schedules) []engine.Tick {
	w.t.Helper()
	list, err := s.Ticks(context.Background(), ann, ws, engine.TickFilter{Schedule: path, PerPage: 1000})
	if err != nil {
		w.t.Fatal(err)
	}
	for i := range len(list) / 2 {
		list[i], list[len(list)-1-i] = list[len(list)-1-i], list[i]
	}
	return list
}

// states writes a ledger as "12:01 fired, 12:02 skipped".
func (w *world) states(s *Schedules) string {
	w.t.Helper()
	out := ""
	for i, l := range w.ledger(s) {
		if i > 0 {
			out += ", "
		}
		out += l.At.Format("15:04") + " " + string(l.State)
	}
	return out
}

func (w *world) want(s *Schedules, states string) {
	w.t.Helper()
	if got := w.states(s); got != states {
		w.t.Fatalf("the ledger is %s\nwant %s", got, states)
	}
}

// job is the job of the nth line.
func (w *world) job(s *Schedules, n int) uuid.UUID {
	w.t.Helper()
	l := w.ledger(s)
	if n >= len(l) || l[n].JobID == nil {
		w.t.Fatalf("line %d of %d has no job", n, len(l))
	}
	return *l[n].JobID
}

// hands is a clock that is moved by hand. Its timers never fire: tests call round.
type hands struct {
	mu  sync.Mutex
	now time.Time
}

func (h *hands) Now() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now
}

func (h *hands) set(t time.Time) {
	h.mu.Lock()
	h.now = t
	h.mu.Unlock()
}

func (h *hands) After(time.Duration) (<-chan time.Time, func()) { return nil, func() {} }
