package forker_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/sandbox"
	"github.com/millrace/millrace/sandbox/forker"
)

// The harness is the least container that keeps the contract of doc.go: this test binary, started again in new namespaces,
// builds a root and becomes the forker. So the forker is tested without the jail.

const planVar = "MILLRACE_TEST_SLOT"

// plan is what the re-executed test binary is told.
type plan struct {
	Root, Forker string
	Binds        []sandbox.Bind
	Args         []string
	Env          []string
}

func TestMain(m *testing.M) {
	if p := os.Getenv(planVar); p != "" {
		err := becomeSlot(p)
		fmt.Fprintln(os.Stderr, "harness:", err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(built.dir)
	os.Exit(code)
}

func becomeSlot(encoded string) error {
	var p plan
	if err := json.Unmarshal([]byte(encoded), &p); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", p.Root, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755"); err != nil {
		return fmt.Errorf("root: %w", err)
	}
	for _, dir := range []string{"usr", "etc", "dev", "proc", "work", "tmp", "millrace", "old"} {
		if err := os.Mkdir(filepath.Join(p.Root, dir), 0o755); err != nil {
			return err
		}
	}
	for _, name := range []string{"bin", "sbin", "lib", "lib64"} {
		_ = os.Symlink("usr/"+name, filepath.Join(p.Root, name))
	}
	for name, target := range map[string]string{"fd": "", "stdin": "/0", "stdout": "/1", "stderr": "/2"} {
		_ = os.Symlink("/proc/self/fd"+target, filepath.Join(p.Root, "dev", name))
	}
	_ = os.Symlink("/work", filepath.Join(p.Root, "dev/shm"))
	if err := os.WriteFile(filepath.Join(p.Root, "etc/passwd"), []byte("job:x:1000:1000::/work:/bin/bash\n"), 0o644); err != nil {
		return err
	}
	binds := []sandbox.Bind{{Source: "/usr", Target: "/usr"}, {Source: p.Forker, Target: "/millrace/forker"}}
	for _, d := range []string{"null", "zero", "full", "random", "urandom"} {
		binds = append(binds, sandbox.Bind{Source: "/dev/" + d, Target: "/dev/" + d, Writable: true})
	}
	for _, b := range append(binds, p.Binds...) {
		if err := bind(p.Root, b); err != nil {
			return fmt.Errorf("bind %s: %w", b.Target, err)
		}
	}
	if err := unix.Mount("proc", filepath.Join(p.Root, "proc"), "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("proc: %w", err)
	}
	if err := unix.PivotRoot(p.Root, filepath.Join(p.Root, "old")); err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	if err := unix.Unmount("/old", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("umount: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV, ""); err != nil {
		return fmt.Errorf("remount: %w", err)
	}
	_ = os.Chdir("/")
	return unix.Exec("/millrace/forker", append([]string{"/millrace/forker"}, p.Args...), p.Env)
}

func bind(root string, b sandbox.Bind) error {
	target := filepath.Join(root, b.Target)
	st, err := os.Stat(b.Source)
	if err != nil {
		return err
	}
	if st.IsDir() {
		err = os.MkdirAll(target, 0o755)
	} else if err = os.MkdirAll(filepath.Dir(target), 0o755); err == nil {
		err = os.WriteFile(target, nil, 0o644)
	}
	if err != nil {
		return err
	}
	if err := unix.Mount(b.Source, target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return err
	}
	if b.Writable {
		return nil
	}
	return unix.Mount("", target, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV, "")
}

// built holds the C program and the extension, built once per test run into a folder that every uid may enter.
var built struct {
	once sync.Once
	dir  string
	err  error
}

const python = "/usr/bin/python3"

func build(t testing.TB) string {
	t.Helper()
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "millrace-forker-"); built.err != nil {
			return
		}
		if built.err = os.Chmod(built.dir, 0o755); built.err != nil {
			return
		}
		out, err := exec.Command("./build.sh", built.dir, python).CombinedOutput()
		if err != nil {
			built.err = fmt.Errorf("build.sh: %w\n%s", err, out)
		}
	})
	if built.err != nil {
		if _, err := exec.LookPath("gcc"); err != nil {
			t.Skip("gcc is needed to build the forker")
		}
		t.Fatal(built.err)
	}
	return built.dir
}

// harness implements sandbox.Isolator.
type harness struct {
	t        testing.TB
	rootless bool
	options  forker.Options
	args     []string // before the zygote's
}

func (h *harness) Strength() sandbox.Strength {
	s := sandbox.Strength{Mode: "full", Lacks: []sandbox.Lack{
		{What: sandbox.LackMemory, Why: "the harness makes no cgroup"}, {What: sandbox.LackCPU, Why: "the harness makes no cgroup"},
	}}
	if h.rootless {
		s.Mode = "rootless"
		s.Lacks = append(s.Lacks, sandbox.Lack{What: sandbox.LackUsers, Why: "one user is mapped"})
	}
	return s
}

func (h *harness) Close() error { return nil }

func (h *harness) Open(_ context.Context, tmpl sandbox.Template) (sandbox.Slot, error) {
	dir := build(h.t)
	root, err := os.MkdirTemp(dir, "root-")
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(root, 0o755); err != nil {
		return nil, err
	}
	p := plan{Root: root, Forker: filepath.Join(dir, "forker"), Binds: tmpl.Binds, Args: h.args, Env: tmpl.ZygoteEnv}
	if len(tmpl.Zygote) > 0 {
		p.Args = append(append(append([]string{}, h.args...), "--"), tmpl.Zygote...)
	}
	conn, cmd, err := launch(p, h.rootless)
	if err != nil {
		h.t.Skipf("this host does not let the test make namespaces: %v", err)
	}
	o := h.options
	o.Rootless, o.RlimitPids = h.rootless, true
	if !h.rootless && o.UID == 0 {
		o.UID, o.GID = 1000, 1000
	}
	c, err := forker.New(conn, o)
	if err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return nil, fmt.Errorf("%w: %s", err, cmd.Stderr)
	}
	return &harnessSlot{Client: c, cmd: cmd}, nil
}

// launch starts the test binary again, as init of new namespaces, with the far end of the returned socket as descriptor 3.
func launch(p plan, rootless bool) (*net.UnixConn, *exec.Cmd, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	near, far := os.NewFile(uintptr(pair[0]), "control"), os.NewFile(uintptr(pair[1]), "control")
	defer near.Close()
	defer far.Close()
	encoded, err := json.Marshal(p)
	if err != nil {
		return nil, nil, err
	}
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 300000, Size: 65536}}
	gids := ids
	if rootless {
		uid, gid := os.Getuid(), os.Getgid()
		if uid == 0 {
			uid, gid = 65534, 65534 // root is exempt from RLIMIT_NPROC, and nobody runs rootless as root
		}
		ids = []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}}
		gids = []syscall.SysProcIDMap{{ContainerID: 0, HostID: gid, Size: 1}}
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{planVar + "=" + string(encoded)}
	cmd.ExtraFiles = []*os.File{far}
	cmd.Stderr = &strings.Builder{}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS |
			unix.CLONE_NEWNET | unix.CLONE_NEWCGROUP,
		UidMappings: ids, GidMappings: gids, GidMappingsEnableSetgroups: !rootless,
		Credential: &syscall.Credential{NoSetGroups: rootless},
	}
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	c, err := net.FileConn(near)
	if err != nil {
		return nil, nil, err
	}
	return c.(*net.UnixConn), cmd, nil
}

type harnessSlot struct {
	*forker.Client
	cmd  *exec.Cmd
	once sync.Once
}

// Close ends the slot; its init must end by itself when the control socket is closed.
func (s *harnessSlot) Close() error {
	err := s.Client.Close()
	s.once.Do(func() { _ = s.cmd.Wait() })
	return err
}

// rawSlot returns the control socket of a plain slot, after its hello.
func rawSlot(t *testing.T) *net.UnixConn {
	t.Helper()
	dir := build(t)
	root, err := os.MkdirTemp(dir, "root-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	conn, cmd, err := launch(plan{Root: root, Forker: filepath.Join(dir, "forker")}, false)
	if err != nil {
		t.Skipf("this host does not let the test make namespaces: %v", err)
	}
	t.Cleanup(func() {
		conn.Close()
		_ = cmd.Wait()
	})
	buf := make([]byte, 300)
	n, err := conn.Read(buf)
	if err != nil {
		t.Fatal(err, cmd.Stderr)
	}
	if r, err := forker.Decode(buf[:n]); err != nil || r.Op != forker.OpHello || r.Value < 2 {
		t.Fatalf("hello: %+v %v", r, err)
	}
	return conn
}

func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mapping a range of ids needs root")
	}
}
