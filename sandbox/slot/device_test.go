package slot

import (
	"context"
	"strings"
	"testing"

	"github.com/millrace/millrace/sandbox"
	"github.com/millrace/millrace/sandbox/gpu/gputest"
)

// TestDevices: what is asked for by name comes as nodes in the slot; what the helper does not know is refused, and it goes on.
func TestDevices(t *testing.T) {
	root(t)
	tree, p := gputest.Pair(t), newPlace(t)
	p.helper.Extra = append(p.helper.Extra, "--gpu-root", tree.Root)
	i := spawn(t, p)
	open := func(ids ...string) (sandbox.Slot, error) {
		return i.Open(context.Background(), sandbox.Template{Name: "exec", Network: sandbox.NetworkNone, Devices: ids})
	}
	both, err := open(gputest.First, gputest.Second)
	if err != nil {
		t.Fatal(err)
	}
	look := sandbox.Spec{Argv: []string{"/bin/sh", "-c", "ls -d /dev/nvidia*; echo x > /dev/nvidia3 && echo written"}, Env: []string{"PATH=/usr/bin:/bin"}}
	if e, out := run(t, both, look); e.Code != 0 || out != "/dev/nvidia-uvm\n/dev/nvidia3\n/dev/nvidia5\n/dev/nvidiactl\nwritten\n" {
		t.Errorf("%+v %q", e, out)
	}
	tree.Pull(gputest.Second, gputest.Zero)
	if _, err := open(gputest.Second); err == nil || !strings.Contains(err.Error(), "device "+gputest.Second+" is not on this host, or no longer") {
		t.Errorf("a device that was pulled: %v", err)
	}
	if _, err := open("/dev/mem"); err == nil || !strings.Contains(err.Error(), "bad device") {
		t.Errorf("a path: %v", err)
	}
	if err := both.Close(); err != nil {
		t.Error(err)
	}
	again, err := open(gputest.First)
	if err != nil {
		t.Fatal(err)
	}
	if e, out := run(t, again, look); e.Code != 0 || strings.Contains(out, "nvidia5") {
		t.Errorf("%+v %q", e, out)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}
