package cgroup

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
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
	meters, err := g.Meters()
	if err != nil {
		t.Fatal(err)
	}
	defer CloseMeters(meters)
	for name, want := range map[string]string{MeterEvents: "oom_kill 0", MeterPids: "max 0", MeterNow: "0"} {
		data, err := os.ReadFile(meters[name].Name())
		if err != nil || !strings.Contains(string(data), want) {
			t.Errorf("%s: %q %v, want %q in it", name, data, err, want)
		}
	}
	for _, name := range []string{MeterPeak, MeterCPU, MeterMost, MeterIO} {
		if meters[name] == nil {
			t.Logf("no meter %s here", name)
		}
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

func TestSwapLimit(t *testing.T) {
	tr := tree(t)
	g, err := tr.Create("0-1", sandbox.Limits{Memory: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	v2 := cgroups.Mode() == cgroups.Unified
	if !v2 && !swapV1() || v2 && !tr.swap {
		t.Skip("the kernel does not count swap for groups")
	}
	check := func(memory, swap int64) {
		t.Helper()
		want := swap // version 2 limits swap, version 1 the sum
		if !v2 {
			want += memory
		}
		got := limit(t, g.Path(), [2]string{"memory", "memory.memsw.limit_in_bytes"}, "memory.swap.max")
		if got != strconv.FormatInt(want, 10) {
			t.Errorf("%d of swap beyond %d: %s", swap, memory, got)
		}
	}
	check(64<<20, 0)
	for _, l := range []sandbox.Limits{ // the two limits of version 1 must move in the right order, whichever way
		{Memory: 64 << 20, Swap: 16 << 20}, {Memory: 128 << 20}, {Memory: 32 << 20, Swap: 256 << 20}, {Memory: 300 << 20}, {Memory: 16 << 20},
	} {
		if err := g.SetLimits(l); err != nil {
			t.Fatal(err)
		}
		check(l.Memory, l.Swap)
	}
}

func TestDiskLimit(t *testing.T) {
	tr := tree(t)
	g, err := tr.Create("0-1", sandbox.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	all := disks()
	bounds := func() string {
		return limit(t, g.Path(), [2]string{"blkio", "blkio.throttle.write_bps_device"}, "io.max")
	}
	if len(all) == 0 || cgroups.Mode() == cgroups.Unified && !tr.io {
		t.Skip("no disk here, or none that can be limited")
	}
	if got := bounds(); got != "" {
		t.Errorf("limited at birth: %q", got)
	}
	for _, rate := range []int64{3 << 20, 5 << 20} {
		if err := g.SetLimits(sandbox.Limits{IO: rate}); err != nil {
			t.Fatal(err)
		}
		for _, d := range all {
			if got := bounds(); !strings.Contains(got, fmt.Sprintf("%d:%d ", d.major, d.minor)) || !strings.Contains(got, strconv.FormatInt(rate, 10)) {
				t.Errorf("disk %d:%d at %d: %q", d.major, d.minor, rate, got)
			}
		}
	}
	if err := g.SetLimits(sandbox.Limits{}); err != nil {
		t.Fatal(err)
	}
	if got := bounds(); got != "" {
		t.Errorf("still limited: %q", got)
	}
}

// A process that is killed for lack of memory is named by the kernel's log.
func TestKillLog(t *testing.T) {
	log, err := OpenKillLog()
	if err != nil {
		t.Skip(err)
	}
	defer log.Close()
	tr := tree(t)
	g, err := tr.Create("0-1", sandbox.Limits{Memory: 16 << 20})
	if err != nil {
		t.Fatal(err)
	}
	const user = 1_912_345_678
	cmd := exec.Command("/bin/sh", "-c", "read go; exec tail -n 1 /dev/zero")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for _, dir := range existing(g.Path()) {
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(cmd.Process.Pid)), 0); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := in.Write([]byte("go\n")); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Fatal("a line without end fit in 16 MB")
	}
	k, ok := log.Take(user)
	if !ok || k.Command != "tail" || k.Memory < 8<<20 || k.Memory > 20<<20 {
		t.Errorf("%+v %v", k, ok)
	}
	if k, ok := log.Take(user); ok {
		t.Errorf("told twice: %+v", k)
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
