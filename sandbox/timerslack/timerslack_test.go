package timerslack

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The test binary is the process that widens its slack, and says what its threads and its children have.
func TestMain(m *testing.M) {
	if os.Getenv("TEST_WIDEN") == "" {
		os.Exit(m.Run())
	}
	if err := Widen(); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	threads, _ := filepath.Glob("/proc/self/task/*")
	for _, dir := range threads {
		text, err := os.ReadFile(filepath.Join("/proc", filepath.Base(dir), "timerslack_ns"))
		fmt.Println("thread", strings.TrimSpace(string(text)), err)
	}
	for _, starts := range []func(func() error) error{func(f func() error) error { return f() }, func(f func() error) error { return Started(Usual, f) }} {
		cmd := exec.Command("/bin/cat", "/proc/self/timerslack_ns")
		cmd.Stdout = os.Stdout
		if err := starts(cmd.Start); err != nil {
			fmt.Println(err)
		}
		_ = cmd.Wait()
	}
	os.Exit(0)
}

func TestWiden(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "an argument")
	cmd.Env = append(os.Environ(), "TEST_WIDEN=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	wide, usual := fmt.Sprint(Wide.Nanoseconds()), fmt.Sprint(Usual.Nanoseconds())
	if len(lines) < 5 {
		t.Fatalf("%s", out)
	}
	for _, l := range lines[:len(lines)-2] {
		if l != "thread "+wide+" <nil>" {
			t.Errorf("%s, of a process that has widened its slack", l)
		}
	}
	if got := lines[len(lines)-2:]; got[0] != wide || got[1] != usual {
		t.Errorf("its children have %v", got)
	}
}

// TestStartedAsItIs: who has the usual slack keeps it, and an error of what is started is returned.
func TestStartedAsItIs(t *testing.T) {
	before, err := get()
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Errorf("no")
	if err := Started(before, func() error { return want }); err != want {
		t.Errorf("got %v", err)
	}
	if after, err := get(); err != nil || after != before || before > 10*time.Millisecond {
		t.Errorf("%v, then %v, %v", before, after, err)
	}
}
