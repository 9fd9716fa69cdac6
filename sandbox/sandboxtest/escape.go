package sandboxtest

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/millrace/millrace/sandbox"
)

// attempt is one probe that must fail inside.
type attempt struct {
	name string
	// control: run without walls, by root, the probe works (unless the kernel has not got the call). That is safe on any host:
	// it changes nothing outside the probing process.
	control bool
	// full: only full isolation promises it.
	full bool
}

var attempts = []attempt{
	// Mounts and namespaces.
	{name: "mount"}, {name: "bind"}, {name: "remount"}, {name: "umount"}, {name: "pivot_root"}, {name: "chroot", control: true},
	{name: "unshare_user", control: true}, {name: "unshare_mount", control: true}, {name: "unshare_net", control: true},
	{name: "unshare_pid", control: true}, {name: "unshare_cgroup", control: true}, {name: "clone_user", control: true},
	{name: "clone3", control: true}, {name: "setns", control: true}, {name: "open_tree", control: true},
	{name: "fsopen", control: true}, {name: "open_by_handle", control: true}, {name: "mknod", control: true},
	// Kernel facilities.
	{name: "bpf", control: true}, {name: "keyctl", control: true}, {name: "add_key", control: true},
	{name: "userfaultfd", control: true}, {name: "io_uring", control: true}, {name: "perf", control: true},
	{name: "sethostname"}, {name: "settime"}, {name: "packet", control: true}, {name: "raw", control: true},
	// Powers and resources.
	{name: "setuid", control: true, full: true}, {name: "setgid", control: true, full: true}, {name: "nice", control: true},
	{name: "realtime"}, {name: "raise_nofile"}, {name: "cap_eff", control: true}, {name: "cap_prm", control: true},
	{name: "cap_inh"}, {name: "cap_bnd", control: true}, {name: "cap_amb"}, {name: "new_privs", control: true},
	{name: "no_seccomp", control: true}, {name: "groups", full: true}, {name: "extra_fds"}, {name: "setuid_file"},
	// Files of the host.
	{name: "shadow", control: true}, {name: "root_home", control: true}, {name: "write_usr"}, {name: "write_etc"},
	{name: "write_root"}, {name: "write_dev"}, {name: "write_internals"}, {name: "write_sysctl", control: true},
	{name: "core_pattern", control: true}, {name: "sysrq", control: true}, {name: "kcore"}, {name: "dev_mem"}, {name: "kmsg"},
	{name: "write_exe"}, {name: "cgroup"},
	// Other processes.
	{name: "see_processes", control: true}, {name: "signal_others", control: true}, {name: "ptrace_others"},
	{name: "read_others", control: true},
}

// Escape runs every attempt inside a slot, where all must fail, and a few that go through the Spec. control, which may be nil,
// opens an isolator without walls and shows that the probes work there, so that a failure inside means something.
func Escape(t *testing.T, open, control Open) {
	t.Run("Attempts", func(t *testing.T) {
		b := setup(t, open)
		if !b.walls() {
			t.Skip("there are no walls")
		}
		for _, a := range attempts {
			if a.full && b.strength.Mode != "full" {
				continue
			}
			for _, init := range []bool{false, true} {
				s := b.probe(a.name)
				s.Init = init
				r := b.run(s)
				switch {
				case r.Code == 0:
					t.Errorf("%s (init %v) worked: %s", a.name, init, r.Output)
				case r.Code != 1 || r.Error != "":
					t.Errorf("%s (init %v): the probe itself failed: %+v", a.name, init, r)
				}
			}
		}
	})
	t.Run("HostFiles", func(t *testing.T) { testHostFiles(setup(t, open)) })
	t.Run("OtherSlot", func(t *testing.T) { testOtherSlot(setup(t, open)) })
	t.Run("Mounts", func(t *testing.T) { testMountsGone(setup(t, open)) })
	if control != nil {
		t.Run("Control", func(t *testing.T) { testControl(setup(t, control)) })
	}
}

// NoNetwork checks a slot with sandbox.NetworkNone: there is no interface but its own loopback.
func NoNetwork(t *testing.T, open Open) {
	b := setup(t, open)
	b.need(sandbox.LackWalls)
	if r := b.run(b.probe("interfaces")); r.Code != 1 {
		t.Errorf("there is an interface besides lo: %+v", r)
	}
	if r := b.run(bash("exec 4<>/dev/tcp/192.0.2.1/80")); !strings.Contains(r.Output, "unreachable") {
		t.Errorf("there is a route to 192.0.2.1: %+v", r)
	}
}

// testControl: outside, the probes work.
func testControl(b *bench) {
	if os.Geteuid() != 0 {
		b.t.Skip("the control needs root")
	}
	for _, a := range attempts {
		if !a.control {
			continue
		}
		r := b.run(b.probe(a.name))
		switch {
		case r.Code == 0:
		case r.Code == 1 && absent(r.Output):
			b.t.Logf("%s: not in this kernel", a.name)
		case r.Code == 1 && containerised():
			b.t.Logf("%s: this host denies it to its root: %s", a.name, strings.TrimSpace(r.Output))
		default:
			b.t.Errorf("%s does not work without walls, so it proves nothing: %+v", a.name, r)
		}
	}
}

// absent says whether the output of a probe means that this kernel was built without what it tries.
func absent(output string) bool {
	output = strings.ToLower(output)
	return strings.Contains(output, syscall.ENOSYS.Error()) || strings.Contains(output, syscall.ENOENT.Error())
}

// containerised says whether this host is itself a container with fewer powers than a root has.
func containerised() bool {
	status, _ := os.ReadFile("/proc/self/status")
	for _, line := range strings.Split(string(status), "\n") {
		if strings.HasPrefix(line, "Seccomp:\t") && line != "Seccomp:\t0" {
			return true
		}
	}
	return false
}

// testHostFiles: a world-readable file of the host, whose name the job knows, is not there.
func testHostFiles(b *bench) {
	b.need(sandbox.LackWalls)
	dir, err := os.MkdirTemp("", "millrace-host-")
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { os.RemoveAll(dir) })
	secret := filepath.Join(dir, "secret")
	for path, mode := range map[string]os.FileMode{dir: 0o755, secret: 0o644} {
		if path == secret {
			err = os.WriteFile(path, []byte("host secret"), mode)
		}
		if err == nil {
			err = os.Chmod(path, mode)
		}
		if err != nil {
			b.t.Fatal(err)
		}
	}
	r := b.run(bash("cat " + secret + " /proc/1/root" + secret + " /proc/self/cwd/../" + secret))
	if strings.Contains(r.Output, "host secret") || r.Code == 0 {
		b.t.Errorf("read a file of the host: %+v", r)
	}
}

// testOtherSlot: a job sees neither the files nor the shared memory nor the abstract sockets of a job in another slot.
func testOtherSlot(b *bench) {
	b.need(sandbox.LackWalls)
	other := b.open()
	first := b.slot
	s := bash("echo theirs > /work/mine; echo theirs > /tmp/mine; hostname; cat <&3")
	p := b.start(s)
	b.slot = other
	r := b.run(bash("ls /work /tmp; ls -d /proc/[0-9]* | wc -l"))
	if strings.Contains(r.Output, "mine") || r.Code != 0 {
		b.t.Errorf("saw another slot: %+v", r)
	}
	b.slot = first
	_ = p.Kill()
	finish(b.t, p)
}

// testMountsGone: what a job mounts goes with it; the slot's own mounts do not grow.
func testMountsGone(b *bench) {
	b.need(sandbox.LackWalls)
	count := func() string {
		r := b.run(bash("wc -l < /proc/self/mountinfo"))
		if r.Code != 0 {
			b.t.Fatalf("%+v", r)
		}
		return r.Output
	}
	before := count()
	for range 5 {
		b.run(bash("echo x > /tmp/x"))
	}
	if after := count(); after != before {
		b.t.Errorf("mounts grew from %s to %s", before, after)
	}
}
