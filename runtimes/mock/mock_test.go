package mock_test

import (
	"context"
	"io"
	"testing"

	"github.com/millrace/millrace/runtimes/frame"
	"github.com/millrace/millrace/runtimes/mock"
	"github.com/millrace/millrace/runtimes/runtimetest"
	"github.com/millrace/millrace/sandbox"
)

var without = map[string]string{"default": "the language has no expressions"}

func TestMock(t *testing.T) {
	runtimetest.Exercise(t, mock.New(), runtimetest.Options{Isolator: mock.NewIsolator(nil), Without: without})
}

func TestWarmMock(t *testing.T) {
	runtimetest.Exercise(t, &mock.Runtime{Warm: true}, runtimetest.Options{Isolator: mock.NewIsolator(nil), Without: without})
}

// start runs source in a slot of its own.
func start(t *testing.T, source string) (sandbox.Slot, sandbox.Process) {
	t.Helper()
	s, err := mock.NewIsolator(nil).Open(t.Context(), sandbox.Template{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	p, err := s.Start(t.Context(), sandbox.Spec{Argv: []string{"mock"}})
	if err != nil {
		t.Fatal(err)
	}
	b, err := (&frame.Request{Source: []byte(source)}).AppendTo(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Conn().Write(b); err != nil {
		t.Fatal(err)
	}
	return s, p
}

func TestKillEndsEverything(t *testing.T) {
	for _, source := range []string{"hang", "sleep 1h", "spam 100000000", "stream nobody reads this"} {
		s, p := start(t, source)
		if _, err := s.Start(t.Context(), sandbox.Spec{Argv: []string{"mock"}}); err == nil {
			t.Error("a second process was started beside the first")
		}
		if err := p.Kill(); err != nil {
			t.Error(err)
		}
		if exit, err := p.Wait(t.Context()); err != nil || exit.Signal != 9 || exit.Code != 137 {
			t.Errorf("%s: got %+v, %v", source, exit, err)
		}
		if _, err := io.ReadAll(p.Output()); err != nil {
			t.Errorf("%s: output after the end: %v", source, err)
		}
		if _, err := io.ReadAll(p.Conn()); err != nil {
			t.Errorf("%s: connection after the end: %v", source, err)
		}
		if p, err := s.Start(t.Context(), sandbox.Spec{Argv: []string{"mock"}}); err != nil || p.Close() != nil {
			t.Errorf("%s: the slot cannot be used again: %v", source, err)
		}
	}
}

func TestWaitHonoursContext(t *testing.T) {
	_, p := start(t, "hang")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Wait(ctx); err != context.Canceled {
		t.Errorf("got %v", err)
	}
}

func TestOOM(t *testing.T) {
	_, p := start(t, "oom")
	if exit, err := p.Wait(t.Context()); err != nil || !exit.OOM || exit.Code != 137 {
		t.Errorf("got %+v, %v", exit, err)
	}
}

func TestBrokenSlot(t *testing.T) {
	s, p := start(t, "break")
	if _, err := p.Wait(t.Context()); err == nil {
		t.Error("the slot broke and Wait knows nothing of it")
	}
	<-s.Done()
	if _, err := s.Start(t.Context(), sandbox.Spec{}); err == nil {
		t.Error("a process was started in a broken slot")
	}
}

func TestUnknownProgram(t *testing.T) {
	s, err := mock.NewIsolator(nil).Open(t.Context(), sandbox.Template{})
	if err != nil {
		t.Fatal(err)
	}
	p, err := s.Start(t.Context(), sandbox.Spec{Argv: []string{"/bin/true"}})
	if err != nil {
		t.Fatal(err)
	}
	if exit, err := p.Wait(t.Context()); err != nil || exit.Code != 127 || exit.Error == "" {
		t.Errorf("got %+v, %v", exit, err)
	}
}
