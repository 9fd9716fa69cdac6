package doctor

import (
	"os"
	"strings"
	"testing"

	"github.com/millrace/millrace/sandbox/gpu/gputest"
)

func TestGPUChecks(t *testing.T) {
	if got := checkGPUs(t.TempDir()); len(got) != 1 || got[0].Status != OK || got[0].Value != "none" {
		t.Errorf("a host without any: %+v", got)
	}
	f := gputest.Pair(t)
	f.Write("sys/bus/pci/devices/0000:81:00.0/vendor", "0x10de\n")
	f.Write("sys/bus/pci/devices/0000:81:00.0/class", "0x030200\n")
	got := checkGPUs(f.Root)
	if len(got) != 4 || got[0].Status != OK || !strings.Contains(got[0].Value, gputest.FirstUUID) || got[2].Status != Warning || got[3].Value != "550.54.15" {
		t.Errorf("two and one without a driver: %+v", got)
	}
	f.Pull(gputest.Second, gputest.Zero)
	if err := os.Chmod(f.Root+"/dev/nvidia3", 0o660); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(f.Root + "/usr/lib"); err != nil {
		t.Fatal(err)
	}
	got = checkGPUs(f.Root)
	if got[0].Status != Warning || !strings.Contains(got[0].Why, "not open to everybody") || !strings.Contains(got[2].Fix, "libcuda.so.1") {
		t.Errorf("a node that is closed, and no library: %+v", got)
	}
}
