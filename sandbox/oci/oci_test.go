package oci

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/millrace/millrace/sandbox"
	"github.com/millrace/millrace/sandbox/cgroup"
	"github.com/millrace/millrace/sandbox/forker"
)

func TestMain(m *testing.M) {
	Init()
	os.Exit(m.Run())
}

// forkerBinary builds the C program once a run.
func forkerBinary(t testing.TB) string {
	t.Helper()
	cc, err := exec.LookPath("gcc")
	if err != nil {
		t.Skip("no gcc here")
	}
	dir, src := searchable(t), "../forker/csrc/"
	out := filepath.Join(dir, "forker")
	args := []string{"-std=gnu11", "-O2", "-static", "-o", out}
	for _, f := range []string{"main.c", "loop.c", "confine.c", "launch.c", "hold.c", "touch.c", "filter.c", "landlock.c"} {
		args = append(args, src+f)
	}
	if msg, err := exec.Command(cc, args...).CombinedOutput(); err != nil {
		t.Fatalf("build forker: %v\n%s", err, msg)
	}
	return out
}

// searchable is a temporary directory that slots, whose users are nobody's, can look into.
func searchable(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "oci")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func host(t testing.TB) *Host {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	h, err := New(Config{
		State: filepath.Join(searchable(t), "state"), Forker: forkerBinary(t),
		CgroupParent: fmt.Sprintf("/millrace-test-%d", os.Getpid()), Log: zerolog.New(zerolog.NewTestWriter(t)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
		leftovers(t, h)
	})
	return h
}

func leftovers(t testing.TB, h *Host) {
	t.Helper()
	dirs, _ := filepath.Glob("/sys/fs/cgroup/*" + h.config.CgroupParent + "/*-*")
	unified, _ := filepath.Glob("/sys/fs/cgroup" + h.config.CgroupParent + "/*-*")
	if len(dirs)+len(unified) > 0 {
		t.Errorf("control groups left: %v %v", dirs, unified)
	}
	parents, _ := filepath.Glob("/sys/fs/cgroup/*" + h.config.CgroupParent)
	for _, p := range parents {
		_ = os.Remove(p)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || strings.Contains(string(mounts), h.config.State) {
		t.Errorf("mounts left (%v)", err)
	}
	if entries, err := os.ReadDir(h.config.State); err != nil || len(entries) > 0 {
		t.Errorf("state left: %v %v", entries, err)
	}
}

func client(t testing.TB, s *Slot) *forker.Client {
	t.Helper()
	c, err := net.FileConn(s.Control)
	_ = s.Control.Close() // FileConn made a copy, and the forker ends with the last one
	if err != nil {
		t.Fatal(err)
	}
	f, err := forker.New(c.(*net.UnixConn), forker.Options{UID: uint32(s.UID), GID: uint32(s.GID), Rootless: s.host.rootless})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// run runs a script in a slot and returns what it printed.
func run(t *testing.T, f *forker.Client, script string) string {
	t.Helper()
	p, err := f.Start(context.Background(), sandbox.Spec{Argv: []string{"/bin/sh", "-c", script}, Env: []string{"PATH=/usr/bin:/bin"}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	out, err := io.ReadAll(p.Output())
	if err != nil {
		t.Fatal(err)
	}
	if e, err := p.Wait(context.Background()); err != nil || e.Code != 0 {
		t.Fatalf("%s: %+v %v\n%s", script, e, err, out)
	}
	return string(out)
}

// TestInside looks around in a slot of each network.
func TestInside(t *testing.T) {
	h := host(t)
	for _, n := range []sandbox.Network{sandbox.NetworkNone, sandbox.NetworkHost} {
		s, err := h.Open(context.Background(), sandbox.Template{Name: "exec", Network: n}, sandbox.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		f := client(t, s)
		for script, want := range map[string]string{
			"id -u; id -g; id -un":                                      "1000\n1000\njob\n",
			"sed 's/.*://' /proc/self/cgroup | sort -u":                 "/\n", // the group's own place is not told
			"ls /millrace; ls -d /home /root /sys 2>/dev/null || true":  "forker\nslot.bpf\n",
			"readlink /tmp /var/tmp /dev/shm":                           "/work\n/work\n/work\n",
			"hostname":                                                  "millrace\n",
			"grep -E '^(CapEff|NoNewPrivs|Seccomp):' /proc/self/status": "CapEff:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\n",
		} {
			if got := run(t, f, script); got != want {
				t.Errorf("%s: %s: %q, want %q", n, script, got, want)
			}
		}
		inner, _ := os.Readlink("/proc/self/ns/net")
		if got := strings.TrimSpace(run(t, f, "readlink /proc/self/ns/net")); (got == inner) != (n == sandbox.NetworkHost) {
			t.Errorf("%s: network namespace %s, the host's is %s", n, got, inner)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		<-s.Gone()
		for range 2 {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestUsersDiffer: no two slots share a host user, except those of builders.
func TestUsersDiffer(t *testing.T) {
	h := &Host{config: Config{UIDBase: 1000}, instance: &instance{number: 3}}
	seen := map[int]bool{}
	b1, b2 := h.users(1, true)
	seen[b1], seen[b2] = true, true
	for number := 1; number < 50; number++ {
		f, j := h.users(number, false)
		if seen[f] || seen[j] || f == j {
			t.Fatalf("slot %d: users %d and %d are taken", number, f, j)
		}
		seen[f], seen[j] = true, true
	}
}

func TestInstances(t *testing.T) {
	state := filepath.Join(searchable(t), "state")
	groups, _ := cgroup.None("a test")
	a, err := takeInstance(state, groups, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	b, err := takeInstance(state, groups, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	if a.number != 0 || b.number != 1 {
		t.Errorf("instances %d and %d", a.number, b.number)
	}
	if err := os.WriteFile(filepath.Join(b.dir, "slots", "left"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := b.lock.Close(); err != nil { // as when killed
		t.Fatal(err)
	}
	if err := a.release(); err != nil {
		t.Fatal(err)
	}
	c, err := takeInstance(state, groups, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(state + "/1*"); c.number != 0 || len(left) > 0 {
		t.Errorf("instance %d, left of the killed one: %v", c.number, left)
	}
	if err := c.release(); err != nil {
		t.Error(err)
	}
	if err := os.Chmod(state, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := takeInstance(state, groups, zerolog.Nop()); err == nil {
		t.Error("took a state directory that everybody can write")
	}
}

// TestFailedOpen leaves nothing: see host's cleanup.
func TestFailedOpen(t *testing.T) {
	h := host(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := h.Open(ctx, sandbox.Template{Name: "exec", Network: sandbox.NetworkNone}, sandbox.Limits{}); err == nil {
		t.Error("opened for a caller that has gone")
	}
	if err := os.Rename(h.config.Forker, h.config.Forker+".away"); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Open(context.Background(), sandbox.Template{Name: "exec", Network: sandbox.NetworkNone}, sandbox.Limits{}); err == nil {
		t.Error("opened without a forker")
	}
	if err := os.WriteFile(h.config.Forker, []byte("not a program"), 0o755); err != nil {
		t.Fatal(err)
	}
	if s, err := h.Open(context.Background(), sandbox.Template{Name: "exec", Network: sandbox.NetworkNone}, sandbox.Limits{}); err == nil {
		<-s.Gone() // the init's exec failed after everything else had worked
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := os.Remove(h.config.Forker); err != nil {
		t.Fatal(err)
	}
}

func BenchmarkOpen(b *testing.B) {
	h := host(b)
	for b.Loop() {
		s, err := h.Open(context.Background(), sandbox.Template{Name: "exec", Network: sandbox.NetworkNone}, sandbox.Limits{})
		if err != nil {
			b.Fatal(err)
		}
		f := client(b, s)
		b.StopTimer()
		f.Close()
		s.Close()
		b.StartTimer()
	}
}
