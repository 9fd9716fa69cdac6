package forker_test

import (
	"strings"
	"testing"

	"github.com/millrace/millrace/sandbox"
	"github.com/millrace/millrace/sandbox/sandboxtest"
)

func full(t *testing.T) sandbox.Isolator     { needRoot(t); return &harness{t: t} }
func rootless(t *testing.T) sandbox.Isolator { return &harness{t: t, rootless: true} }

func TestExercise(t *testing.T)         { sandboxtest.Exercise(t, full) }
func TestExerciseRootless(t *testing.T) { sandboxtest.Exercise(t, rootless) }

// without is what the least container of these tests does without.
var without = func() sandboxtest.Walls {
	w := map[string]string{"cgroup_path": "the harness makes no cgroup namespace"}
	for _, name := range strings.Fields("aio audit fanotify_mark generic_netlink io_submit kcmp listmount lsm_self memfd_secret migrate_pages " +
		"modify_ldt move_pages netfilter personality pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace_child " +
		"ptrace_me rare_families statmount uevent vsock xfrm") {
		w[name] = "the harness loads no filter for the slot, only the job's"
	}
	return sandboxtest.Walls{Without: w}
}()

func TestEscape(t *testing.T)         { sandboxtest.Escape(t, full, without) }
func TestEscapeRootless(t *testing.T) { sandboxtest.Escape(t, rootless, without) }

func TestNoNetwork(t *testing.T) { sandboxtest.NoNetwork(t, full) }
