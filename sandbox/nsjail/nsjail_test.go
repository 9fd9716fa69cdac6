package nsjail

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
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
	sources, err := filepath.Glob("../forker/csrc/*.c")
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

func TestExercise(t *testing.T) {
	i := isolator(t)
	sandboxtest.Exercise(t, func(*testing.T) sandbox.Isolator { return i })
}

func TestEscape(t *testing.T) {
	i := isolator(t)
	sandboxtest.Escape(t, func(*testing.T) sandbox.Isolator { return i },
		sandboxtest.Walls{Networks: []sandbox.Network{sandbox.NetworkNone, sandbox.NetworkHost}})
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
