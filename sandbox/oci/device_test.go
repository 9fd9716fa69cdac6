package oci

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/millrace/millrace/sandbox"
	"github.com/millrace/millrace/sandbox/gpu"
	"github.com/millrace/millrace/sandbox/gpu/gputest"
)

func withDevices(ids ...string) sandbox.Template {
	return sandbox.Template{Name: "exec", Network: sandbox.NetworkNone, Devices: ids}
}

const look = "cd /dev; for n in nvidia* nvidia-caps/*; do [ -e $n ] && echo $n; done; true"

// TestDevices: a slot shows its own devices and no other, the others show none.
func TestDevices(t *testing.T) {
	tree := gputest.Pair(t)
	tree.Write("sys/module/nvidia/initstate", "live\n")
	h := host(t)
	h.config.GPURoot = tree.Root
	open := func(ids ...string) func(script string) string {
		s, err := h.Open(context.Background(), withDevices(ids...), sandbox.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		f := client(t, s)
		t.Cleanup(func() { _ = f.Close(); _ = s.Close() })
		return func(script string) string { return run(t, f, script) }
	}
	first, second, none := open(gputest.First), open(gputest.Second), open()
	if got := first(look); got != "nvidia-uvm\nnvidia3\nnvidiactl\n" {
		t.Errorf("the first shows %q", got)
	}
	if got := second(look); got != "nvidia-uvm\nnvidia5\nnvidiactl\n" {
		t.Errorf("the second shows %q", got)
	}
	if got := none(look); got != "" {
		t.Errorf("a slot without devices shows %q", got)
	}
	if got := first("echo x > /dev/nvidia3 && echo written; echo x > /dev/null && echo null too"); got != "written\nnull too\n" {
		t.Errorf("writing to the device: %q", got)
	}
	if got := second("head -c 3 /dev/nvidia5 | od -An -c | tr -d ' '"); got != "\\0\\0\\0\n" {
		t.Errorf("reading from the device: %q", got)
	}
	if got := first("/millrace/nvidia/bin/nvidia-smi 2>&1 || sh /millrace/nvidia/bin/nvidia-smi; ls /millrace/nvidia/lib; cat /sys/module/nvidia/initstate"); !strings.HasSuffix(got, "smi\nlibcuda.so.1\nlibcuda.so.550.54.15\nlive\n") {
		t.Errorf("the driver's files: %q", got)
	}
	if got := first("mknod /work/n c 1 5 2>/dev/null && echo made; rm -f /dev/nvidia3 2>/dev/null && echo removed; true"); got != "" {
		t.Errorf("a job changes what devices there are: %q", got)
	}
	if got := none("[ -d /proc/driver ] && echo driver; [ -d /sys/module ] && echo sys; true"); got != "" {
		t.Errorf("a slot without devices sees %q", got)
	}
	if got := first("[ -e /proc/devices ] && echo devices; cat /proc/keys /proc/interrupts 2>/dev/null | wc -c; echo x > /proc/self/comm && echo named"); got != "devices\n0\nnamed\n" {
		t.Errorf("/proc of a slot with a device: %q", got)
	}
}

// TestDevicesThatMayNotBeAskedFor: what the helper has not found itself is refused, and nothing is left behind.
func TestDevicesThatMayNotBeAskedFor(t *testing.T) {
	tree := gputest.Pair(t)
	h := host(t)
	h.config.GPURoot = tree.Root
	for name, c := range map[string]struct {
		id, want string
		spoil    func()
	}{
		"unknown":     {"0000:99:00.0", "is not on this host", func() {}},
		"a path":      {"../../dev/mem", "bad device", func() {}},
		"pulled":      {gputest.First, "is not on this host, or no longer", func() { tree.Pull(gputest.First, gputest.Null) }},
		"false nodes": {gputest.Second, "the driver's is 1:5", func() { _ = os.Remove(tree.Root + "/dev/nvidia5"); tree.Node("dev/nvidia5", gputest.Full) }},
	} {
		c.spoil()
		if _, err := h.Open(context.Background(), withDevices(c.id), sandbox.Limits{}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	h.config.GPURoot = ""
	if _, err := h.Open(context.Background(), withDevices(gputest.First), sandbox.Limits{}); err == nil {
		t.Error("a device of another root is given")
	}
}

// TestDeviceRules: the control group allows a slot's own devices and no other of their kind.
func TestDeviceRules(t *testing.T) {
	rules := deviceRules([]gpu.Bound{{Source: "/dev/nvidia2", Target: "/dev/nvidia2", Major: 195, Minor: 2}})
	if len(rules) != len(deviceRules(nil))+1 || rules[0].Allow {
		t.Fatalf("%d rules, the first %+v", len(rules), rules[0])
	}
	if last := rules[len(rules)-1]; last.CgroupString() != "c 195:2 rw" || !last.Allow {
		t.Errorf("%+v", last)
	}
}

// TestRealDevice: in a slot with a device of this host the driver's own program finds that device and no other.
func TestRealDevice(t *testing.T) {
	found, err := gpu.Find("/")
	if err != nil {
		t.Fatal(err)
	}
	usable := found.Usable()
	if len(usable) == 0 {
		t.Skipf("no GPU here to test with (driver %q, devices %+v, %v)", found.Driver, found.Devices, found.Notes)
	}
	if err := found.CheckFiles(); err != nil {
		t.Skip(err)
	}
	h := host(t)
	s, err := h.Open(context.Background(), withDevices(usable[0].ID), sandbox.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	f := client(t, s)
	defer func() { _ = f.Close(); _ = s.Close() }()
	got := run(t, f, "export LD_LIBRARY_PATH=/millrace/nvidia/lib; PATH=$PATH:/millrace/nvidia/bin; nvidia-smi -L")
	if n := strings.Count(got, "GPU "); n != 1 || !strings.Contains(got, usable[0].UUID) {
		t.Errorf("the device is %+v, and in its slot there is:\n%s", usable[0], got)
	}
	if _, err := os.Stat("/usr/bin/python3"); err != nil {
		t.Log("there is no interpreter here to try the computing library with")
		return
	}
	got = run(t, f, `export LD_LIBRARY_PATH=/millrace/nvidia/lib; /usr/bin/python3 -c '
import ctypes
c, n = ctypes.CDLL("libcuda.so.1"), ctypes.c_int()
print(c.cuInit(0), c.cuDeviceGetCount(ctypes.byref(n)), n.value)'`)
	if got != "0 0 1\n" {
		t.Errorf("cuInit, cuDeviceGetCount and the count: %s", got)
	}
}
