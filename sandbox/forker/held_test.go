package forker_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/millrace/millrace/sandbox"
	"github.com/millrace/millrace/sandbox/forker"
	"github.com/millrace/millrace/sandbox/sandboxtest"
)

// heldFirst is the harness, but every process is held before it becomes what was asked for.
type heldFirst struct{ *harness }

func (h heldFirst) Open(ctx context.Context, t sandbox.Template) (sandbox.Slot, error) {
	s, err := h.harness.Open(ctx, t)
	if err != nil {
		return nil, err
	}
	return heldSlot{s.(*harnessSlot)}, nil
}

type heldSlot struct{ *harnessSlot }

func (s heldSlot) Start(ctx context.Context, spec sandbox.Spec) (sandbox.Process, error) {
	p, err := s.Hold(ctx, spec.Limits)
	if err != nil {
		return nil, err
	}
	if err := p.Become(spec); err != nil {
		_ = p.Kill()
		_, _ = p.Wait(ctx)
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// What is told later runs as, and is confined as, what was told at once.
func TestExerciseHeld(t *testing.T) {
	sandboxtest.Exercise(t, func(t *testing.T) sandbox.Isolator { needRoot(t); return heldFirst{&harness{t: t}} })
}

func TestExerciseHeldRootless(t *testing.T) {
	sandboxtest.Exercise(t, func(t *testing.T) sandbox.Isolator { return heldFirst{&harness{t: t, rootless: true}} })
}

func held(t *testing.T) (sandbox.Slot, sandbox.Held) {
	t.Helper()
	needRoot(t)
	slot, err := (&harness{t: t}).Open(context.Background(), sandbox.Template{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { slot.Close() })
	p, err := slot.(sandbox.Holder).Hold(context.Background(), sandbox.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return slot, p
}

// A held process that nobody wants ends by itself and leaves the slot free.
func TestHeldIsLetGo(t *testing.T) {
	slot, p := held(t)
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if e, err := p.Wait(context.Background()); err != nil || e.Code != 0 && e.Signal != 9 {
		t.Errorf("%+v %v", e, err)
	}
	if err := p.Become(sandbox.Spec{Argv: []string{"/bin/true"}}); err == nil {
		t.Error("a closed process became something")
	}
	q, err := slot.Start(context.Background(), sandbox.Spec{Argv: []string{"/bin/bash", "-c", "exit 4"}})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	if e, _ := finish(t, q); e.Code != 4 {
		t.Errorf("%+v", e)
	}
}

func TestHeldBecomesOneProgram(t *testing.T) {
	_, p := held(t)
	defer p.Close()
	if err := p.Become(sandbox.Spec{Argv: []string{"/bin/bash", "-c", "echo $$ $A"}, Env: []string{"A=a"}}); err != nil {
		t.Fatal(err)
	}
	if err := p.Become(sandbox.Spec{Argv: []string{"/bin/bash", "-c", "echo twice"}}); err == nil {
		t.Error("became a second program")
	}
	if e, out := finish(t, p); e.Code != 0 || e.Error != "" || out != "1 a\n" {
		t.Errorf("%+v %q", e, out)
	}
}

func TestHeldThatWasKilled(t *testing.T) {
	_, p := held(t)
	defer p.Close()
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	if e, err := p.Wait(context.Background()); err != nil || e.Signal != 9 {
		t.Errorf("%+v %v", e, err)
	}
	if err := p.Become(sandbox.Spec{Argv: []string{"/bin/true"}}); err != nil {
		t.Errorf("its end is told by Wait: %v", err)
	}
}

// TestTold: a good end is known before the process is gone, and complete; any other is left to Wait.
func TestTold(t *testing.T) {
	needRoot(t)
	slot, err := (&harness{t: t, options: forker.Options{UsageNow: func() sandbox.Usage { return sandbox.Usage{MemoryPeak: 5} }}}).Open(
		context.Background(), sandbox.Template{})
	if err != nil {
		t.Fatal(err)
	}
	defer slot.Close()
	ctx := context.Background()
	for _, c := range []struct {
		script, output, collected string
		told                      bool
	}{
		{"(trap '' HUP; while :; do :; done) & echo out; printf '[1]' > r", "out\n", "[1]", true},
		{"echo $((1 + 1))", "2\n", "", true},
		{"echo no; exit 3", "no\n", "", false},
		{"kill -9 $$", "", "", false},
	} {
		p, err := slot.Start(ctx, sandbox.Spec{Argv: []string{"/bin/bash", "-c", c.script}, Init: true, Collect: "r"})
		if err != nil {
			t.Fatal(err)
		}
		e, told := p.(sandbox.Teller).Told(ctx)
		if told != c.told || told && (e.Code != 0 || e.Usage.MemoryPeak != 5) {
			t.Errorf("%s: told %v %+v", c.script, told, e)
		}
		p.(sandbox.Settler).Settle()
		out, _ := io.ReadAll(p.Output())
		collected, _ := p.Collected()
		if string(out) != c.output || string(collected) != c.collected {
			t.Errorf("%s: output %q, collected %q", c.script, out, collected)
		}
		if e, err := p.Wait(ctx); err != nil || told && e.Code != 0 || !told && e.Code == 0 {
			t.Errorf("%s: %+v %v", c.script, e, err)
		}
		p.Close()
	}
	p, err := slot.Start(ctx, sandbox.Spec{Argv: []string{"/bin/bash", "-c", "read x <&3"}, Init: true, Collect: "r"})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	over, cancel := context.WithCancel(ctx)
	cancel()
	if _, told := p.(sandbox.Teller).Told(over); told {
		t.Error("told of a program that runs")
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, told := p.(sandbox.Teller).Told(ctx); told {
		t.Error("told of an init that was killed")
	}
}

func BenchmarkHeldExec(b *testing.B) {
	needRoot(b)
	slot, err := (&harness{t: b}).Open(context.Background(), sandbox.Template{})
	if err != nil {
		b.Fatal(err)
	}
	defer slot.Close()
	program := sandboxtest.Probe(b)
	for b.Loop() {
		b.StopTimer()
		p, err := slot.(sandbox.Holder).Hold(context.Background(), sandbox.Limits{})
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if err := p.Become(sandbox.Spec{Argv: []string{"probe", "exit", "0"}, Exec: program}); err != nil {
			b.Fatal(err)
		}
		if e, err := p.Wait(context.Background()); err != nil || e.Code != 0 {
			b.Fatalf("%+v %v", e, err)
		}
		p.Close()
	}
}

// What a held process gets and cannot read is an error of its own, not the slot's.
func TestHeldMessageIsChecked(t *testing.T) {
	_, p := held(t)
	defer p.Close()
	err := p.Become(sandbox.Spec{Argv: []string{"/bin/true"}, Files: []sandbox.File{{Name: "big", Data: make([]byte, 1<<20)}},
		Env: []string{"PAD=" + strings.Repeat("x", 100<<10)}})
	if err != nil {
		t.Fatal(err)
	}
	if e, out := finish(t, p); e.Code != 0 || e.Error != "" {
		t.Errorf("a request in a file: %+v %q", e, out)
	}
}
