package slot

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/sandbox"
)

// converse starts spec, hands it a descriptor through its socket, and returns what it printed.
func converse(t *testing.T, s sandbox.Slot, spec sandbox.Spec, give *os.File) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	p, err := s.Start(ctx, spec)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if _, _, err := p.Conn().(*net.UnixConn).WriteMsgUnix([]byte("x"), unix.UnixRights(int(give.Fd())), nil); err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(p.Output())
	if err != nil {
		t.Fatal(err)
	}
	if e, err := p.Wait(ctx); err != nil || e.Error != "" {
		t.Fatalf("%+v %v", e, err)
	}
	return string(out)
}

func python(script string) sandbox.Spec {
	return sandbox.Spec{Argv: []string{"/usr/bin/python3", "-I", "-S", "-c", script}, Env: []string{"PATH=/usr/bin:/bin"}}
}

// TestForeignFolder: a job that comes by a descriptor of a folder outside of its root can not open what is in it. Where there is
// no Landlock it can, which shows that the test sees the wall.
func TestForeignFolder(t *testing.T) {
	root(t)
	i := spawn(t, newPlace(t))
	dir, err := os.MkdirTemp("", "foreign")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("foreign text"), 0o644); err != nil {
		t.Fatal(err)
	}
	folder, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	got := converse(t, open(t, i, plain(sandbox.NetworkNone)), python(`
import os, socket
_, fds, _, _ = socket.recv_fds(socket.socket(fileno=3), 1, 1)
try:
    print(os.read(os.open("file", os.O_RDONLY, dir_fd=fds[0]), 99))
except OSError as e:
    print(e.strerror)`), folder)
	want := "Permission denied"
	if i.Strength().Lacking(sandbox.LackLandlock) {
		want = "foreign text"
	}
	if !strings.Contains(got, want) {
		t.Errorf("the job said %q, want %q", got, want)
	}
}

// TestForeignSocket: with the host's network a job does not reach the abstract sockets of the host's programs.
func TestForeignSocket(t *testing.T) {
	root(t)
	if version, _, _ := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION); int(version) < 6 {
		t.Skip("the kernel's Landlock knows nothing of sockets")
	}
	i := spawn(t, newPlace(t))
	name := "@millrace-test-" + filepath.Base(t.TempDir()) + time.Now().Format("150405.000000000")
	l, err := net.Listen("unix", name)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("unix", name) // the control
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	_, got := run(t, open(t, i, plain(sandbox.NetworkHost)), python(`
import socket
s = socket.socket(socket.AF_UNIX)
try:
    s.connect("\0`+name[1:]+`")
    print("connected")
except OSError as e:
    print(e.strerror)`))
	if strings.TrimSpace(got) != "Operation not permitted" {
		t.Errorf("the job said %q", got)
	}
}

// TestWithinItsFolder: the wall takes nothing away that a job needs of its own files.
func TestWithinItsFolder(t *testing.T) {
	root(t)
	i := spawn(t, newPlace(t))
	spec := shell(`set -e
mkdir a b && echo one > a/file && mv a/file b/file && ln b/file a/hard && ln -s ../b/file a/soft && cat a/soft
echo two > b/file && truncate -s 1 b/file && mkfifo pipe && rm -r a b pipe
cp /bin/true tool && ./tool && echo x > /tmp/in-tmp && test -f /work/in-tmp
echo x > /dev/null && echo x > /dev/stderr && head -c 4 /dev/urandom > random
echo 1000 > /proc/self/oom_score_adj && cat /proc/self/comm
cat /etc/passwd > copy && ls / > list && ulimit -n && find /usr/bin -name true | head -n 1`)
	spec.Limits.OpenFiles = 20 // fewer than the forker uses on its way
	e, out := run(t, open(t, i, plain(sandbox.NetworkNone)), spec)
	if e.Code != 0 || !strings.Contains(out, "one\n") || !strings.HasSuffix(out, "20\n/usr/bin/true\n") {
		t.Errorf("%+v\n%s", e, out)
	}
}
