package seccomp

import (
	"encoding/binary"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"testing"
	"unsafe"

	"github.com/elastic/go-seccomp-bpf/arch"
	moby "github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// verdict runs the filter as the kernel would. The virtual machine reads big-endian words where seccomp reads native ones.
func verdict(t *testing.T, vm *bpf.VM, audit uint32, nr int, args ...uint64) uint32 {
	t.Helper()
	data := make([]byte, 64)
	binary.BigEndian.PutUint32(data[0:], uint32(nr))
	binary.BigEndian.PutUint32(data[4:], audit)
	for i, a := range args {
		lo, hi := data[16+8*i:], data[16+8*i+4:]
		binary.BigEndian.PutUint32(lo, uint32(a))
		binary.BigEndian.PutUint32(hi, uint32(a>>32))
	}
	n, err := vm.Run(data)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(n)
}

const (
	allow  = uint32(0x7fff0000)
	eperm  = uint32(0x00050000) | uint32(unix.EPERM)
	enosys = uint32(0x00050000) | uint32(unix.ENOSYS)
)

func machine(t *testing.T, calls ...string) (*bpf.VM, *arch.Info) {
	t.Helper()
	raw, err := assemble(calls)
	if err != nil {
		t.Fatal(err)
	}
	if len(raw) > 4096 {
		t.Fatalf("filter has %d instructions, the kernel takes 4096", len(raw))
	}
	ins, _ := bpf.Disassemble(raw)
	vm, err := bpf.NewVM(ins)
	if err != nil {
		t.Fatal(err)
	}
	info, err := arch.GetInfo("")
	if err != nil {
		t.Fatal(err)
	}
	return vm, info
}

func TestVerdicts(t *testing.T) {
	vm, info := machine(t)
	id := uint32(info.ID)
	cases := []struct {
		name string
		args []uint64
		want uint32
	}{
		{"read", nil, allow}, {"openat", nil, allow}, {"execve", nil, allow}, {"execveat", nil, allow}, {"futex", nil, allow},
		{"clone", []uint64{unix.CLONE_NEWPID | unix.CLONE_NEWNS}, allow}, {"mount", nil, allow}, {"umount2", nil, allow},
		{"capset", nil, allow}, {"seccomp", nil, allow}, {"close_range", nil, allow}, {"setresuid", nil, allow},
		{"unshare", nil, allow}, {"sethostname", nil, allow}, {"landlock_create_ruleset", nil, allow},
		{"shmget", nil, enosys}, {"msgsnd", nil, enosys}, {"mbind", nil, enosys}, {"add_key", nil, eperm},
		{"clone3", nil, enosys}, {"io_uring_setup", nil, enosys}, {"io_setup", nil, enosys}, {"fsopen", nil, enosys},
		{"ptrace", nil, eperm}, {"process_vm_readv", nil, eperm}, {"bpf", nil, eperm}, {"keyctl", nil, eperm},
		{"userfaultfd", nil, eperm}, {"perf_event_open", nil, eperm}, {"kexec_load", nil, eperm}, {"setns", nil, eperm},
		{"socket", []uint64{unix.AF_INET, unix.SOCK_STREAM}, allow}, {"socket", []uint64{unix.AF_UNIX}, allow},
		{"socket", []uint64{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE}, allow},
		{"socket", []uint64{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER}, enosys},
		{"socket", []uint64{unix.AF_VSOCK}, enosys}, {"socket", []uint64{unix.AF_PACKET}, enosys},
		{"socket", []uint64{unix.AF_ALG}, enosys}, {"socket", []uint64{1<<32 | unix.AF_INET}, enosys},
		{"personality", []uint64{0xffffffff}, allow}, {"personality", []uint64{0x0040000}, enosys},
	}
	for _, c := range cases {
		nr, ok := info.SyscallNames[c.name]
		if !ok {
			continue // not a call of this architecture
		}
		if got := verdict(t, vm, id, nr, c.args...); got != c.want {
			t.Errorf("%s%v: got %#x, want %#x", c.name, c.args, got, c.want)
		}
	}
	if got := verdict(t, vm, id, 4000); got != enosys {
		t.Errorf("future call: got %#x", got)
	}
	if got := verdict(t, vm, uint32(arch.ARM.ID), 3); got != enosys {
		t.Errorf("foreign architecture: got %#x", got)
	}
	if runtime.GOARCH == "amd64" {
		if got := verdict(t, vm, id, 0x40000000|info.SyscallNames["read"]); got != enosys {
			t.Errorf("x32 call: got %#x", got)
		}
	}
}

// TestEveryCall holds the assembled jumps against the lists, without and with granted calls: what is listed is allowed, nothing
// else is.
func TestEveryCall(t *testing.T) {
	granted := []string{"mbind", "mbind", "read", "shmget"} // also twice, and what is allowed anyway
	for _, calls := range [][]string{nil, granted} {
		vm, info := machine(t, calls...)
		for name, nr := range info.SyscallNames {
			if conditional(name) {
				continue
			}
			want := Allowed(name, calls) || slices.Contains(forker, name)
			if got := verdict(t, vm, uint32(info.ID), nr); (got == allow) != want {
				t.Errorf("granted %v: %s: got %#x, want allowed=%v", calls, name, got, want)
			}
		}
	}
}

// TestListsAreApart: each call is in one list, under a name that some architecture knows.
func TestListsAreApart(t *testing.T) {
	seen := map[string]bool{}
	for _, list := range [][]string{base, forker, grantable, denied} {
		for _, name := range list {
			if seen[name] || conditional(name) {
				t.Errorf("%s is listed twice", name)
			}
			seen[name] = true
			_, amd := arch.X86_64.SyscallNames[name]
			_, arm := arch.ARM.SyscallNames[name]
			if !amd && !arm {
				t.Errorf("%s is not the name of a call", name)
			}
		}
	}
}

// TestWithinDocker: base allows nothing that a container of Docker, which has more capabilities, may not do either.
func TestWithinDocker(t *testing.T) {
	spec := &specs.Spec{Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{}}}
	profile, err := moby.GetDefaultProfile(spec)
	if err != nil {
		t.Fatal(err)
	}
	docker := map[string]bool{}
	for _, rule := range profile.Syscalls {
		for _, name := range rule.Names {
			docker[name] = docker[name] || rule.Action == specs.ActAllow
		}
	}
	for _, name := range base {
		if !docker[name] {
			t.Errorf("Docker does not allow %s", name)
		}
	}
	if len(base) >= len(docker) {
		t.Errorf("%d calls, Docker has %d", len(base), len(docker))
	}
}

func TestCheckRefuses(t *testing.T) {
	for _, list := range [][]string{denied, forker, {"clone3", "io_uring_setup", "fsopen", "", "no such call", "Read"}} {
		for _, name := range list {
			if Check([]string{"read", name}) == nil {
				t.Errorf("%q was granted", name)
			}
			if p, err := Program([]string{name}); err == nil || p != nil {
				t.Errorf("%q was compiled", name)
			}
		}
	}
	if err := Check(grantable); err != nil {
		t.Error(err)
	}
}

const helperEnv = "SECCOMP_TEST_HELPER"

// TestKernelTakesIt loads the bytes in a child and sees a denied and an allowed call.
func TestKernelTakesIt(t *testing.T) {
	if os.Getenv(helperEnv) != "" {
		loadAndProbe()
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestKernelTakesIt$")
	cmd.Env = append(os.Environ(), helperEnv+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func loadAndProbe() {
	runtime.LockOSThread()
	prog, err := Program(nil)
	if err != nil {
		panic(err)
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		panic(err)
	}
	fp := unix.SockFprog{Len: uint16(len(prog) / 8), Filter: (*unix.SockFilter)(unsafe.Pointer(&prog[0]))}
	if _, _, e := unix.Syscall(unix.SYS_SECCOMP, 1, 1, uintptr(unsafe.Pointer(&fp))); e != 0 {
		panic(e)
	}
	if _, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, false); err != unix.EPERM {
		panic(err)
	}
	if _, err := unix.Socket(unix.AF_VSOCK, unix.SOCK_STREAM, 0); err != unix.ENOSYS {
		panic(err)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		panic(err)
	}
	_ = unix.Close(fd)
	os.Exit(0)
}

func BenchmarkProgram(b *testing.B) {
	for b.Loop() {
		if _, err := Program(nil); err != nil {
			b.Fatal(err)
		}
	}
}
