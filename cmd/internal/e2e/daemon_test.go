package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/web/client"
	"github.com/millrace/millrace/web/wire"
)

// binary is the built product; tests are skipped without it.
func binary(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("starts whole daemons, which is long")
	}
	_, file, _, _ := runtime.Caller(0)
	bin := filepath.Join(filepath.Dir(file), "../../../.build/bin/millrace")
	if _, err := os.Stat(bin); err != nil {
		t.Skip("the product is not built: run make build")
	}
	if err := exec.Command("setpriv", "--version").Run(); err == nil && os.Geteuid() == 0 {
		if err := exec.Command("setpriv", "--reuid=65534", "--clear-groups", bin, "version").Run(); err != nil {
			t.Skip("an unprivileged user cannot reach the built product below " + filepath.Dir(bin))
		}
	}
	return bin
}

// daemon is a running millrace serve.
type daemon struct {
	*client.Client
	t    *testing.T
	cmd  *exec.Cmd
	data string
	log  *lockedBuffer
	done chan struct{}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// folder makes a data folder that an unprivileged daemon can reach.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/var/tmp", "millrace-e2e-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// start runs the daemon over data and waits until it is ready.
func start(t *testing.T, data string, flags ...string) *daemon {
	t.Helper()
	return startBy(t, nil, data, flags...)
}

// startBy has another program start the daemon, one that becomes it.
func startBy(t *testing.T, by []string, data string, flags ...string) *daemon {
	t.Helper()
	d := &daemon{t: t, data: data, log: &lockedBuffer{}, done: make(chan struct{})}
	argv := append(slices.Clone(by), binary(t), "serve", "--data", data, "--listen", "127.0.0.1:0", "--log", "json")
	argv = append(argv, flags...)
	d.cmd = exec.Command(argv[0], argv[1:]...)
	d.cmd.Stdout, d.cmd.Stderr = d.log, d.log
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = d.cmd.Wait()
		close(d.done)
	}()
	t.Cleanup(d.end)
	var err error
	if d.Client, err = client.New(client.Config{Socket: filepath.Join(data, "run", "millrace.sock")}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(60 * time.Second)
	for {
		select {
		case <-d.done:
			t.Fatalf("the daemon ended:\n%s", d.log)
		case <-deadline:
			t.Fatalf("the daemon is not ready:\n%s", d.log)
		case <-tick.C:
			if d.Ready(t.Context()) == nil {
				return d
			}
		}
	}
}

// stop sends a signal and waits for the end.
func (d *daemon) stop(s syscall.Signal) {
	select {
	case <-d.done:
		return
	default:
	}
	_ = d.cmd.Process.Signal(s)
	select {
	case <-d.done:
	case <-time.After(60 * time.Second):
		_ = d.cmd.Process.Kill()
		d.t.Errorf("the daemon does not stop:\n%s", d.log)
	}
	if d.t.Failed() {
		d.t.Logf("log of the daemon:\n%s", d.log)
	}
}

// end stops the daemon and verifies that nothing of it is left on the host.
func (d *daemon) end() {
	d.t.Helper()
	d.stop(syscall.SIGTERM)
	if n := processes(d.t, d.data); n != 0 {
		d.t.Errorf("%d processes are left behind", n)
	}
}

// processes counts processes whose command line holds text.
func processes(t *testing.T, text string) (n int) {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range dirs {
		if b, err := os.ReadFile(f); err == nil && strings.Contains(string(b), text) && !strings.Contains(f, "/proc/self/") {
			n++
		}
	}
	return n
}

// with is the same daemon for a part of the test that started it.
func (d *daemon) with(t *testing.T) *daemon {
	part := *d
	part.t = t
	return &part
}

// url is where the daemon says it listens.
func (d *daemon) url() string {
	for line := range strings.Lines(d.log.String()) {
		var l struct{ URL string }
		if json.Unmarshal([]byte(line), &l) == nil && l.URL != "" {
			return l.URL
		}
	}
	d.t.Fatalf("no url in the log:\n%s", d.log)
	return ""
}

// preview runs source to its end.
func (d *daemon) preview(language, source, args string) *wire.Job {
	d.t.Helper()
	return d.finish(client.Run{Preview: &wire.Preview{Content: source, Language: language, Path: "u/test/preview"}, Args: json.RawMessage(args)})
}

// finish runs r to its end and returns the job with its log.
func (d *daemon) finish(r client.Run) *wire.Job {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), 3*time.Minute)
	defer cancel()
	id, err := d.Run(ctx, r)
	if err != nil {
		d.t.Fatalf("run: %v", err)
	}
	return d.wait(ctx, id)
}

func (d *daemon) wait(ctx context.Context, id uuid.UUID) *wire.Job {
	d.t.Helper()
	if _, err := d.Follow(ctx, id, func(wire.Update) error { return nil }); err != nil {
		d.t.Fatalf("follow %s: %v", id, err)
	}
	j, err := d.Job(ctx, id, true)
	if err != nil {
		d.t.Fatalf("get %s: %v", id, err)
	}
	return j
}

func result(j *wire.Job) string {
	if j.Result == nil {
		return ""
	}
	return string(*j.Result)
}

// failure returns "Name: message" of a failed job.
func failure(j *wire.Job) string {
	var r struct {
		Error struct{ Name, Message, Stack string }
	}
	if j.Success == nil || *j.Success || json.Unmarshal([]byte(result(j)), &r) != nil {
		return ""
	}
	return fmt.Sprintf("%s: %s\n%s", r.Error.Name, r.Error.Message, r.Error.Stack)
}

func filter(kv ...string) url.Values {
	v := url.Values{}
	for i := 0; i < len(kv); i += 2 {
		v.Set(kv[i], kv[i+1])
	}
	return v
}
