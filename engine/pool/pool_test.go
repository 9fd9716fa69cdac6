package pool

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/millrace/millrace/runtimes"
	"github.com/millrace/millrace/runtimes/frame"
	"github.com/millrace/millrace/sandbox"
)

// fake is an isolator whose processes are goroutines: the source says what they do.
type fake struct {
	opened, closed, starts atomic.Int64
	fail                   atomic.Bool
}

func (f *fake) Strength() sandbox.Strength { return sandbox.Strength{Mode: "none"} }
func (f *fake) Close() error               { return nil }
func (f *fake) Open(context.Context, sandbox.Template) (sandbox.Slot, error) {
	if f.fail.Load() {
		return nil, errors.New("no more slots")
	}
	f.opened.Add(1)
	return &fakeSlot{f: f, done: make(chan struct{})}, nil
}

type fakeSlot struct {
	f    *fake
	done chan struct{}
	once sync.Once
}

func (s *fakeSlot) Done() <-chan struct{} { return s.done }
func (s *fakeSlot) Close() error {
	s.once.Do(func() { s.f.closed.Add(1) })
	return nil
}

func (s *fakeSlot) Start(_ context.Context, spec sandbox.Spec) (sandbox.Process, error) {
	s.f.starts.Add(1)
	here, there := net.Pipe()
	out, in := io.Pipe()
	p := &fakeProc{conn: here, out: out, exit: make(chan sandbox.Exit, 1), killed: make(chan struct{})}
	go p.live(there, in, spec)
	return p, nil
}

type fakeProc struct {
	conn   net.Conn
	out    *io.PipeReader
	exit   chan sandbox.Exit
	killed chan struct{}
	once   sync.Once
}

func (p *fakeProc) live(conn net.Conn, out *io.PipeWriter, spec sandbox.Spec) {
	var e sandbox.Exit
	defer func() { _ = conn.Close(); _ = out.Close(); p.exit <- e }()
	if len(spec.Argv) > 0 && spec.Argv[0] == "warm" {
		_, _ = conn.Write(frame.Append(nil, frame.Ready, ""))
	}
	q, err := frame.ReadRequest(frame.NewReader(conn))
	if err != nil {
		e.Signal = 9
		return
	}
	switch verb, arg, _ := strings.Cut(string(q.Source), " "); verb {
	case "echo":
		_, _ = conn.Write(frame.Append(nil, frame.Result, string(q.Args)))
	case "print":
		_, _ = io.WriteString(out, arg)
		_, _ = conn.Write(frame.Append(nil, frame.Result, "1"))
	case "hang":
		<-p.killed
		e.Signal = 9
	case "flood":
		for chunk := strings.Repeat("x", 1000); ; {
			if _, err := io.WriteString(out, chunk); err != nil || isClosed(p.killed) {
				e.Signal = 9
				return
			}
		}
	case "exit":
		e.Code = 3
	case "oom":
		e.Signal, e.OOM = 9, true
	case "fail":
		_, _ = conn.Write(frame.AppendFailure(nil, &runtimes.Failure{Name: "Boom", Message: arg}))
	}
}

func (p *fakeProc) Conn() net.Conn            { return p.conn }
func (p *fakeProc) Output() io.Reader         { return p.out }
func (p *fakeProc) Collected() ([]byte, bool) { return nil, false }
func (p *fakeProc) Kill() error {
	p.once.Do(func() { close(p.killed); _ = p.conn.Close() })
	return nil
}
func (p *fakeProc) Close() error { return p.Kill() }
func (p *fakeProc) Wait(ctx context.Context) (sandbox.Exit, error) {
	select {
	case e := <-p.exit:
		p.exit <- e
		return e, nil
	case <-ctx.Done():
		return sandbox.Exit{}, ctx.Err()
	}
}

func setup(t *testing.T, slots int) (*Pool, *fake) {
	t.Helper()
	f := &fake{}
	p, err := New(Config{Isolator: f, MaxSlots: slots, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Stop()
		if o, c := f.opened.Load(), f.closed.Load(); o != c {
			t.Errorf("%d slots opened, %d closed", o, c)
		}
	})
	return p, f
}

func launch(name, source string) runtimes.Launch {
	return runtimes.Launch{
		Template: sandbox.Template{Name: name}, Spec: sandbox.Spec{Argv: []string{"warm"}}, Warm: true, Source: []byte(source), Result: runtimes.ResultFrame,
	}
}

func do(t *testing.T, p *Pool, l runtimes.Launch, task Task) Result {
	t.Helper()
	w, err := p.Acquire(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Release()
	task.Call.Args = json.RawMessage(`{"a":1}`)
	r, err := w.Run(t.Context(), task)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRunReportsWhatHappened(t *testing.T) {
	t.Parallel()
	p, _ := setup(t, 2)
	var out strings.Builder
	for _, c := range []struct {
		source, value, failure, stopped string
		limits                          sandbox.Limits
	}{
		{source: "echo", value: `{"a":1}`},
		{source: "print hello", value: "1"},
		{source: "fail bad luck", failure: "Boom: bad luck"},
		{source: "exit", failure: "ExecutionError: the job ended with exit status 3 before it gave a result"},
		{source: "oom", failure: "OutOfMemory: the job needed more than its memory limit of 1 GiB and was stopped"},
		{source: "hang", failure: "Timeout: the job ran longer than its limit of 20ms and was stopped", stopped: StoppedTimeout, limits: sandbox.Limits{Wall: 20 * time.Millisecond}},
		{source: "flood", failure: "OutputLimit: the job wrote more than 5000 bytes of output and was stopped; raise limits.output_mb", stopped: StoppedOutput, limits: sandbox.Limits{Output: 5000}},
	} {
		r := do(t, p, launch("x", c.source), Task{Limits: c.limits, OnOutput: func(b []byte) { out.Write(b) }})
		failure := ""
		if r.Failure != nil {
			failure = r.Failure.Error()
		}
		if string(r.Value) != c.value || failure != c.failure || r.Stopped != c.stopped {
			t.Errorf("%s: value %s, failure %q, stopped %q", c.source, r.Value, failure, r.Stopped)
		}
	}
	if got := strings.TrimRight(out.String(), "x"); got != "hello" {
		t.Errorf("output %q", got)
	}
	if n := len(out.String()) - len("hello"); n != 5000 {
		t.Errorf("%d bytes passed on, want the limit of 5000", n)
	}
}

func TestCancelKillsAndNextJobIsClean(t *testing.T) {
	t.Parallel()
	p, f := setup(t, 1)
	w, err := p.Acquire(t.Context(), launch("x", "hang"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r, err := w.Run(ctx, Task{})
	w.Release()
	if err != nil && !errors.Is(err, context.Canceled) || err == nil && r.Stopped != StoppedCanceled {
		t.Fatalf("result %+v, error %v", r, err)
	}
	if r := do(t, p, launch("x", "echo"), Task{}); string(r.Value) != `{"a":1}` {
		t.Fatalf("after a canceled job: %+v", r)
	}
	if n := f.opened.Load(); n != 1 {
		t.Errorf("%d slots opened, want 1", n)
	}
}

func TestProcessesAreStartedAheadAndUsedOnce(t *testing.T) {
	t.Parallel()
	p, f := setup(t, 1)
	for range 5 {
		do(t, p, launch("x", "echo"), Task{})
	}
	w, err := p.Acquire(t.Context(), launch("x", "echo")) // waits for the process that is being started ahead, if need be
	if err != nil {
		t.Fatal(err)
	}
	<-w.entry.ready
	if n := f.starts.Load(); n != 6 {
		t.Errorf("%d processes for 5 jobs and one ahead", n)
	}
	w.Release()
	if s := p.Stats(); s.Open != 1 || s.Warm != 1 {
		t.Errorf("stats %+v", s)
	}
}

func TestBudgetIsKept(t *testing.T) {
	t.Parallel()
	p, f := setup(t, 2)
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			name := string(rune('a' + i%5))
			w, err := p.Acquire(t.Context(), launch(name, "echo"))
			if err != nil {
				t.Error(err)
				return
			}
			if s := p.Stats(); s.Open > 2 {
				t.Errorf("%d slots open", s.Open)
			}
			if _, err := w.Run(t.Context(), Task{}); err != nil {
				t.Error(err)
			}
			w.Release()
		})
	}
	wg.Wait()
	if open := f.opened.Load() - f.closed.Load(); open > 2 {
		t.Errorf("%d slots open", open)
	}
}

func TestAcquireEndsWithItsContextAndWakesTheNext(t *testing.T) {
	t.Parallel()
	p, _ := setup(t, 1)
	held, err := p.Acquire(t.Context(), launch("x", "echo"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Acquire(ctx, launch("x", "echo")); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	got := make(chan error, 1)
	go func() {
		w, err := p.Acquire(t.Context(), launch("y", "echo"))
		if err == nil {
			w.Release()
		}
		got <- err
	}()
	held.Release()
	if err := <-got; err != nil {
		t.Fatal(err)
	}
}

func TestBrokenSlotIsReplaced(t *testing.T) {
	t.Parallel()
	p, f := setup(t, 1)
	w, err := p.Acquire(t.Context(), launch("x", "echo"))
	if err != nil {
		t.Fatal(err)
	}
	close(w.entry.slot.(*fakeSlot).done)
	w.Release()
	do(t, p, launch("x", "echo"), Task{})
	if n := f.opened.Load(); n != 2 {
		t.Errorf("%d slots opened, want 2", n)
	}
}

func TestFailureToOpenGivesThePlaceBack(t *testing.T) {
	t.Parallel()
	p, f := setup(t, 1)
	f.fail.Store(true)
	if _, err := p.Acquire(t.Context(), launch("x", "echo")); err == nil {
		t.Fatal("no error")
	}
	f.fail.Store(false)
	do(t, p, launch("x", "echo"), Task{})
}

func TestIdleSlotsAreClosedDownToTheKept(t *testing.T) {
	t.Parallel()
	p, f := setup(t, 4)
	if err := p.Keep(t.Context(), launch("kept", "echo"), 1); err != nil {
		t.Fatal(err)
	}
	do(t, p, launch("other", "echo"), Task{})
	p.closeIdle(time.Now().Add(time.Hour))
	if s := p.Stats(); s.Open != 1 || f.closed.Load() != 1 {
		t.Errorf("stats %+v, %d closed", s, f.closed.Load())
	}
}

func TestStop(t *testing.T) {
	t.Parallel()
	p, _ := setup(t, 1)
	p.Stop()
	if _, err := p.Acquire(t.Context(), launch("x", "echo")); !errors.Is(err, errStopped) {
		t.Fatalf("got %v", err)
	}
}
