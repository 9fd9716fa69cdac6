package build_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/millrace/millrace/runtimes"
	"github.com/millrace/millrace/runtimes/build"
	"github.com/millrace/millrace/runtimes/mock"
	"github.com/millrace/millrace/sandbox"
)

// bench is a builder over programs that run in goroutines.
type bench struct {
	*build.Builder
	dir      string
	programs map[string]mock.Program
	isolator *mock.Isolator
}

func setup(t *testing.T, change func(*build.Config)) *bench {
	t.Helper()
	b := &bench{dir: filepath.Join(t.TempDir(), "cache"), programs: map[string]mock.Program{}}
	b.programs["write"] = func(t *mock.Task) int { // write NAME TEXT
		fmt.Fprintln(t.Output, "writing", t.Spec.Argv[1])
		if err := os.WriteFile(t.Host(t.Spec.Argv[1]), []byte(t.Spec.Argv[2]), 0o644); err != nil {
			fmt.Fprintln(t.Output, err)
			return 1
		}
		return 0
	}
	b.programs["fail"] = func(t *mock.Task) int {
		fmt.Fprintln(t.Output, "it does not work")
		return 7
	}
	b.isolator = mock.NewIsolator(b.programs)
	c := build.Config{Isolator: b.isolator, CacheDir: b.dir, Log: zerolog.New(zerolog.NewTestWriter(t))}
	if change != nil {
		change(&c)
	}
	var err error
	if b.Builder, err = build.New(c); err != nil {
		t.Fatal(err)
	}
	return b
}

func recipe(key string, steps ...[]string) *runtimes.Recipe {
	r := &runtimes.Recipe{Key: key, Template: sandbox.Template{Name: "build"}}
	for _, argv := range steps {
		r.Steps = append(r.Steps, runtimes.Step{Title: "step " + argv[0], Spec: sandbox.Spec{Argv: argv}})
	}
	return r
}

// left are the names in a folder of the cache.
func (b *bench) left(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(b.dir, dir))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

func TestBuildsOnce(t *testing.T) {
	b := setup(t, nil)
	r := recipe("k-1", []string{"write", "/out/a", "one"}, []string{"write", "/out/b", "two"})
	var log bytes.Buffer
	a, err := b.Run(t.Context(), "ws", r, &log)
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(filepath.Join(a.Dir, "b")); string(got) != "two" {
		t.Errorf("b is %q", got)
	}
	if want := "step write\nwriting /out/a\nstep write\nwriting /out/b\n"; log.String() != want {
		t.Errorf("log %q", log.String())
	}
	if info, err := os.Stat(a.Dir); err != nil || info.Mode().Perm() != 0o775 {
		t.Errorf("artifact: %v, %v", info.Mode(), err)
	}
	again, err := b.Run(t.Context(), "ws", r, nil)
	if err != nil || again != a || b.isolator.Opened() != 1 || b.isolator.Started() != 2 {
		t.Errorf("again: %v, %v; %d slots, %d processes", again, err, b.isolator.Opened(), b.isolator.Started())
	}
	// A daemon that starts anew finds it without any isolator at work.
	b.Builder, err = build.New(build.Config{Isolator: b.isolator, CacheDir: b.dir})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := b.Run(t.Context(), "other", r, nil); err != nil || got != a || b.isolator.Opened() != 1 {
		t.Errorf("after a restart: %v, %v", got, err)
	}
}

func TestFailureLeavesNothing(t *testing.T) {
	var removed []string
	b := setup(t, func(c *build.Config) {
		c.Remove = func(path string) error {
			removed = append(removed, filepath.Base(path))
			return os.RemoveAll(path)
		}
	})
	_, err := b.Run(t.Context(), "ws", recipe("bad", []string{"write", "/out/a", "x"}, []string{"fail"}, []string{"write", "/out/b", ""}), nil)
	var step *build.StepError
	if !errors.As(err, &step) || step.Exit.Code != 7 || step.Recipe != "bad" || step.Error() != "step fail: exit status 7\nit does not work" {
		t.Fatalf("got %v", err)
	}
	if b.left(t, "out")+b.left(t, "tmp") != "" || len(removed) != 1 || b.isolator.Started() != 2 {
		t.Errorf("left %q and %q, removed %q", b.left(t, "out"), b.left(t, "tmp"), removed)
	}
	if _, err := b.Run(t.Context(), "ws", recipe("bad", []string{"write", "/out/a", "x"}), nil); err != nil {
		t.Errorf("a failed build may be tried again: %v", err)
	}
}

func TestSingleFlight(t *testing.T) {
	b := setup(t, nil)
	begun, goOn := make(chan struct{}), make(chan struct{})
	b.programs["wait"] = func(t *mock.Task) int {
		fmt.Fprintln(t.Output, "early")
		close(begun)
		<-goOn
		fmt.Fprintln(t.Output, "late")
		return 0
	}
	r := recipe("k", []string{"wait"})
	var wg sync.WaitGroup
	logs := make([]bytes.Buffer, 4)
	joined := make(chan struct{}, len(logs))
	run := func(i int) {
		if _, err := b.Run(t.Context(), "ws", r, notify{&logs[i], joined}); err != nil {
			t.Error(err)
		}
	}
	wg.Go(func() { run(0) })
	<-begun
	for i := 1; i < len(logs); i++ {
		wg.Go(func() { run(i) })
	}
	for range len(logs) { // each has got the first line, so each is aboard
		<-joined
	}
	close(goOn)
	wg.Wait()
	for i := range logs {
		if got := logs[i].String(); got != "step wait\nearly\nlate\n" {
			t.Errorf("log %d: %q", i, got)
		}
	}
	if b.isolator.Started() != 1 {
		t.Errorf("%d processes", b.isolator.Started())
	}
}

// notify tells, once, that its log has been told of the first output.
type notify struct {
	to     *bytes.Buffer
	joined chan struct{}
}

func (n notify) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte("early")) {
		n.joined <- struct{}{}
	}
	return n.to.Write(p)
}

func TestCancel(t *testing.T) {
	b := setup(t, nil)
	begun, killed := make(chan struct{}), make(chan struct{})
	b.programs["hang"] = func(t *mock.Task) int {
		close(begun)
		<-t.Killed
		close(killed)
		return 0
	}
	first, cancelFirst := context.WithCancel(t.Context())
	second, cancelSecond := context.WithCancel(t.Context())
	joined := make(chan struct{}, 1)
	errs := make(chan error, 2)
	r := recipe("k", []string{"hang"})
	go func() {
		_, err := b.Run(first, "ws", r, nil)
		errs <- err
	}()
	<-begun
	go func() {
		_, err := b.Run(second, "ws", r, signal(joined))
		errs <- err
	}()
	<-joined
	cancelFirst()
	if err := <-errs; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	select {
	case <-killed:
		t.Fatal("the build was stopped although somebody waits for it")
	default:
	}
	cancelSecond()
	if err := <-errs; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	<-killed
	b.programs["hang"] = func(*mock.Task) int { return 0 }
	if _, err := b.Run(t.Context(), "ws", r, nil); err != nil {
		t.Errorf("after a cancelled build: %v", err)
	}
}

// signal is a log that tells when it is first written to.
type signal chan struct{}

func (s signal) Write(p []byte) (int, error) {
	select {
	case s <- struct{}{}:
	default:
	}
	return len(p), nil
}

func TestLimits(t *testing.T) {
	b := setup(t, func(c *build.Config) { c.Wall = 20 * time.Millisecond })
	b.programs["hang"] = func(t *mock.Task) int { <-t.Killed; return 0 }
	b.programs["spam"] = func(t *mock.Task) int {
		for {
			if _, err := t.Output.Write(make([]byte, 4096)); err != nil {
				return 0
			}
		}
	}
	_, err := b.Run(t.Context(), "ws", recipe("slow", []string{"hang"}), nil)
	var step *build.StepError
	if !errors.As(err, &step) || step.Reason != "it took longer than 20ms" {
		t.Errorf("got %v", err)
	}
	r := recipe("loud", []string{"spam"})
	r.Steps[0].Spec.Limits = sandbox.Limits{Output: 10 << 10, Wall: time.Minute}
	if _, err = b.Run(t.Context(), "ws", r, nil); !errors.As(err, &step) || step.Reason != "it wrote too much output" {
		t.Errorf("got %v", err)
	}
}

func TestCaches(t *testing.T) {
	b := setup(t, nil)
	r := func(key string) *runtimes.Recipe {
		r := recipe(key, []string{"write", "/cache/pkgs/" + key, key}, []string{"write", "/cache/shared-std/" + key, key})
		r.Caches = []string{"pkgs", "shared-std"}
		return r
	}
	for _, c := range [][2]string{{"a", "k1"}, {"a", "k2"}, {"b", "k3"}} {
		if _, err := b.Run(t.Context(), c[0], r(c[1]), nil); err != nil {
			t.Fatal(err)
		}
	}
	for dir, want := range map[string]string{"build/a/pkgs": "k1 k2", "build/b/pkgs": "k3", "build/@shared/shared-std": "k1 k2 k3"} {
		if got := b.left(t, dir); got != want {
			t.Errorf("%s has %q, want %q", dir, got, want)
		}
	}
	for _, bad := range []struct{ workspace, key, cache string }{{"..", "k", "c"}, {"a/b", "k", "c"}, {"@shared", "k", "c"}, {"a", "../k", "c"}, {"a", "k", "../c"}, {"", "k", "c"}} {
		r := recipe(bad.key, []string{"write", "/out/a", ""})
		r.Caches = []string{bad.cache}
		if _, err := b.Run(t.Context(), bad.workspace, r, nil); err == nil {
			t.Errorf("%+v was accepted", bad)
		}
	}
}

func TestSweep(t *testing.T) {
	var keep atomic.Value
	keep.Store("")
	b := setup(t, func(c *build.Config) {
		c.InUse = func(dir string) bool { return filepath.Base(dir) == keep.Load() }
	})
	old := time.Now().Add(-time.Hour)
	for i, key := range []string{"a", "b", "c"} {
		if _, err := b.Run(t.Context(), "ws", recipe(key, []string{"write", "/out/f", strings.Repeat("x", 1000)}), nil); err != nil {
			t.Fatal(err)
		}
		at := old.Add(time.Duration(i) * time.Minute)
		if err := os.Chtimes(filepath.Join(b.dir, "out", key), at, at); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := b.Sweep(3000); n != 0 || err != nil {
		t.Errorf("nothing is too much: %d, %v", n, err)
	}
	if _, ok := b.Built("a"); !ok { // the oldest is wanted again
		t.Fatal("a is gone")
	}
	if n, err := b.Sweep(2999); n != 1000 || err != nil || b.left(t, "out") != "a c" {
		t.Errorf("freed %d, %v; left %q", n, err, b.left(t, "out"))
	}
	keep.Store("c")
	if n, err := b.Sweep(0); n != 1000 || err != nil || b.left(t, "out") != "c" || b.left(t, "tmp") != "" {
		t.Errorf("freed %d, %v; left %q", n, err, b.left(t, "out"))
	}
}

func TestNewCleansUp(t *testing.T) {
	b := setup(t, nil)
	if err := os.MkdirAll(filepath.Join(b.dir, "tmp", "k.1", "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := build.New(build.Config{Isolator: b.isolator, CacheDir: b.dir}); err != nil || b.left(t, "tmp") != "" {
		t.Errorf("%v; left %q", err, b.left(t, "tmp"))
	}
	for _, c := range []build.Config{{CacheDir: b.dir}, {Isolator: b.isolator, CacheDir: "relative"}} {
		if _, err := build.New(c); err == nil {
			t.Errorf("%+v was accepted", c)
		}
	}
}
