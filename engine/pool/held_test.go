package pool

import (
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"

	"github.com/rs/zerolog"

	"github.com/millrace/millrace/runtimes"
	"github.com/millrace/millrace/sandbox"
)

// holding is the fake isolator with slots that can hold a process.
type holding struct {
	fake
	held, became atomic.Int64
	last         atomic.Pointer[sandbox.Limits] // that a process was held with
}

func (h *holding) Open(ctx context.Context, t sandbox.Template) (sandbox.Slot, error) {
	s, err := h.fake.Open(ctx, t)
	if err != nil {
		return nil, err
	}
	return &holdingSlot{s.(*fakeSlot), h}, nil
}

type holdingSlot struct {
	*fakeSlot
	h *holding
}

func (s *holdingSlot) Hold(_ context.Context, l sandbox.Limits) (sandbox.Held, error) {
	s.h.held.Add(1)
	s.h.last.Store(&l)
	here, there := net.Pipe()
	out, in := io.Pipe()
	p := &fakeProc{conn: here, out: out, exit: make(chan sandbox.Exit, 1), killed: make(chan struct{})}
	return &heldProc{p, s.h, there, in}, nil
}

type heldProc struct {
	*fakeProc
	h     *holding
	there net.Conn
	in    *io.PipeWriter
}

func (p *heldProc) Become(s sandbox.Spec) error {
	if len(s.Argv) > 0 && s.Argv[0] == "impossible" {
		return errors.New("cannot be run")
	}
	p.h.became.Add(1)
	go p.live(p.there, p.in, s)
	return nil
}

func (p *heldProc) Kill() error {
	err := p.fakeProc.Kill()
	select {
	case p.exit <- sandbox.Exit{Signal: 9}:
	default:
	}
	return err
}

func (p *heldProc) Close() error { return p.Kill() }

// program is a launch of something that is executed, and so cannot be started before its job is known.
func program(source string) runtimes.Launch {
	l := launch("exec", source)
	l.Warm, l.Spec.Argv = false, []string{"program"}
	l.Exec = "/dev/null"
	return l
}

func setupHolding(t *testing.T) (*Pool, *holding) {
	t.Helper()
	h := &holding{}
	p, err := New(Config{Isolator: h, MaxSlots: 1, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	return p, h
}

// ready waits for the process that is held in the pool's one slot.
func ready(t *testing.T, p *Pool, l runtimes.Launch) {
	t.Helper()
	w, err := p.Acquire(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	<-w.entry.ready
	w.Release()
}

func TestProgramsBecomeAHeldProcess(t *testing.T) {
	t.Parallel()
	p, h := setupHolding(t)
	for range 4 {
		if r := do(t, p, program("echo"), Task{}); string(r.Value) != `{"a":1}` {
			t.Fatalf("%+v", r)
		}
	}
	ready(t, p, program("echo"))
	if held, became, cold := h.held.Load(), h.became.Load(), h.starts.Load(); held != 4 || became != 3 || cold != 1 {
		t.Errorf("%d held, %d of them became programs, %d started when they were wanted; want 4, 3, 1", held, became, cold)
	}
	if s := p.Stats(); s.Warm != 1 {
		t.Errorf("%+v", s)
	}
}

func TestHeldProcessHasTheWallsOfTheLastRun(t *testing.T) {
	t.Parallel()
	p, h := setupHolding(t)
	small := Task{Limits: sandbox.Limits{Memory: 64 << 20}}
	do(t, p, program("echo"), small)
	ready(t, p, program("echo"))
	if l := h.last.Load(); l.Memory != 64<<20 {
		t.Errorf("held with %+v", l)
	}
	do(t, p, program("echo"), small)
	ready(t, p, program("echo"))
	if n := h.became.Load(); n != 1 {
		t.Errorf("%d held processes were used, want 1", n)
	}
	do(t, p, program("echo"), Task{}) // other walls: what was held is of no use
	if became, cold := h.became.Load(), h.starts.Load(); became != 1 || cold != 2 {
		t.Errorf("%d became programs, %d started when they were wanted", became, cold)
	}
}

// refuser binds nothing.
type refuser struct{}

func (refuser) Bind(runtimes.Launch, runtimes.Program, runtimes.Call) (sandbox.Spec, error) {
	return sandbox.Spec{}, &runtimes.Failure{Name: "ArgumentError", Message: "no"}
}

func TestBadArgumentsUseUpNothing(t *testing.T) {
	t.Parallel()
	p, h := setupHolding(t)
	do(t, p, program("echo"), Task{})
	ready(t, p, program("echo"))
	for range 3 {
		w, err := p.Acquire(t.Context(), program("echo"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Run(t.Context(), Task{Binder: refuser{}}); err == nil {
			t.Error("ran without arguments")
		}
		w.Release()
	}
	do(t, p, program("echo"), Task{})
	if held, became := h.held.Load(), h.became.Load(); became != 1 || held > 3 {
		t.Errorf("%d held, %d became programs", held, became)
	}
}

func TestProgramThatCannotBeRunFreesItsSlot(t *testing.T) {
	t.Parallel()
	p, h := setupHolding(t)
	do(t, p, program("echo"), Task{})
	ready(t, p, program("echo"))
	l := program("echo")
	l.Spec.Argv = []string{"impossible"}
	w, err := p.Acquire(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Run(t.Context(), Task{}); err == nil {
		t.Error("no error")
	}
	w.Release()
	if r := do(t, p, program("echo"), Task{}); string(r.Value) != `{"a":1}` {
		t.Errorf("%+v", r)
	}
	if n := h.opened.Load(); n != 1 {
		t.Errorf("%d slots opened", n)
	}
}
