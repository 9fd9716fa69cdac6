package oci

import (
	"context"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/sandbox"
)

// TestZygoteWalls looks from where a zygote is, which keeps the forker's capabilities and runs what a tenant chose to load.
func TestZygoteWalls(t *testing.T) {
	h := host(t)
	script := `exec 2>&1
echo namespaces $(cat /proc/sys/user/max_user_namespaces)
unshare --user true && echo made a user namespace
echo groups $(sed 's/.*://' /proc/self/cgroup | sort -u)
grep NoNewPrivs /proc/self/status
grep ^Seccomp: /proc/self/status
for f in /proc/kcore /proc/keys /proc/timer_list /proc/interrupts; do
	test -e $f && test -n "$(head -c 1 $f 2>/dev/null | tr '\0' x)" && echo reads $f
done
(echo h > /proc/sysrq-trigger) 2>/dev/null && echo sysrq
(echo 1 > /proc/sys/vm/drop_caches) 2>/dev/null && echo sysctl
mount -o remount,rw /proc/sys 2>/dev/null; (echo 1 > /proc/sys/vm/drop_caches) 2>/dev/null && echo sysctl after remount
cat /proc/1/environ
echo end`
	s, err := h.Open(context.Background(), sandbox.Template{Name: "zygote", Network: sandbox.NetworkNone,
		Zygote: []string{"/bin/sh", "-c", script}, ZygoteEnv: []string{"PATH=/usr/bin:/bin"}}, sandbox.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(s.Log)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []*os.File{s.Control, s.Log} {
		_ = f.Close()
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	got := string(out)
	for _, line := range []string{"namespaces 0\n", "groups /\n", "NoNewPrivs:\t1\n", "Seccomp:\t2\n", "end\n"} {
		if !strings.Contains(got, line) {
			t.Errorf("no line %q", line)
		}
	}
	for _, word := range []string{"made a", "reads /", "sysrq", "sysctl", h.config.State} {
		if strings.Contains(got, word) {
			t.Errorf("%q should not be there", word)
		}
	}
	if t.Failed() {
		t.Log(got)
	}
}

func TestLandlockLack(t *testing.T) {
	for name, c := range map[string]struct {
		version int
		errno   unix.Errno
		why     string
	}{
		"there": {7, 0, ""}, "least": {2, 0, ""}, "too old": {1, 0, "version 1"},
		"switched off": {-1, unix.EOPNOTSUPP, "switched on"}, "not built": {-1, unix.ENOSYS, "without Landlock"},
	} {
		lacks := lackOf(c.version, c.errno)
		switch {
		case c.why == "" && len(lacks) > 0:
			t.Errorf("%s: %+v", name, lacks)
		case c.why != "" && (len(lacks) != 1 || lacks[0].What != sandbox.LackLandlock || lacks[0].Fix == "" || !strings.Contains(lacks[0].Why, c.why)):
			t.Errorf("%s: %+v", name, lacks)
		}
	}
}

// TestFilters: a list is compiled once, in whatever order its calls are named, and their number is bounded.
func TestFilters(t *testing.T) {
	f := &filters{dir: t.TempDir(), made: map[string]string{}}
	a, err := f.path([]string{"mbind", "shmget"})
	if err != nil {
		t.Fatal(err)
	}
	if b, err := f.path([]string{"shmget", "mbind", "shmget"}); err != nil || a != b || len(f.made) != 1 {
		t.Errorf("%s, %s %v", a, b, err)
	}
	if _, err := f.path([]string{"ptrace"}); err == nil {
		t.Error("ptrace was granted")
	}
	for len(f.made) < maxFilters {
		f.made[strings.Repeat("x", len(f.made))] = a
	}
	if _, err := f.path([]string{"tee"}); err == nil {
		t.Error("a list too many was compiled")
	}
	if b, err := f.path([]string{"mbind", "shmget"}); err != nil || a != b {
		t.Errorf("one that is there: %s %v", b, err)
	}
}
