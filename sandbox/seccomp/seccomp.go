// Package seccomp holds the allow-list of system calls of a slot, as data, and compiles it to the classic BPF program that the
// forker loads before it does anything else.
//
//	base       what any program may call
//	forker     what the forker needs to confine a job; the second, small filter that each job gets takes it away again
//	grantable  what a template may ask for beyond base (sandbox.Template.Calls), because its language needs it
//
// Everything else is refused, never answered with a signal: a program that only looks whether the kernel has a call goes on.
// Calls of another architecture than the machine's own, 32-bit and x32 entry included, are refused like unknown ones.
//
// Program is pure Go: no libseccomp, no build tag, and about a millisecond instead of the forty that libseccomp takes; who opens
// slots keeps its result. The kernel remembers for each call number whether the filter always allows it, so that the length of
// the program is paid for when it is loaded, once a slot, and not by each call.
package seccomp

import (
	"encoding/binary"
	"fmt"
	"slices"

	elastic "github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Capabilities are those that the forker keeps in the user namespace of its slot. Jobs have none.
var Capabilities = []string{"CAP_SYS_ADMIN", "CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP", "CAP_KILL"}

const errnoAction = elastic.ActionErrno

// Check says whether a template may ask for the calls.
func Check(calls []string) error {
	for _, name := range calls {
		if !slices.Contains(base, name) && !slices.Contains(grantable, name) {
			return fmt.Errorf("the system call %q can not be allowed in a slot", name[:min(len(name), 40)])
		}
	}
	return nil
}

// Allowed says whether a job may make the call, for some arguments at least, when its template asks for calls.
func Allowed(name string, calls []string) bool {
	return slices.Contains(base, name) || conditional(name) || slices.Contains(grantable, name) && slices.Contains(calls, name)
}

// Program returns the filter of a slot whose template asks for calls, for the architecture it runs on: an array of struct
// sock_filter in the machine's byte order, ready for seccomp(SECCOMP_SET_MODE_FILTER).
func Program(calls []string) ([]byte, error) {
	raw, err := assemble(calls)
	if err != nil {
		return nil, err
	}
	out := make([]byte, 0, len(raw)*8)
	for _, i := range raw {
		out = binary.NativeEndian.AppendUint16(out, i.Op)
		out = append(out, i.Jt, i.Jf)
		out = binary.NativeEndian.AppendUint32(out, i.K)
	}
	return out, nil
}

func assemble(calls []string) ([]bpf.RawInstruction, error) {
	if err := Check(calls); err != nil {
		return nil, err
	}
	p, err := policy(calls)
	if err != nil {
		return nil, err
	}
	ins, err := p.Assemble()
	if err != nil {
		return nil, fmt.Errorf("assemble filter: %w", err)
	}
	// The library knows only EPERM as a default; its last instruction is that default, reached by foreign architectures too.
	last := len(ins) - 1
	if r, ok := ins[last].(bpf.RetConstant); !ok || r.Val != uint32(errnoAction)|uint32(unix.EPERM) {
		return nil, fmt.Errorf("assemble filter: unexpected last instruction %v", ins[last])
	}
	ins[last] = bpf.RetConstant{Val: uint32(errnoAction) | uint32(unix.ENOSYS)}
	raw, err := bpf.Assemble(ins)
	if err != nil {
		return nil, fmt.Errorf("encode filter: %w", err)
	}
	return raw, nil
}

// policy translates the lists. Names that the architecture has not are left out: they can not be called there.
func policy(calls []string) (*elastic.Policy, error) {
	info, err := arch.GetInfo("")
	if err != nil {
		return nil, fmt.Errorf("seccomp: %w", err)
	}
	known := func(names ...string) []string {
		var out []string
		for _, name := range names {
			if _, ok := info.SyscallNames[name]; ok {
				out = append(out, name)
			}
		}
		return out
	}
	all := slices.Concat(base, forker, calls)
	slices.Sort(all)
	allow := elastic.SyscallGroup{Action: elastic.ActionAllow, Names: known(slices.Compact(all)...)}
	for _, c := range conditions {
		if len(known(c.Name)) > 0 {
			allow.NamesWithCondtions = append(allow.NamesWithCondtions, c)
		}
	}
	deny := elastic.SyscallGroup{Action: errnoAction | elastic.Action(unix.EPERM), Names: known(denied...)}
	return &elastic.Policy{DefaultAction: elastic.ActionErrno, Syscalls: []elastic.SyscallGroup{allow, deny}}, nil
}

func conditional(name string) bool {
	return slices.ContainsFunc(conditions, func(c elastic.NameWithConditions) bool { return c.Name == name })
}
