package slot

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/elastic/go-seccomp-bpf/arch"

	"github.com/millrace/millrace/sandbox"
	"github.com/millrace/millrace/sandbox/seccomp"
)

// TestCallsRefused makes every system call that is not on the list of a slot, as a job: each is refused, and none ends the job.
func TestCallsRefused(t *testing.T) {
	root(t)
	program := filepath.Join(t.TempDir(), "calls")
	if out, err := exec.Command("gcc", "-O1", "-static", "-o", program, "testdata/calls.c").CombinedOutput(); err != nil {
		t.Skipf("no C compiler: %v\n%s", err, out)
	}
	info, err := arch.GetInfo("")
	if err != nil {
		t.Fatal(err)
	}
	i := spawn(t, newPlace(t))
	for name, granted := range map[string][]string{"base": nil, "granted": {"shmget", "mbind"}} {
		t.Run(name, func(t *testing.T) {
			spec := sandbox.Spec{Argv: []string{"calls"}}
			byNumber := map[string]string{}
			for name, nr := range info.SyscallNames {
				// Since 6.14 the kernel asks no filter about these two; they end who calls them from anywhere but its own trampoline.
				if !seccomp.Allowed(name, granted) && name != "uretprobe" && name != "uprobe" {
					byNumber[fmt.Sprint(nr)] = name
					spec.Argv = append(spec.Argv, fmt.Sprint(nr))
				}
			}
			spec.Argv = append(spec.Argv, fmt.Sprint(info.SyscallNames["shmget"]))
			if spec.Exec, err = os.Open(program); err != nil {
				t.Fatal(err)
			}
			defer spec.Exec.Close()
			e, out := run(t, open(t, i, sandbox.Template{Name: "calls", Network: sandbox.NetworkNone, Calls: granted}), spec)
			if e.Code != 0 || e.Error != "" {
				t.Fatalf("%+v\n%s", e, out)
			}
			got := map[string]string{}
			for line := range strings.Lines(out) {
				what, answer, _ := strings.Cut(strings.TrimSpace(line), " ")
				got[what] = answer
			}
			for nr, name := range byNumber {
				if !refused(got[nr]) {
					t.Errorf("%s: answered %q", name, got[nr])
				}
			}
			if answer := got[fmt.Sprint(info.SyscallNames["shmget"])]; refused(answer) == (granted != nil) {
				t.Errorf("shmget: answered %q, granted: %v", answer, granted)
			}
			for _, way := range []string{"x32", "int80"} {
				if answer, is := got[way], info.ID == arch.X86_64.ID; is && !refused(answer) && answer != fmt.Sprint("signal ", int(syscall.SIGSEGV)) {
					t.Errorf("%s: answered %q", way, answer)
				}
			}
			if len(byNumber) < 100 {
				t.Errorf("only %d calls were tried", len(byNumber))
			}
		})
	}
	for _, call := range []string{"ptrace", "mount", "clone3", "no such call"} {
		s, err := i.Open(t.Context(), sandbox.Template{Name: "calls", Network: sandbox.NetworkNone, Calls: []string{call}})
		if err == nil {
			t.Errorf("a slot was opened that allows %s", call)
			_ = s.Close()
		}
	}
}

func refused(answer string) bool {
	return answer == fmt.Sprint(int(syscall.EPERM)) || answer == fmt.Sprint(int(syscall.ENOSYS))
}
