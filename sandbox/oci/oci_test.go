package oci

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/millrace/millrace/sandbox"
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
	for _, f := range []string{"main.c", "loop.c", "confine.c", "launch.c", "filter.c"} {
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
	if left := append(dirs, unified...); len(left) > 0 {
		t.Errorf("control groups left: %v", left)
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
	if err != nil {
		t.Fatal(err)
	}
	f, err := forker.New(c.(*net.UnixConn), forker.Options{UID: uint32(s.UID), GID: uint32(s.GID), Rootless: s.host.rootless})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestOpenRunClose(t *testing.T) {
	h := host(t)
	for _, n := range []sandbox.Network{sandbox.NetworkNone, sandbox.NetworkHost} {
		s, err := h.Open(context.Background(), sandbox.Template{Name: "exec", Network: n}, sandbox.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		f := client(t, s)
		p, err := f.Start(context.Background(), sandbox.Spec{Argv: []string{"/bin/sh", "-c", "id -u; cat /proc/self/cgroup; ls /; hostname; ls -la /dev /etc/ssl /millrace; touch /tmp/x /dev/shm/y && ls /work; cat /etc/resolv.conf"}, Env: []string{"PATH=/usr/bin:/bin"}})
		if err != nil {
			t.Fatal(err)
		}
		out := make([]byte, 0, 4096)
		buf := make([]byte, 4096)
		for {
			k, err := p.Output().Read(buf)
			out = append(out, buf[:k]...)
			if err != nil {
				break
			}
		}
		e, err := p.Wait(context.Background())
		t.Logf("%v %v\n%s", e, err, out)
		p.Close()
		f.Close()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
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
