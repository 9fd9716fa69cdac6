package queue

import (
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/engine/store/storetest"
)

// TestPredecessor restarts after a crash: the jobs of the process before are taken at once, long before its lease runs out,
// also while nobody has asked for its exit status.
func TestPredecessor(t *testing.T) {
	t.Parallel()
	for name, reaped := range map[string]bool{"gone": true, "zombie": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			crashed := exec.Command("true")
			if err := crashed.Start(); err != nil {
				t.Fatal(err)
			}
			wait := func() {
				if err := crashed.Wait(); err != nil {
					t.Error(err)
				}
			}
			if reaped {
				wait()
			} else {
				defer wait()
				if err := unix.Waitid(unix.P_PID, crashed.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
					t.Fatal(err)
				}
			}
			url := storetest.URL(t)
			before, err := New(quiet(storetest.Open(t, url), nil))
			if err != nil {
				t.Fatal(err)
			}
			before.info.PID = crashed.Process.Pid
			if err := before.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(before.Stop)
			j := noop()
			push(t, before, j)
			if list := claim(t, before, 1, "noop"); len(list) != 1 {
				t.Fatalf("claimed %d jobs", len(list))
			}
			after := start(t, quiet(storetest.Open(t, url), nil))
			list := claim(t, after, 1, "noop")
			if len(list) != 1 || list[0].Job.ID != j.ID || list[0].Attempt != 2 {
				t.Errorf("claimed after the restart: %+v", list)
			}
		})
	}
}
