package queue

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store"
	"github.com/millrace/millrace/engine/store/storetest"
)

// slots is a dispatcher with a number of free slots that hands claims to the test.
type slots struct {
	mu       sync.Mutex
	free     int
	canceled chan uuid.UUID
	claims   chan *engine.Claim
}

func newSlots(free int) *slots {
	return &slots{free: free, claims: make(chan *engine.Claim, 10000), canceled: make(chan uuid.UUID, 100)}
}

func (s *slots) TryReserve(string, int16) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.free == 0 {
		return false
	}
	s.free--
	return true
}

func (s *slots) Release(string) {
	s.mu.Lock()
	s.free++
	s.mu.Unlock()
}

func (s *slots) left() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.free
}

func (s *slots) Deliver(c *engine.Claim) { s.claims <- c }

func (s *slots) cancel(id uuid.UUID, _, _ string) bool {
	s.canceled <- id
	return true
}

// quiet is a queue that does nothing on its own: what happens is what the test does.
func quiet(db *store.DB, s *slots) Config {
	cfg := Config{DB: db, Tags: []string{"noop", "other"}, Capacity: 4, Poll: time.Hour, Heartbeat: time.Hour, Lease: 3 * time.Hour,
		RetryFor: 20 * time.Second}
	if s != nil {
		cfg.Slots, cfg.OnCancel = s, s.cancel
	}
	return cfg
}

func start(t testing.TB, cfg Config) *Queue {
	t.Helper()
	cfg.Log = storetest.Log(t)
	q, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := q.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(q.Stop)
	return q
}

func noop() *engine.Job {
	return &engine.Job{ID: engine.NewJobID(), Workspace: "main", Kind: engine.KindNoop, Tag: "noop", Args: json.RawMessage(`{"b": 1, "a": 2}`),
		CreatedBy: "ann", Email: "ann@example.org", PermissionedAs: "u/ann", Trigger: "api", CreatedAt: time.Now()}
}

func push(t testing.TB, q *Queue, j *engine.Job) engine.PushResult {
	t.Helper()
	res, err := q.Push(context.Background(), j)
	if err != nil {
		t.Fatalf("push: %v", err)
	}
	return res
}

func claim(t testing.TB, q *Queue, n int, tags ...string) []*engine.Claim {
	t.Helper()
	list, err := q.Claim(context.Background(), tags, n)
	if err != nil {
		t.Fatalf("claim: %v", err)
	}
	return list
}

func success(c *engine.Claim) engine.Outcome {
	return engine.Outcome{ID: c.Job.ID, Worker: c.Worker, Attempt: c.Attempt, State: engine.StateSuccess, Result: json.RawMessage(`{"z": 1,  "a": [2]}`)}
}

func finish(t testing.TB, q *Queue, o engine.Outcome) bool {
	t.Helper()
	ok, err := q.Finish(context.Background(), o)
	if err != nil {
		t.Fatalf("finish: %v", err)
	}
	return ok
}

func get(t testing.TB, q *Queue, id uuid.UUID) *engine.JobView {
	t.Helper()
	v, err := q.Get(context.Background(), "main", id)
	if err != nil {
		t.Fatalf("get: %v", err)
	}
	return v
}

func TestDirect(t *testing.T) {
	t.Parallel()
	s := newSlots(1)
	q := start(t, quiet(storetest.New(t), s))
	parent, lock := engine.NewJobID(), "left-pad@1"
	j := noop()
	j.Kind, j.Path, j.Hash, j.Language, j.Source, j.Lock, j.Parent = engine.KindPreview, "u/ann/x", -5, "bun", "export function main(){}", &lock, &parent
	j.Priority, j.Timeout, j.Network, j.TriggerPath = 7, 1500*time.Millisecond, "none", "f/x/y"
	if res := push(t, q, j); !res.Claimed || res.Duplicate || res.ID != j.ID {
		t.Fatalf("got %+v", res)
	}
	c := <-s.claims
	if c.Job != j || c.Attempt != 1 || c.Worker != q.Worker() {
		t.Fatalf("got %+v", c)
	}
	v := get(t, q, j.ID)
	if v.State != engine.StateRunning || v.StartedAt == nil || v.FinishedAt != nil || v.Worker != c.Worker || v.WorkerName == "" {
		t.Fatalf("got %+v", v)
	}
	want := *j
	want.ScheduledFor, want.CreatedAt = v.ScheduledFor, v.CreatedAt
	if fmt.Sprintf("%+v %v %v", v.Job, *v.Lock, *v.Parent) != fmt.Sprintf("%+v %v %v", withPointers(want, v.Job), *want.Lock, *want.Parent) {
		t.Fatalf("stored %+v\nwant   %+v", v.Job, want)
	}
	o := success(c)
	o.CPU, o.MemoryPeak, o.LogTail = 3*time.Millisecond, 1<<20, "hello"
	if !finish(t, q, o) {
		t.Fatal("refused")
	}
	v = get(t, q, j.ID)
	if v.State != engine.StateSuccess || v.FinishedAt == nil || string(v.Result) != string(o.Result) || v.CPU != o.CPU || v.MemoryPeak != o.MemoryPeak {
		t.Fatalf("got %+v", v)
	}
	if string(v.Args) != `{"b": 1, "a": 2}` {
		t.Fatalf("args came back as %s", v.Args)
	}
	if text, next, err := q.Logs(t.Context(), j.ID, 2); text != "llo" || next != 5 || err != nil {
		t.Fatalf("logs: %q %d %v", text, next, err)
	}
	if r, err := q.Result(t.Context(), "main", j.ID); err != nil || r.State != engine.StateSuccess || string(r.Result) != string(o.Result) {
		t.Fatalf("result: %+v %v", r, err)
	}
	if _, err := q.Get(t.Context(), "elsewhere", j.ID); engine.CodeOf(err) != engine.NotFound {
		t.Fatalf("another workspace got %v", err)
	}
}

// withPointers gives j the pointers of other, so that they print alike.
func withPointers(j, other engine.Job) engine.Job {
	j.Lock, j.Parent = other.Lock, other.Parent
	return j
}

func TestQueuedThenClaimed(t *testing.T) {
	t.Parallel()
	q := start(t, quiet(storetest.New(t), newSlots(0)))
	j := noop()
	if res := push(t, q, j); res.Claimed {
		t.Fatal("claimed without a slot")
	}
	<-q.Wake()
	if v := get(t, q, j.ID); v.State != engine.StateQueued {
		t.Fatalf("got %+v", v)
	}
	list := claim(t, q, 5, "noop")
	if len(list) != 1 || list[0].Job.ID != j.ID || list[0].Attempt != 1 || string(list[0].Job.Args) != string(j.Args) {
		t.Fatalf("got %+v", list)
	}
	if more := claim(t, q, 5, "noop"); len(more) != 0 {
		t.Fatalf("claimed twice: %+v", more)
	}
	if !finish(t, q, success(list[0])) {
		t.Fatal("refused")
	}
}

func TestFence(t *testing.T) {
	t.Parallel()
	s := newSlots(1)
	q := start(t, quiet(storetest.New(t), s))
	push(t, q, noop())
	c := <-s.claims
	for _, o := range []engine.Outcome{
		{ID: c.Job.ID, Worker: c.Worker + 1, Attempt: 1, State: engine.StateSuccess},
		{ID: c.Job.ID, Worker: c.Worker, Attempt: 2, State: engine.StateSuccess},
	} {
		if finish(t, q, o) {
			t.Fatalf("%+v was taken", o)
		}
	}
	if !finish(t, q, success(c)) {
		t.Fatal("the owner was refused")
	}
	if !finish(t, q, success(c)) {
		t.Fatal("the same outcome again was not recognised")
	}
	if finish(t, q, engine.Outcome{ID: c.Job.ID, Worker: c.Worker, Attempt: 2, State: engine.StateFailure}) {
		t.Fatal("another outcome was taken")
	}
	if _, err := q.Finish(t.Context(), engine.Outcome{ID: c.Job.ID, State: engine.StateRunning}); engine.CodeOf(err) != engine.Invalid {
		t.Fatalf("got %v", err)
	}
}

func TestPushTwice(t *testing.T) {
	t.Parallel()
	s := newSlots(2)
	q := start(t, quiet(storetest.New(t), s))
	j := noop()
	push(t, q, j)
	again := *j
	if res := push(t, q, &again); !res.Duplicate || res.Claimed || res.ID != j.ID {
		t.Fatalf("got %+v", res)
	}
	if s.left() != 1 {
		t.Fatalf("%d slots are free, want 1", s.left())
	}
	c := <-s.claims
	finish(t, q, success(c))
	if res := push(t, q, &again); !res.Duplicate || res.Claimed {
		t.Fatalf("a finished job was started again: %+v", res)
	}
	again.Workspace = "other"
	if _, err := q.Push(t.Context(), &again); engine.CodeOf(err) != engine.Conflict {
		t.Fatalf("another workspace's id: %v", err)
	}
}

func TestIdempotencyKey(t *testing.T) {
	t.Parallel()
	q := start(t, quiet(storetest.New(t), newSlots(100)))
	var wg sync.WaitGroup
	results := make([]engine.PushResult, 20)
	for i := range results {
		wg.Go(func() {
			j := noop()
			j.IdempotencyKey = "once"
			res, err := q.Push(context.Background(), j)
			if err != nil {
				t.Error(err)
			}
			results[i] = res
		})
	}
	wg.Wait()
	fresh := 0
	for _, r := range results {
		if r.ID != results[0].ID {
			t.Fatalf("two jobs: %+v", results)
		}
		if !r.Duplicate {
			fresh++
		}
	}
	if fresh != 1 {
		t.Fatalf("%d were new", fresh)
	}
	j := noop()
	j.IdempotencyKey, j.Workspace = "once", "other"
	if res := push(t, q, j); res.Duplicate {
		t.Fatal("keys of two workspaces collide")
	}
}
