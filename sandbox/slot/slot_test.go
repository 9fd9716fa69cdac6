package slot

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/millrace/millrace/sandbox"
	"github.com/millrace/millrace/sandbox/sandboxtest"
)

var built struct {
	once sync.Once
	dir  string
	err  error
}

func TestMain(m *testing.M) {
	status := m.Run()
	if built.dir != "" {
		_ = os.RemoveAll(built.dir)
	}
	os.Exit(status)
}

// build makes bin/millrace-jail and lib/forker from source, once a run, where every user can reach them.
func build(t testing.TB) string {
	t.Helper()
	if dir := os.Getenv(builtEnv); dir != "" {
		return dir
	}
	if compiler := os.Getenv("MILLRACE_GO"); filepath.IsAbs(compiler) { // sudo has a PATH of its own
		t.Setenv("PATH", filepath.Dir(compiler)+":"+os.Getenv("PATH"))
	}
	for _, tool := range []string{"gcc", "go"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("no %s here", tool)
		}
	}
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "slot"); built.err != nil {
			return
		}
		script := `set -e; chmod 755 "$0"; mkdir "$0/bin" "$0/lib"; cd ../forker/csrc
gcc -std=gnu11 -O2 -static -o "$0/lib/forker" main.c loop.c confine.c launch.c hold.c touch.c filter.c landlock.c
cd ../../.. && CGO_ENABLED=1 go build -buildvcs=false -o "$0/bin/millrace-jail" ./cmd/millrace-jail`
		if out, err := exec.Command("/bin/sh", "-c", script, built.dir).CombinedOutput(); err != nil {
			built.err = fmt.Errorf("%w\n%s", err, out)
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return built.dir
}

// place is a helper's surroundings, made for one test.
type place struct {
	helper Helper
	state  string
	cgroup string
}

func newPlace(t testing.TB) place {
	t.Helper()
	dir, err := os.MkdirTemp("", "slots")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	p := place{state: filepath.Join(dir, "state"), cgroup: "/" + filepath.Base(dir)}
	b := build(t)
	p.helper = Helper{Path: b + "/bin/millrace-jail", Lib: b + "/lib", Cache: filepath.Join(dir, "cache"),
		Extra: []string{"--state", p.state, "--cgroup-parent", p.cgroup, "--verbose"}}
	t.Cleanup(func() {
		p.clean(t)
		for _, parent := range append(groups(p.cgroup), "") {
			_ = os.Remove(parent)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return p
}

// groups lists the directories of a control group in all hierarchies.
func groups(path string) []string {
	a, _ := filepath.Glob("/sys/fs/cgroup/*" + path)
	b, _ := filepath.Glob("/sys/fs/cgroup" + path)
	return append(a, b...)
}

// clean says what a helper that has ended left.
func (p place) clean(t testing.TB) {
	t.Helper()
	if left := groups(p.cgroup + "/*-*"); len(left) > 0 {
		t.Errorf("control groups left: %v", left)
	}
	if entries, _ := os.ReadDir(p.state); len(entries) > 0 {
		t.Errorf("state left: %v", entries)
	}
	if mounts, err := os.ReadFile("/proc/self/mountinfo"); err != nil || strings.Contains(string(mounts), p.state) {
		t.Errorf("mounts left (%v)", err)
	}
	if pids := processesNamed("/millrace/forker"); len(pids) > 0 && os.Getenv(asUserEnv) == "" {
		for _, pid := range pids {
			if root, _ := os.ReadFile("/proc/" + pid + "/mountinfo"); strings.Contains(string(root), filepath.Dir(p.state)) {
				t.Errorf("process %s left", pid)
			}
		}
	}
}

func processesNamed(name string) []string {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	var out []string
	for _, f := range files {
		if data, _ := os.ReadFile(f); strings.HasPrefix(string(data), name) {
			out = append(out, strings.Split(f, "/")[2])
		}
	}
	return out
}

func spawn(t testing.TB, p place) *Isolator {
	t.Helper()
	i, err := Spawn(context.Background(), p.helper, Options{Log: zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.ErrorLevel)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := i.Close(); err != nil {
			t.Error(err)
		}
	})
	return i
}

func root(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
}

// networked opens templates with a network of the test's choice.
type networked struct {
	*Isolator
	network sandbox.Network
}

func (n networked) Open(ctx context.Context, t sandbox.Template) (sandbox.Slot, error) {
	t.Network = n.network
	return n.Isolator.Open(ctx, t)
}

// TestFull runs the suites over one helper a network, which must be as good for the last test as for the first.
func TestFull(t *testing.T) {
	root(t)
	for _, n := range []sandbox.Network{sandbox.NetworkNone, sandbox.NetworkHost} {
		t.Run(string(n), func(t *testing.T) {
			i := networked{spawn(t, newPlace(t)), n}
			if s := i.Strength(); s.Mode != "full" || len(s.Lacks) > 0 {
				t.Logf("strength %+v", s)
			}
			open := func(*testing.T) sandbox.Isolator { return i }
			t.Run("Exercise", func(t *testing.T) { sandboxtest.Exercise(t, open) })
		})
	}
}

const (
	asUserEnv = "SLOT_TEST_AS_USER"
	builtEnv  = "SLOT_TEST_BUILT"
)

// run starts spec in s and waits for its end.
func run(t testing.TB, s sandbox.Slot, spec sandbox.Spec) (sandbox.Exit, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	p, err := s.Start(ctx, spec)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	out, err := io.ReadAll(p.Output())
	if err != nil {
		t.Fatal(err)
	}
	e, err := p.Wait(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return e, string(out)
}

func shell(script string) sandbox.Spec {
	return sandbox.Spec{Argv: []string{"/bin/sh", "-c", script}, Env: []string{"PATH=/usr/bin:/bin"}}
}
