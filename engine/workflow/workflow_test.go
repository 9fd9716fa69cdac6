package workflow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/bus"
	"github.com/millrace/millrace/engine/store"
)

// world is a queue and a store in memory, the process of a workflow, and its slot.
type world struct {
	t    *testing.T
	bus  *bus.Bus
	host *Host
	job  *engine.Job

	mu       sync.Mutex
	marks    map[int32]store.Checkpoint // guarded by mu
	jobs     []*engine.Job              // of tasks; guarded by mu
	canceled []uuid.UUID                // guarded by mu
	lost     bool                       // the workflow is another worker's; guarded by mu
	out      int                        // how often the slot was left and not taken back; guarded by mu
	pushed   chan *engine.Job
	answers  chan answer
	stopped  chan struct{}
	begun    time.Time
	shared   bool // the process has other workflows, too
}

func newWorld(t *testing.T, patience time.Duration) *world {
	w := &world{t: t, begun: time.Now(), bus: bus.New(), marks: map[int32]store.Checkpoint{}, pushed: make(chan *engine.Job, 300),
		job: &engine.Job{ID: engine.NewJobID(), Workspace: "main", Kind: engine.KindPreview, Source: "code", Language: "x", Tag: "x", Path: "u/ann/w"}}
	w.host = New(Config{Queue: w, Store: w, Targets: w, Bus: w.bus, Patience: patience, Kept: 1, Log: zerolog.Nop()})
	return w
}

func (w *world) start(attempt int32) *Session {
	w.answers, w.stopped = make(chan answer, 300), make(chan struct{}, 1)
	return w.host.Open(&engine.Claim{Job: w.job, Worker: 1, Attempt: attempt, Slot: w})
}

func (w *world) Checkpoint(_ context.Context, c *store.Checkpoint) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lost {
		return engine.Errorf(engine.Conflict, "test", "another's")
	}
	w.marks[c.N] = *c
	return nil
}

func (w *world) PushTask(ctx context.Context, j *engine.Job, c *store.Checkpoint) error {
	j.ID = engine.NewJobID()
	c.Child = &j.ID
	if err := w.Checkpoint(ctx, c); err != nil {
		return err
	}
	w.mu.Lock()
	w.jobs = append(w.jobs, j)
	w.mu.Unlock()
	w.pushed <- j
	return nil
}

func (w *world) Get(_ context.Context, _ string, id uuid.UUID) (*engine.JobView, error) {
	if v, ok := w.bus.Done(id); ok {
		return v, nil
	}
	return &engine.JobView{Job: engine.Job{ID: id}, State: engine.StateRunning}, nil
}

func (w *world) Cancel(_ context.Context, _ string, id uuid.UUID, _, _ string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.canceled = append(w.canceled, id)
	w.pushed <- nil
	return nil
}

func (w *world) Others() int { return 0 }

func (w *world) Task(_ context.Context, j *engine.Job, path string, flow bool) error {
	if path == "u/ann/none" {
		return engine.Errorf(engine.NotFound, "script.get", "no such script")
	}
	j.Kind, j.Path = engine.KindScript, path
	return nil
}

func (w *world) Checkpoints(context.Context, uuid.UUID) (out []store.Checkpoint, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.marks {
		if c.Wait > 0 {
			c.Timed = true
		}
		if c.Child != nil {
			if v, ok := w.bus.Done(*c.Child); ok {
				c.Result, c.Output, c.Finished = v.State, v.Result, time.Now()
			}
		}
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b store.Checkpoint) int { return int(a.N - b.N) })
	return out, nil
}

func (w *world) ApprovalOutcome(_ context.Context, _ uuid.UUID, n int32, late json.RawMessage) (*bool, json.RawMessage, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.marks[n]
	if c.OK == nil && time.Since(w.begun) > c.Wait {
		no := false
		c.OK, c.Value = &no, late
		w.marks[n] = c
	}
	return c.OK, c.Value, nil
}

// approve answers what the workflow asks.
func (w *world) approve(n int32, value string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c, yes := w.marks[n], true
	c.OK, c.Value = &yes, json.RawMessage(value)
	w.marks[n] = c
}

func (w *world) Leave()       { w.count(1) }
func (w *world) Return()      { w.count(-1) }
func (w *world) Waits(bool)   {}
func (w *world) Shared() bool { return w.shared }
func (w *world) Suspend()     { w.stopped <- struct{}{} }
func (w *world) count(n int) {
	w.mu.Lock()
	w.out += n
	w.mu.Unlock()
}

func (w *world) left() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.out
}

func (w *world) Answer(b []byte) {
	var a answer
	if err := json.Unmarshal(b, &a); err != nil {
		w.t.Errorf("answer %s: %v", b, err)
	}
	w.answers <- a
}

// end ends the job of a task.
func (w *world) end(j *engine.Job, state engine.JobState, result string) {
	now := time.Now()
	w.bus.PublishDone(&engine.JobView{Job: *j, State: state, Result: json.RawMessage(result), FinishedAt: &now})
}

func (w *world) want(s string) {
	w.t.Helper()
	a := <-w.answers
	if got := fmt.Sprintf("%s %s %v %v %s", a.Key, a.Kind, a.Done, a.OK, a.Value); got != s {
		w.t.Errorf("got %q, want %q", got, s)
	}
}

func TestStepsAndTasks(t *testing.T) {
	w := newWorld(t, time.Hour)
	s := w.start(1)
	s.Ask([]byte(`{"op":"open"}`), w)
	w.want("  false false ")
	s.Ask([]byte(`{"op":"step","key":"a","name":"a","ok":true,"value":[1]}`), w)
	w.want("a step true true null")
	if w.left() != 0 {
		t.Error("the slot is left although nothing is waited for")
	}
	s.Ask([]byte(`{"op":"task","key":"t","name":"t","value":{"x":1},"options":{"timeout":5,"tag":"big","priority":7}}`), w)
	j := <-w.pushed
	if j.Trigger != engine.TriggerWorkflow || Entry(j) != "task:t" || *j.Parent != w.job.ID || j.Source != "code" || j.Tag != "big" || j.Priority != 7 ||
		j.Timeout != 5*time.Second || string(j.Args) != `{"x":1}` {
		t.Errorf("the job of a task: %+v", j)
	}
	if w.left() != 1 {
		t.Error("the slot is kept from the task")
	}
	w.end(j, engine.StateSuccess, `"r"`)
	w.want(`t task true true "r"`)
	if w.left() != 0 {
		t.Error("the slot is not taken back")
	}
	s.Ask([]byte(`{"op":"task","key":"p","name":"p","path":"u/ann/other","value":{}}`), w)
	j = <-w.pushed
	if j.Path != "u/ann/other" || j.Source != "" || Entry(j) != "" {
		t.Errorf("the job of a deployed script: %+v", j)
	}
	w.end(j, engine.StateFailure, `{"error":{"name":"E"}}`)
	w.want(`p task true false {"error":{"name":"E"}}`)
	s.Ask([]byte(`{"op":"sleep","key":"sleep","name":"sleep","seconds":0.001}`), w)
	w.want("sleep sleep true true null")
	s.Close(true)
	if len(w.canceled) != 0 {
		t.Error("tasks that are over were canceled")
	}
}

func TestReplay(t *testing.T) {
	w := newWorld(t, 20*time.Millisecond)
	s := w.start(1)
	s.Ask([]byte(`{"op":"step","key":"a","name":"a","ok":true,"value":1}`), w)
	w.want("a step true true null")
	s.Ask([]byte(`{"op":"task","key":"t","name":"t"}`), w)
	s.Ask([]byte(`{"op":"task","key":"u","name":"u"}`), w)
	first, second := <-w.pushed, <-w.pushed
	if first.TriggerPath == "u" {
		first, second = second, first
	}
	s.Ask([]byte(`{"op":"sleep","key":"sleep","name":"sleep","seconds":3600}`), w)
	<-w.stopped
	waits, err := s.Outcome()
	if err != nil || waits == nil || waits.Wait > time.Minute || len(waits.Awaits) != 2 {
		t.Fatalf("it waits for %+v, %v", waits, err)
	}
	s.Close(false)
	if w.left() != 0 || w.host.waiting.Load() != 0 {
		t.Error("a session that has ended still counts")
	}
	w.end(first, engine.StateSuccess, "2")

	s = w.start(2)
	s.Ask([]byte(`{"op":"open"}`), w)
	w.want("a step true true 1")
	w.want("t task true true 2")
	w.want("u task false false null")
	w.want("sleep sleep false false null")
	w.want("  false false ")
	w.end(second, engine.StateFailure, "3")
	w.want("u task true false 3")
	s.Ask([]byte(`{"op":"step","key":"b","name":"b","ok":false,"value":{"error":{}}}`), w)
	w.want("b step true true null")
	if c := w.marks[4]; c.Key != "b" || *c.OK || c.Attempt != 2 {
		t.Errorf("the checkpoint after a replay: %+v", c)
	}
	if len(w.jobs) != 2 {
		t.Errorf("%d jobs for two tasks", len(w.jobs))
	}
	s.Close(true)
}

func TestRetry(t *testing.T) {
	w := newWorld(t, time.Hour)
	s := w.start(1)
	s.Ask([]byte(`{"op":"task","key":"t","name":"t","options":{"retry":{"attempts":2,"delay":10,"multiplier":3,"max_delay":20}}}`), w)
	for n, delay := range []float64{0, 10, 20} {
		j := <-w.pushed
		if d := time.Until(j.ScheduledFor).Seconds(); delay > 0 && (d < delay-5 || d > delay) {
			t.Errorf("try %d comes after %.1f s, want %v", n, d, delay)
		}
		w.end(j, engine.StateFailure, fmt.Sprint(n))
	}
	w.want("t task true false 2")
	s.Close(true)
	s = w.start(2)
	s.Ask([]byte(`{"op":"open"}`), w)
	w.want("t task true false 2")
	w.want("  false false ")
	s.Close(true)
	if len(w.jobs) != 3 {
		t.Errorf("%d tries, want 3", len(w.jobs))
	}
}

func TestEnds(t *testing.T) {
	t.Run("tasks of a workflow that has ended are canceled", func(t *testing.T) {
		w := newWorld(t, time.Hour)
		s := w.start(1)
		s.Ask([]byte(`{"op":"task","key":"t","name":"t"}`), w)
		j := <-w.pushed
		for { // it is noted who the task is
			s.mu.Lock()
			known := s.waits["t"].mark.Child != nil
			s.mu.Unlock()
			if known {
				break
			}
		}
		s.Close(true)
		<-w.pushed
		if len(w.canceled) != 1 || w.canceled[0] != j.ID {
			t.Errorf("canceled: %v", w.canceled)
		}
	})
	t.Run("too many wait", func(t *testing.T) {
		w := newWorld(t, time.Hour)
		w.host.cfg.Kept = 0
		s := w.start(1)
		s.Ask([]byte(`{"op":"task","key":"t","name":"t"}`), w)
		<-w.stopped
		s.Close(false)
	})
	t.Run("a step at work is not ended", func(t *testing.T) {
		w := newWorld(t, 10*time.Millisecond)
		s := w.start(1)
		s.Ask([]byte(`{"op":"task","key":"t","name":"t","running":1}`), w)
		j := <-w.pushed
		select {
		case <-w.stopped:
			t.Error("it was ended")
		case <-time.After(100 * time.Millisecond):
		}
		w.end(j, engine.StateSuccess, "1")
		w.want("t task true true 1")
		s.Close(true)
	})
	t.Run("a task that is not there fails", func(t *testing.T) {
		w := newWorld(t, time.Hour)
		s := w.start(1)
		s.Ask([]byte(`{"op":"task","key":"t","name":"t","path":"u/ann/none"}`), w)
		w.want(`t task true false {"error":{"message":"script.get: no such script","name":"NoSuchTask"}}`)
		w.mu.Lock()
		c := w.marks[0]
		w.mu.Unlock()
		if c.OK == nil || *c.OK || c.Child != nil || !strings.Contains(string(c.Value), "NoSuchTask") {
			t.Errorf("stored is %+v", c)
		}
		s.Close(true)
	})
	for name, ask := range map[string]string{
		"cannot be read": `{`, "asks for \"x\"": `{"op":"x"}`, "must have 1 to": `{"op":"step","key":"","name":""}`,
		"cache_ttl": `{"op":"task","key":"t","name":"t","options":{"cache_ttl":5}}`, "concurrency_limit": `{"op":"task","key":"t","name":"t","options":{"concurrency_limit":5}}`,
		"want seconds":          `{"op":"task","key":"t","name":"t","options":{"timeout":-1}}`,
		"the options of a task": `{"op":"task","key":"t","name":"t","options":[]}`,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, time.Hour)
			s := w.start(1)
			s.Ask([]byte(ask), w)
			<-w.stopped
			if waits, err := s.Outcome(); waits != nil || err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("got %v, %v", waits, err)
			}
			s.Close(true)
		})
	}
	t.Run("another's", func(t *testing.T) {
		w := newWorld(t, time.Hour)
		w.lost = true
		s := w.start(1)
		s.Ask([]byte(`{"op":"step","key":"a","name":"a","ok":true}`), w)
		<-w.stopped
		_, err := s.Outcome()
		var e *engine.Error
		if !errors.As(err, &e) || e.Code != engine.Conflict {
			t.Errorf("got %v", err)
		}
		s.Close(true)
	})
}

// A workflow whose process ends under it goes on with another one, which is told all that was asked for, also what was on its way then.
func TestRestart(t *testing.T) {
	w := newWorld(t, time.Hour)
	w.shared = true
	s := w.start(1)
	if s.Replays() {
		t.Error("a first start replays")
	}
	s.Ask([]byte(`{"op":"step","key":"a","name":"a","ok":true,"value":[1]}`), w)
	w.want("a step true true null")
	s.Ask([]byte(`{"op":"task","key":"t","name":"t","value":{}}`), w)
	s.Ask([]byte(`{"op":"sleep","key":"sleep","name":"sleep","seconds":0.05}`), w)
	s.Restart()
	if !s.Replays() || w.left() != 0 {
		t.Errorf("after the end of its process: replays %v, slot left %d times", s.Replays(), w.left())
	}
	j := <-w.pushed
	s.Ask([]byte(`{"op":"open"}`), w)
	got := map[string]bool{}
	for range 4 {
		a := <-w.answers
		got[fmt.Sprintf("%s %v %s", a.Key, a.Done, a.Value)] = true
	}
	for _, want := range []string{"a true [1]", "t false null", "sleep false null", " false "} {
		if !got[want] {
			t.Errorf("it is not told %q: %v", want, got)
		}
	}
	w.want("sleep sleep true true null")
	w.end(j, engine.StateSuccess, `5`)
	w.want("t task true true 5")
	select {
	case a := <-w.answers:
		t.Errorf("it is told twice: %+v", a)
	default:
	}
	s.Close(false)
}

// In a process that it shares a workflow is kept for long, but not when the process would end otherwise.
func TestSharedPatience(t *testing.T) {
	w := newWorld(t, time.Nanosecond)
	w.shared = true
	s := w.start(1)
	s.Ask([]byte(`{"op":"sleep","key":"sleep","name":"sleep","seconds":60}`), w)
	select {
	case <-w.stopped:
		t.Error("it is ended although it costs little")
	case <-time.After(2 * quiet):
	}
	s.Hurry()
	<-w.stopped
	if waits, err := s.Outcome(); err != nil || waits == nil {
		t.Errorf("got %+v, %v", waits, err)
	}
	s.Close(false)
}
