package cgroup

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/containerd/cgroups/v3"

	"github.com/millrace/millrace/sandbox"
)

// tree is a tree of the test's own, so that it can be swept whole.
func tree(t *testing.T) *Tree {
	t.Helper()
	parent := fmt.Sprintf("/millrace-test-%d", os.Getpid())
	tr, lacks := Open(parent)
	if !tr.Usable() {
		t.Skipf("no writable cgroup tree here: %v", lacks)
	}
	t.Cleanup(func() {
		if err := removeDirs(parent); err != nil {
			t.Error(err)
		}
		if left := existing(parent); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	})
	return tr
}

func join(t *testing.T, path string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for _, dir := range existing(path) {
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(cmd.Process.Pid)), 0); err != nil {
			t.Fatal(err)
		}
	}
	return cmd
}

func limit(t *testing.T, path string, v1 [2]string, v2 string) string {
	t.Helper()
	f := filepath.Join(mountpoint, v1[0], path, v1[1])
	if cgroups.Mode() == cgroups.Unified {
		f = filepath.Join(mountpoint, path, v2)
	}
	data, err := os.ReadFile(f)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(data))
}

func TestGroup(t *testing.T) {
	tr := tree(t)
	g, err := tr.Create("0-1", sandbox.Limits{Memory: 64 << 20, Pids: 20})
	if err != nil {
		t.Fatal(err)
	}
	memory := func() string { return limit(t, g.Path(), [2]string{"memory", "memory.limit_in_bytes"}, "memory.max") }
	if got := memory(); got != strconv.Itoa(64<<20) {
		t.Errorf("memory limit %s", got)
	}
	if got := limit(t, g.Path(), [2]string{"pids", "pids.max"}, "pids.max"); got != "22" {
		t.Errorf("pids limit %s", got)
	}
	for _, m := range []int64{512 << 20, 32 << 20} { // up and down: memory and swap must change in the right order
		if err := g.SetLimits(sandbox.Limits{Memory: m, CPU: 0.5}); err != nil {
			t.Fatal(err)
		}
		if got := memory(); got != strconv.FormatInt(m, 10) {
			t.Errorf("memory limit %s, want %d", got, m)
		}
	}
	if got := limit(t, g.Path(), [2]string{"cpu", "cpu.cfs_quota_us"}, "cpu.max"); !strings.HasPrefix(got, "50000") {
		t.Errorf("cpu quota %s", got)
	}
	if err := g.SetLimits(sandbox.Limits{}); err != nil {
		t.Fatal(err)
	}
	if got := limit(t, g.Path(), [2]string{"cpu", "cpu.cfs_quota_us"}, "cpu.max"); got != "-1" && !strings.HasPrefix(got, "max") {
		t.Errorf("cpu quota %s, want none", got)
	}
	if _, err := tr.Create("0-1", sandbox.Limits{}); err == nil {
		t.Error("a group of the same name was made twice")
	}
	for _, bad := range []string{"", "..", "a/b", ".x"} {
		if _, err := tr.Create(bad, sandbox.Limits{}); err == nil {
			t.Errorf("name %q accepted", bad)
		}
	}
	peak, events, err := g.Meters()
	if err != nil {
		t.Fatal(err)
	}
	defer events.Close()
	if peak != nil {
		defer peak.Close()
	}
	data, err := os.ReadFile(events.Name())
	if err != nil || !strings.Contains(string(data), "oom_kill 0") {
		t.Errorf("events: %q %v", data, err)
	}
	cmd := join(t, g.Path())
	waited := make(chan error, 1)
	go func() { waited <- cmd.Wait() }()
	if err := g.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := <-waited; err == nil {
		t.Error("sleep was not killed")
	}
	if err := g.Delete(); err != nil {
		t.Fatal(err)
	}
	if err := g.Delete(); err != nil {
		t.Errorf("second delete: %v", err)
	}
}

func TestSweep(t *testing.T) {
	tr := tree(t)
	for _, n := range []string{"0-1", "0-2", "1-1"} {
		if _, err := tr.Create(n, sandbox.Limits{}); err != nil {
			t.Fatal(err)
		}
	}
	// A container runtime makes directories in every hierarchy, and what runs inside may make more.
	for _, h := range hierarchies() {
		if err := os.MkdirAll(filepath.Join(h, tr.parent, "0-1", "deeper"), 0o755); err != nil {
			t.Logf("%v", err)
		}
	}
	cmd := join(t, tr.parent+"/0-2")
	go func() { _ = cmd.Wait() }()
	if err := tr.Sweep(func(n string) bool { return strings.HasPrefix(n, "0-") }); err != nil {
		t.Fatal(err)
	}
	if l := existing(tr.parent + "/0-1"); len(l) > 0 {
		t.Errorf("left: %v", l)
	}
	if l := existing(tr.parent + "/0-2"); len(l) > 0 {
		t.Errorf("left: %v", l)
	}
	if l := existing(tr.parent + "/1-1"); len(l) == 0 {
		t.Error("the group of another helper was removed")
	}
	if err := tr.Sweep(func(string) bool { return true }); err != nil {
		t.Fatal(err)
	}
}

func TestNone(t *testing.T) {
	tr, lacks := None("because")
	if tr.Usable() || len(lacks) == 0 || lacks[0].Why != "because" {
		t.Errorf("%v %v", tr, lacks)
	}
	if _, err := tr.Create("x", sandbox.Limits{}); err == nil {
		t.Error("created a group in no tree")
	}
	if err := tr.Sweep(nil); err != nil {
		t.Error(err)
	}
}
