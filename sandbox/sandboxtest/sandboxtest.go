// Package sandboxtest is the one suite for every sandbox.Isolator: Exercise says that processes run as their Spec asks, Escape
// that they cannot get out. What an isolator says it lacks (Strength) is left out, aloud.
//
// Both run processes of the base system (/bin/bash) and one static helper, compiled once with gcc from testdata and executed by
// descriptor, so a slot needs nothing for them. The helper holds the probes: one a function, in a file a subject.
package sandboxtest

import (
	"cmp"
	"context"
	"embed"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/sandbox"
)

// Open makes the isolator under test; it registers its own cleanup.
type Open func(t *testing.T) sandbox.Isolator

//go:embed testdata/*.c testdata/*.h
var probeSource embed.FS

var probe struct {
	once sync.Once
	file *os.File // holds the removed binary
	err  error
}

// Probe returns an open helper binary, which lives as long as the test.
func Probe(t testing.TB) *os.File {
	t.Helper()
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		t.Skip("gcc is needed to build the probe")
	}
	probe.once.Do(func() {
		var dir string
		if dir, probe.err = os.MkdirTemp("", "millrace-probe-"); probe.err != nil {
			return
		}
		defer os.RemoveAll(dir) // removed once it is open: every test opens it through /proc
		if probe.err = os.CopyFS(dir, probeSource); probe.err != nil {
			return
		}
		sources, _ := filepath.Glob(filepath.Join(dir, "testdata/*.c"))
		bin := filepath.Join(dir, "probe")
		if out, err := exec.Command(gcc, append([]string{"-static", "-O1", "-Wall", "-o", bin}, sources...)...).CombinedOutput(); err != nil {
			t.Logf("%s", out)
			probe.err = err
			return
		}
		probe.file, probe.err = os.Open(bin)
	})
	if probe.err != nil {
		t.Fatalf("build the probe: %v", probe.err)
	}
	f, err := os.Open("/proc/self/fd/" + itoa(int(probe.file.Fd())))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// Result is a process that has ended.
type Result struct {
	sandbox.Exit
	Output    string
	Collected []byte
	Found     bool
}

// bench is one slot of the isolator under test.
type bench struct {
	t        *testing.T
	isolator sandbox.Isolator
	slot     sandbox.Slot
	strength sandbox.Strength
	network  sandbox.Network // empty: none
}

func setup(t *testing.T, open Open) *bench {
	t.Helper()
	b := &bench{t: t, isolator: open(t)}
	b.strength = b.isolator.Strength()
	b.slot = b.open()
	return b
}

func (b *bench) open() sandbox.Slot {
	b.t.Helper()
	s, err := b.isolator.Open(context.Background(), sandbox.Template{Name: "test", Network: cmp.Or(b.network, sandbox.NetworkNone)})
	if err != nil {
		b.t.Fatalf("open slot: %v", err)
	}
	b.t.Cleanup(func() { s.Close() })
	return s
}

func (b *bench) walls() bool { return b.strength.Mode != "none" }

// need skips the test when the wall called what is missing.
func (b *bench) need(what string) {
	b.t.Helper()
	if !b.walls() || b.strength.Lacking(what) {
		b.t.Skipf("mode %q lacks %s", b.strength.Mode, what)
	}
}

func (b *bench) start(s sandbox.Spec) sandbox.Process {
	b.t.Helper()
	p, err := b.slot.Start(context.Background(), s)
	if err != nil {
		b.t.Fatalf("start: %v", err)
	}
	b.t.Cleanup(func() { p.Close() })
	return p
}

// run starts s and waits for its end.
func (b *bench) run(s sandbox.Spec) Result {
	b.t.Helper()
	return finish(b.t, b.start(s))
}

func finish(t testing.TB, p sandbox.Process) Result {
	t.Helper()
	out := make(chan string, 1)
	go func() {
		data, _ := io.ReadAll(p.Output())
		out <- string(data)
	}()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	e, err := p.Wait(ctx)
	if err != nil {
		t.Fatalf("wait: %v", err)
	}
	r := Result{Exit: e, Output: <-out}
	r.Collected, r.Found = p.Collected()
	p.Close()
	return r
}

// bash is a Spec that runs a script under the minimal init.
func bash(script string) sandbox.Spec {
	return sandbox.Spec{Argv: []string{"/bin/bash", "-c", script}, Env: []string{"PATH=/usr/bin:/bin"}, Init: true}
}

func (b *bench) probe(args ...string) sandbox.Spec {
	return sandbox.Spec{Argv: append([]string{"probe"}, args...), Exec: Probe(b.t)}
}
