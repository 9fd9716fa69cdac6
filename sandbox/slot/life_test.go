package slot

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/millrace/millrace/sandbox"
)

const daemonEnv = "SLOT_TEST_DAEMON"

func plain(n sandbox.Network) sandbox.Template { return sandbox.Template{Name: "exec", Network: n} }

// inside counts what a helper holds: descriptors and mounts.
func inside(t *testing.T, pid string) (fds, mounts int) {
	t.Helper()
	entries, err := os.ReadDir("/proc/" + pid + "/fd")
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile("/proc/" + pid + "/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries), strings.Count(string(data), "\n")
}

// helperPid finds the helper of a place by its state directory.
func helperPid(t *testing.T, p place) string {
	t.Helper()
	for _, pid := range processesNamed(p.helper.Path) {
		if data, _ := os.ReadFile("/proc/" + pid + "/cmdline"); strings.Contains(string(data), p.state) {
			return pid
		}
	}
	t.Fatal("no helper")
	return ""
}

func TestNothingGrows(t *testing.T) {
	root(t)
	p := newPlace(t)
	i := spawn(t, p)
	round := func() {
		var wg sync.WaitGroup
		for n := range 6 {
			wg.Go(func() {
				s, err := i.Open(context.Background(), plain([]sandbox.Network{sandbox.NetworkNone, sandbox.NetworkHost}[n%2]))
				if err != nil {
					t.Error(err)
					return
				}
				if e, out := run(t, s, shell("echo hello")); e.Code != 0 || out != "hello\n" {
					t.Errorf("%+v %q", e, out)
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
	round() // what is made once is made now
	pid := helperPid(t, p)
	fds, mounts := inside(t, pid)
	for range 4 {
		round()
	}
	if f, m := inside(t, pid); f > fds+2 || m != mounts { // the runtime may open a poller or two of its own
		t.Errorf("helper grew from %d descriptors and %d mounts to %d and %d", fds, mounts, f, m)
	}
	if left := groups(p.cgroup + "/*-*"); len(left) > 0 {
		t.Errorf("control groups left: %v", left)
	}
	if left, _ := filepath.Glob(p.state + "/0/slots/*"); len(left) > 0 {
		t.Errorf("skeletons left: %v", left)
	}
}

func TestHelperKilled(t *testing.T) {
	root(t)
	p := newPlace(t)
	i, err := Spawn(context.Background(), p.helper, Options{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := i.Open(context.Background(), plain(sandbox.NetworkNone))
	if err != nil {
		t.Fatal(err)
	}
	pid, _ := strconv.Atoi(helperPid(t, p))
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	within(t, i.Done(), "the isolator to notice")
	within(t, s.Done(), "the slot to end")
	if _, err := i.Open(context.Background(), plain(sandbox.NetworkNone)); err == nil {
		t.Error("opened a slot without a helper")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := i.Close(); err == nil {
		t.Error("the helper's death was kept secret")
	}
	if len(groups(p.cgroup+"/*-*")) == 0 {
		t.Error("the killed helper left nothing, so the next part proves nothing")
	}
	spawn(t, p) // sweeps; what is left is reported at the end of the test
	if left := groups(p.cgroup + "/*-*"); len(left) > 0 {
		t.Errorf("not swept: %v", left)
	}
}

// TestDaemon is not a test but the daemon of the tests below.
func TestDaemon(t *testing.T) {
	mode := os.Getenv(daemonEnv)
	if mode == "" {
		t.Skip("started by other tests")
	}
	os.Exit(daemon(mode))
}

func daemon(mode string) int {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	f, ok, err := Inherited()
	if err != nil || !ok {
		fmt.Println("no helper:", err)
		return 1
	}
	i, err := FromFile(context.Background(), f, Options{})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	for range 2 {
		s, err := i.Open(context.Background(), plain(sandbox.NetworkNone))
		if err != nil {
			fmt.Println(err)
			return 1
		}
		if _, err := s.Start(context.Background(), shell("sleep 1000 & sleep 1000")); err != nil {
			fmt.Println(err)
			return 1
		}
	}
	groups, _ := os.Getgroups()
	fmt.Printf("ready uid=%d gid=%d groups=%v pid=%d strength=%s\n", os.Getuid(), os.Getgid(), groups, os.Getpid(), i.Strength().Mode)
	if mode == "two signals" {
		fmt.Println("got", <-signals)
		fmt.Println("got", <-signals)
		return 7
	}
	select {}
}

// underHelper starts this test binary as a daemon under millrace-jail run.
func underHelper(t *testing.T, p place, mode string) (*exec.Cmd, *bufio.Reader) {
	t.Helper()
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(filepath.Dir(p.state), "daemon.test")
	if err := os.WriteFile(copied, self, 0o755); err != nil {
		t.Fatal(err)
	}
	args := append([]string{"run", "--uid", strconv.Itoa(nobodys), "--gid", strconv.Itoa(nobodys), "--lib", p.helper.Lib,
		"--cache", p.helper.Cache}, p.helper.Extra...)
	cmd := exec.Command(p.helper.Path, append(args, "--", copied, "-test.run=^TestDaemon$")...)
	cmd.Env = append(os.Environ(), daemonEnv+"="+mode)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	r := bufio.NewReader(out)
	line, err := r.ReadString('\n')
	want := fmt.Sprintf("ready uid=%d gid=%d groups=[] pid=", nobodys, nobodys)
	if err != nil || !strings.HasPrefix(line, want) || !strings.HasSuffix(line, "strength=full\n") {
		rest, _ := io.ReadAll(r)
		t.Fatalf("daemon said %q %s(%v)", line, rest, err)
	}
	t.Log(strings.TrimSpace(line))
	return cmd, r
}

func daemonPid(t *testing.T, p place) int {
	t.Helper()
	pids := processesNamed(filepath.Join(filepath.Dir(p.state), "daemon.test"))
	if len(pids) != 1 {
		t.Fatalf("daemons: %v", pids)
	}
	pid, _ := strconv.Atoi(pids[0])
	return pid
}

func TestDaemonKilled(t *testing.T) {
	root(t)
	p := newPlace(t)
	cmd, _ := underHelper(t, p, "wait")
	if n := len(groups(p.cgroup + "/*-*")); n == 0 {
		t.Error("no control groups, so their absence later proves nothing")
	}
	if err := syscall.Kill(daemonPid(t, p), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 137 {
		t.Errorf("helper ended with %v, want the daemon's status 137", err)
	}
	p.clean(t)
}

func TestDaemonSignals(t *testing.T) {
	root(t)
	p := newPlace(t)
	cmd, out := underHelper(t, p, "two signals")
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGTERM} {
		if err := cmd.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
		if line, err := out.ReadString('\n'); err != nil || line != fmt.Sprintln("got", s) {
			t.Errorf("%q %v", line, err)
		}
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 7 {
		t.Errorf("helper ended with %v, want the daemon's status 7", err)
	}
	p.clean(t)
}

func TestRunHelperKilled(t *testing.T) {
	root(t)
	p := newPlace(t)
	cmd, out := underHelper(t, p, "wait")
	pid := daemonPid(t, p)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(out); err != nil { // ends when the daemon, which holds the other end, has died
		t.Errorf("%q %v", rest, err)
	}
	_ = cmd.Wait()
	t.Logf("daemon %d died with its helper", pid)
	p.helper.Extra = append(p.helper.Extra, "--uid", strconv.Itoa(nobodys))
	spawn(t, p)
	if left := groups(p.cgroup + "/*-*"); len(left) > 0 {
		t.Errorf("not swept: %v", left)
	}
}

func within(t *testing.T, c <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(10 * time.Second):
		t.Fatalf("waited 10 s for %s", what)
	}
}
