package runtimetest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/millrace/millrace/runtimes"
	"github.com/millrace/millrace/runtimes/frame"
	"github.com/millrace/millrace/sandbox"
	"github.com/millrace/millrace/sandbox/slot"
)

// Needles that no search may find: they are made of two halves, so that this very program's text does not hold them.
var (
	secretArgument = "argument-" + strings.Repeat("5ecre7", 4)
	secretToken    = "token-" + strings.Repeat("5ecre7", 4)
)

// checkSecrets runs testdata/hold/hold.txtar, a program that prints "holding" and then waits, with a secret argument and a
// secret variable, and looks for them where anybody on the host could: in the arguments and the environment of every process,
// in what the sandbox logs and answers, and in the memory of the slot's other processes. It needs slots and root.
func checkSecrets(t *testing.T, rt runtimes.Runtime, o Options) {
	helper := os.Getenv("MILLRACE_TEST_JAIL")
	if helper == "" || os.Geteuid() != 0 || o.Isolator != nil {
		t.Skip("needs real slots (MILLRACE_TEST_JAIL) and root")
	}
	cases := readArchives(t, "testdata/hold")
	if len(cases) != 1 {
		t.Fatalf("%d programs in testdata/hold, want one that prints holding and then waits", len(cases))
	}
	d := newDriver(t, rt, o)
	var said bytes.Buffer
	lib := o.Lib
	if lib == "" {
		lib = libFolder()
	}
	walls, err := slot.Spawn(t.Context(), slot.Helper{Path: helper, Lib: lib, Cache: Cache(t, rt.Info().Name+"-hold"), Extra: []string{"--verbose"}},
		slot.Options{Log: zerolog.New(zerolog.SyncWriter(&said)).Level(zerolog.TraceLevel)})
	if err != nil {
		t.Fatal(err)
	}
	d.Isolator = walls
	holdAndLook(t, d, cases[0])
	if err := walls.Close(); err != nil {
		t.Error(err)
	}
	if found := needle(said.Bytes()); found != "" { // only now has everybody stopped writing to it
		t.Errorf("the log tells the %s:\n%s", found, said.Bytes())
	}
}

func holdAndLook(t *testing.T, d *Driver, a *archive) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	source, _ := a.get("source")
	p := program(a, d.Runtime.Info().Name, source)
	args, _ := json.Marshal(map[string]string{"x": secretArgument})
	c := runtimes.Call{Args: args, Env: runtimes.Env{{Name: "WM_TOKEN", Value: secretToken}}}
	var out Outcome
	l, err := d.prepare(ctx, &p, &out)
	if err != nil {
		t.Fatal(err)
	}
	spec := l.Spec
	var request []byte
	if b, ok := d.Runtime.(runtimes.Binder); ok {
		spec, err = b.Bind(l, p, c)
	} else {
		q := frame.Request{Source: l.Source, Path: p.Path, Entry: l.Entry, Env: c.Env, Args: c.Args}
		request, err = q.AppendTo(nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	if l.Exec != "" {
		if spec.Exec, err = os.Open(l.Exec); err != nil {
			t.Fatal(err)
		}
		defer spec.Exec.Close()
	}
	s, err := d.Isolator.Open(ctx, l.Template)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	proc, err := s.Start(ctx, spec)
	if err != nil {
		t.Fatal(err)
	}
	defer proc.Close()
	if _, err := proc.Conn().Write(request); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(proc.Output())
	if line, err := lines.ReadString('\n'); strings.TrimSpace(line) != "holding" {
		rest, _ := io.ReadAll(lines)
		t.Fatalf("the program said %q, %v\n%s", line, err, rest)
	}
	look(t)
	if err := errors.Join(proc.Kill(), ignoreExit(proc.Wait(ctx))); err != nil {
		if needle([]byte(err.Error())) != "" {
			t.Error("an error tells a secret")
		}
		t.Error(err)
	}
}

func ignoreExit(e sandbox.Exit, err error) error {
	if needle([]byte(e.Error)) != "" {
		return errors.New("the exit tells a secret")
	}
	return err
}

func needle(data []byte) string {
	switch {
	case bytes.Contains(data, []byte(secretArgument)):
		return "argument"
	case bytes.Contains(data, []byte(secretToken)):
		return "token"
	}
	return ""
}

// look searches the processes of the machine.
func look(t *testing.T) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	here, jobs, forkers := depth("/proc/self"), 0, 0
	for _, dir := range dirs {
		cmdline, err := os.ReadFile(dir + "/cmdline")
		if err != nil {
			continue // it has ended
		}
		if found := needle(cmdline); found != "" {
			t.Errorf("%s: the arguments %q tell the %s", dir, cmdline, found)
		}
		switch depth(dir) - here {
		case 2:
			jobs++ // the job and what it started: its own environment is its own
			continue
		case 1:
			forkers++
			if found := inMemory(dir); found != "" {
				t.Errorf("%s, %q, which forks jobs, has the %s in its memory", dir, cmdline, found)
			}
		}
		if environ, err := os.ReadFile(dir + "/environ"); err == nil && needle(environ) != "" {
			t.Errorf("%s, %q: its environment tells the %s", dir, cmdline, needle(environ))
		}
	}
	if jobs == 0 || forkers < 2 {
		t.Errorf("found %d processes of jobs and %d of slots, so that nothing is proved", jobs, forkers)
	}
}

// depth is in how many pid namespaces a process is known.
func depth(dir string) int {
	data, err := os.ReadFile(dir + "/status")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(data), "\nNSpid:")
	line, _, _ := strings.Cut(rest, "\n")
	return len(strings.Fields(line))
}

// inMemory searches what a process can write: heap, stacks and data.
func inMemory(dir string) string {
	maps, err := os.ReadFile(dir + "/maps")
	if err != nil {
		return ""
	}
	mem, err := os.Open(dir + "/mem")
	if err != nil {
		return ""
	}
	defer mem.Close()
	for line := range strings.Lines(string(maps)) {
		var from, to int64
		var mode string
		if _, err := fmt.Sscanf(line, "%x-%x %s", &from, &to, &mode); err != nil || !strings.HasPrefix(mode, "rw") || to-from > 256<<20 {
			continue
		}
		data := make([]byte, to-from)
		n, _ := mem.ReadAt(data, from)
		if found := needle(data[:n]); found != "" {
			return found
		}
	}
	return ""
}
