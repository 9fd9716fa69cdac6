package nsjail

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/millrace/millrace/sandbox"
	"github.com/millrace/millrace/sandbox/sandboxtest"
)

// isolator makes one with a forker from source. Without nsjail the test is skipped, aloud.
func isolator(t *testing.T) *Isolator {
	t.Helper()
	path, err := Detect()
	var missing *Missing
	if errors.As(err, &missing) {
		t.Skipf("not tested here: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip("no gcc here")
	}
	dir, err := os.MkdirTemp("", "nsjail")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	csrc := "../forker/csrc"
	if copied := os.Getenv(asUserEnv); copied != "" {
		csrc = copied
	}
	sources, err := filepath.Glob(csrc + "/*.c")
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"-std=gnu11", "-O2", "-static", "-o", filepath.Join(dir, "forker")}
	for _, s := range sources {
		if filepath.Base(s) != "python.c" {
			args = append(args, s)
		}
	}
	if out, err := exec.Command("gcc", args...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	i, err := New(Config{Path: path, Forker: filepath.Join(dir, "forker"), State: filepath.Join(dir, "state")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := i.Close(); err != nil {
			t.Error(err)
		}
	})
	return i
}

func suites(t *testing.T) {
	i := isolator(t)
	open := func(*testing.T) sandbox.Isolator { return i }
	t.Run("Exercise", func(t *testing.T) { sandboxtest.Exercise(t, open) })
	t.Run("Escape", func(t *testing.T) { sandboxtest.Escape(t, open, sandboxtest.Walls{Networks: sandboxtest.Networks()}) })
}

func TestRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	suites(t)
}

const (
	asUserEnv = "NSJAIL_TEST_AS_USER"
	nobodys   = 64_325 // a user that no machine has
)

// TestUser runs the suites as a normal user, as the daemon is one, in a copy of this test binary.
func TestUser(t *testing.T) {
	if os.Geteuid() != 0 {
		suites(t)
		return
	}
	if _, err := Detect(); err != nil {
		t.Skipf("not tested here: %v", err)
	}
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "nsjail")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chown(dir, nobodys, nobodys); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/nsjail.test", self, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(dir+"/csrc", os.DirFS("../forker/csrc")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(dir+"/nsjail.test", "-test.v", "-test.run=^TestUser$")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), asUserEnv+"="+dir+"/csrc", "TMPDIR="+dir, "HOME="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobodys, Gid: nobodys}}
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatal(err)
	}
}

// TestMissing says what to do where there is no nsjail.
func TestMissing(t *testing.T) {
	t.Setenv("MILLRACE_NSJAIL", filepath.Join(t.TempDir(), "nothing"))
	_, err := Detect()
	var missing *Missing
	if !errors.As(err, &missing) || missing.Fix == "" {
		t.Errorf("%v", err)
	}
}
