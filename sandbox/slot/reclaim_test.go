package slot

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/millrace/millrace/sandbox/cgroup"
)

// asked tells what was written to give memory back since the last time.
func (g fakeGroup) asked() string {
	g.t.Helper()
	data, err := os.ReadFile(filepath.Join(g.dir, cgroup.MeterReclaim))
	if err != nil {
		g.t.Fatal(err)
	}
	g.set(cgroup.MeterReclaim, "")
	return string(data)
}

func TestMakeRoom(t *testing.T) {
	const limit = 32 << 20
	for name, kernel := range map[string]func(bytes string) string{
		"version 1": func(bytes string) string { return bytes + "\n" },
		"version 2": func(bytes string) string { return "file 4096\nslab_reclaimable " + bytes + "\nslab 1\n" },
	} {
		t.Run(name, func(t *testing.T) {
			g := fakeGroup{t, t.TempDir()}
			m := g.meter(cgroup.MeterUsed, cgroup.MeterKernel, cgroup.MeterReclaim)
			step := func(what, used, kept, want string) {
				t.Helper()
				g.set(cgroup.MeterUsed, used+"\n")
				g.set(cgroup.MeterKernel, kernel(kept))
				if m.makeRoom(limit); g.asked() != want {
					t.Errorf("%s: not %q was asked for", what, want)
				}
			}
			step("enough room", "8000000", "7000000", "")
			step("pages of files, which the kernel gives up by itself", "32000000", "1000000", "")
			step("what the kernel keeps", "16000000", "12000000", "16000000")
			step("what it did not give back is in use", "16000000", "12000000", "")
			step("more than that", "26000000", "20000000", "26000000")
			step("it has become less", "16000000", "1000000", "")
			step("and more again", "16000000", "12000000", "16000000")
		})
	}
	(&meter{}).makeRoom(limit) // no control group
}
