package slot

import (
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/millrace/millrace/sandbox"
	"github.com/millrace/millrace/sandbox/sandboxtest"
)

// nobodys is a user that no machine has.
const nobodys = 64_321

// TestRootless runs the suites as a normal user, in a copy of this test binary.
func TestRootless(t *testing.T) {
	root(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := build(t)
	data, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	copied := dir + "/slot.test"
	if err := os.WriteFile(copied, data, 0o755); err != nil {
		t.Fatal(err)
	}
	tmp, err := os.MkdirTemp("", "rootless")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(tmp)
	if err := os.Chown(tmp, nobodys, nobodys); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(copied, "-test.v", "-test.run=^TestAsUser$")
	cmd.Dir = tmp
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), asUserEnv + "=1", builtEnv + "=" + dir, "TMPDIR=" + tmp, "HOME=" + tmp}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobodys, Gid: nobodys}}
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatal(err)
	}
}

// TestAsUser is what TestRootless runs.
func TestAsUser(t *testing.T) {
	if os.Getenv(asUserEnv) == "" && os.Geteuid() == 0 {
		t.Skip("started by TestRootless")
	}
	if err := os.Chmod(os.TempDir(), 0o711); err != nil {
		t.Logf("%v", err)
	}
	i := spawn(t, newPlace(t))
	if s := i.Strength(); s.Mode != "rootless" || !s.Lacking(sandbox.LackMemory) {
		t.Errorf("strength %+v", s)
	}
	open := func(*testing.T) sandbox.Isolator { return i }
	t.Run("Exercise", func(t *testing.T) { sandboxtest.Exercise(t, open) })
	t.Run("Escape", func(t *testing.T) { sandboxtest.Escape(t, open, sandboxtest.Walls{Networks: sandboxtest.Networks()}) })
}
