package execute

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/bus"
	"github.com/millrace/millrace/engine/live"
	"github.com/millrace/millrace/engine/pool"
	"github.com/millrace/millrace/engine/prepare"
	"github.com/millrace/millrace/runtimes"
	"github.com/millrace/millrace/runtimes/build"
	"github.com/millrace/millrace/runtimes/mock"
)

// shelf is a catalog and a log store in memory.
type shelf struct {
	mu      sync.Mutex
	scripts map[engine.Hash]*engine.Script
	logs    map[uuid.UUID]string
	streams map[uuid.UUID]string
	stored  chan struct{}
}

func (s *shelf) ByHash(_ context.Context, _ string, h engine.Hash) (*engine.Script, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if x, ok := s.scripts[h]; ok {
		c := *x
		return &c, nil
	}
	return nil, &engine.Error{Code: engine.NotFound, Op: "script.get", Path: h.String(), Msg: "no such script"}
}

func (s *shelf) SetLock(_ context.Context, _ string, h engine.Hash, lock, errText string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.scripts[h].Lock, s.scripts[h].LockError = &lock, errText
	return nil
}

func (s *shelf) AppendLog(_ context.Context, id uuid.UUID, offset int64, text string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if int(offset) != len(s.logs[id]) {
		return errors.New("a hole in the log")
	}
	s.logs[id] += text
	select {
	case s.stored <- struct{}{}:
	default:
	}
	return nil
}

func (s *shelf) AppendStream(_ context.Context, id uuid.UUID, _ int64, text string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.streams[id] += text
	return nil
}

type bundle struct {
	*Executor
	shelf *shelf
	live  *live.Logs
	bus   *bus.Bus
}

func setup(t testing.TB) *bundle {
	t.Helper()
	registry := runtimes.NewRegistry()
	entry := registry.Register(mock.New())
	var err error
	if entry.Host, err = entry.Detect(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	isolator := mock.NewIsolator(nil)
	b, err := build.New(build.Config{Isolator: isolator, CacheDir: t.TempDir(), Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	p, err := pool.New(pool.Config{Isolator: isolator, MaxSlots: 4, Dedicated: pool.Dedicated{Max: 2}, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	s := &shelf{scripts: map[engine.Hash]*engine.Script{}, logs: map[uuid.UUID]string{}, streams: map[uuid.UUID]string{}, stored: make(chan struct{}, 1)}
	x := &bundle{shelf: s, live: live.New(), bus: bus.New()}
	x.Executor = New(Config{
		Scripts: s, Logs: s, Live: x.live, Bus: x.bus, Prepare: prepare.New(registry, b), Pool: p,
		Env: func(j *engine.Job) runtimes.Env { return runtimes.Env{{Name: "WM_JOB_ID", Value: j.ID.String()}} }, Log: zerolog.Nop(),
	})
	return x
}

func preview(source string) *engine.Claim {
	return &engine.Claim{Attempt: 1, Started: time.Now(), Job: &engine.Job{
		ID: engine.NewJobID(), Workspace: "main", Kind: engine.KindPreview, Language: "mock", Source: source, Args: json.RawMessage(`{"n":1}`),
	}}
}

func TestOutcomes(t *testing.T) {
	t.Parallel()
	x := setup(t)
	empty := ""
	x.shelf.scripts[7] = &engine.Script{Hash: 7, Language: "mock", Content: "param n integer\nargs", Lock: &empty,
		Schema: json.RawMessage(`{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]}`)}
	x.shelf.scripts[8] = &engine.Script{Hash: 8, Language: "mock", Content: "env COLOR", Lock: &empty,
		Extra: map[string]json.RawMessage{"envs": json.RawMessage(`["COLOR=blue"]`)}}
	x.shelf.scripts[9] = &engine.Script{Hash: 9, Language: "mock", Content: "return 1", LockError: "package nope does not exist"}
	for _, c := range []struct {
		name   string
		change func(*engine.Job)
		result string
		state  engine.JobState
	}{
		{"result", func(j *engine.Job) { j.Source = `return {"b":1,"a":[2]}` }, `{"b":1,"a":[2]}`, engine.StateSuccess},
		{"failure", func(j *engine.Job) { j.Source = `fail Boom "no luck"` }, `"name":"Boom","message":"no luck"`, engine.StateFailure},
		{"timeout", func(j *engine.Job) { j.Source, j.Timeout = "hang", 20*time.Millisecond }, `"name":"Timeout"`, engine.StateFailure},
		{"unknown language", func(j *engine.Job) { j.Language = "cobol" }, `"name":"UnknownLanguage"`, engine.StateFailure},
		{"missing package", func(j *engine.Job) { j.Source = "require missing; return 1" }, `"name":"BuildError"`, engine.StateFailure},
		{"unknown script", func(j *engine.Job) { j.Hash = 5 }, `no such script`, engine.StateFailure},
		{"script", func(j *engine.Job) { j.Hash = 7 }, `{"n":1}`, engine.StateSuccess},
		{"wrong type", func(j *engine.Job) { j.Hash, j.Args = 7, json.RawMessage(`{"n":"x"}`) }, `"name":"ArgumentError"`, engine.StateFailure},
		{"script env", func(j *engine.Job) { j.Hash = 8 }, `"blue"`, engine.StateSuccess},
		{"lock error", func(j *engine.Job) { j.Hash = 9 }, `"message":"package nope does not exist"`, engine.StateFailure},
		{"NUL in the result", func(j *engine.Job) { j.Source = `return "a\u0000b"` }, `cannot be stored`, engine.StateFailure},
		{"NUL behind an escaped backslash", func(j *engine.Job) { j.Source = `return "\\u0000\u0000"` }, `cannot be stored`, engine.StateFailure},
		{"NUL in an error", func(j *engine.Job) { j.Source = "fail Boom \"a\x00b\"" }, "\"message\":\"a\uFFFDb\"", engine.StateFailure},
		{"escaped backslash", func(j *engine.Job) { j.Source = `return "a\\u0000b"` }, `"a\\u0000b"`, engine.StateSuccess},
		{"no-op", func(j *engine.Job) { j.Kind = engine.KindNoop }, `null`, engine.StateSuccess},
	} {
		claim := preview("return 1")
		c.change(claim.Job)
		out, done := x.Execute(t.Context(), claim)
		if !done || out.State != c.state || !strings.Contains(string(out.Result), c.result) || !json.Valid(out.Result) {
			t.Errorf("%s: done %v, state %s, result %s", c.name, done, out.State, out.Result)
		}
		if out.ID != claim.Job.ID || out.Attempt != 1 {
			t.Errorf("%s: outcome of another attempt", c.name)
		}
	}
}

func TestOutputIsLiveAndItsRestComesWithTheOutcome(t *testing.T) {
	t.Parallel()
	x := setup(t)
	c := preview("log hello; hang")
	changed, stop := x.bus.Watch(c.Job.ID)
	defer stop()
	ctx, cancel := context.WithCancelCause(t.Context())
	type end struct {
		out  engine.Outcome
		done bool
	}
	over := make(chan end, 1)
	go func() {
		out, done := x.Execute(ctx, c)
		over <- end{out, done}
	}()
	<-changed
	j, ok := x.live.Get(c.Job.ID)
	if !ok {
		t.Fatal("a running job has no live log")
	}
	if _, text := j.Log.From(0); string(text) != "hello\n" {
		t.Fatalf("live log %q", text)
	}
	<-x.shelf.stored // the flush of a job that goes on
	cancel(&Canceled{By: "ann", Reason: "enough"})
	e := <-over
	if !e.done || e.out.State != engine.StateCanceled || e.out.CanceledBy != "ann" || !strings.Contains(string(e.out.Result), "canceled by ann: enough") {
		t.Fatalf("outcome %+v %s", e.out, e.out.Result)
	}
	if e.out.LogOffset != 6 || e.out.LogTail != "" {
		t.Fatalf("tail %q at %d, although it was stored", e.out.LogTail, e.out.LogOffset)
	}
	x.Finished(c, &e.out)
	if _, ok := x.live.Get(c.Job.ID); ok {
		t.Fatal("live log left behind")
	}
	if v, ok := x.bus.Done(c.Job.ID); !ok || v.State != engine.StateCanceled {
		t.Fatal("outcome not remembered")
	}
}

func TestShutdownHandsBack(t *testing.T) {
	t.Parallel()
	x := setup(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(ErrShutdown)
	if _, done := x.Execute(ctx, preview("hang")); done {
		t.Fatal("a job stopped by a shutdown was finished")
	}
}

func TestDependencyJobStoresTheLock(t *testing.T) {
	t.Parallel()
	x := setup(t)
	x.shelf.scripts[1] = &engine.Script{Hash: 1, Language: "mock", Content: "require good; return 1"}
	x.shelf.scripts[2] = &engine.Script{Hash: 2, Language: "mock", Content: "require missing; return 1"}
	for h, want := range map[engine.Hash]engine.JobState{1: engine.StateSuccess, 2: engine.StateFailure} {
		c := preview("")
		c.Job.Kind, c.Job.Hash = engine.KindDependencies, h
		out, done := x.Execute(t.Context(), c)
		if !done || out.State != want {
			t.Fatalf("script %d: %s %s", h, out.State, out.Result)
		}
	}
	if s := x.shelf.scripts[1]; s.Lock == nil || !strings.Contains(*s.Lock, "good") || s.LockError != "" {
		t.Errorf("script 1: lock %v, error %q", s.Lock, s.LockError)
	}
	if s := x.shelf.scripts[2]; s.LockError == "" {
		t.Error("script 2: no lock error")
	}
}
