// Package seccomp holds the allow-list of system calls of a slot, as data, and compiles it to the classic BPF program that the
// forker loads before it does anything else.
//
// The list starts from the default profile of Docker (moby/profiles), evaluated for the capabilities that the forker keeps in
// its own user namespace, and is cut down by what no runtime needs: every call of that profile in dropped is left out, and
// socket families beyond the usual four are refused. Calls in denied answer EPERM, because programs take that for "not
// allowed"; everything else that is not on the list, calls of future kernels included, answers ENOSYS, because programs take
// that for "use the older way".
//
// Program is pure Go: no libseccomp, no build tag, and about a millisecond instead of the forty that libseccomp takes.
package seccomp

import (
	"encoding/binary"
	"fmt"
	"slices"

	elastic "github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	moby "github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Capabilities are those that the forker keeps in the user namespace of its slot. Jobs have none.
var Capabilities = []string{"CAP_SYS_ADMIN", "CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP", "CAP_KILL"}

const errnoAction = elastic.ActionErrno

// Program returns the filter for the architecture it runs on: an array of struct sock_filter in the machine's byte order,
// ready for seccomp(SECCOMP_SET_MODE_FILTER).
func Program() ([]byte, error) {
	raw, err := assemble()
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

func assemble() ([]bpf.RawInstruction, error) {
	p, err := policy()
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

// policy translates the profile. Names that the architecture has not are left out: they can not be called there.
func policy() (*elastic.Policy, error) {
	info, err := arch.GetInfo("")
	if err != nil {
		return nil, fmt.Errorf("seccomp: %w", err)
	}
	spec := &specs.Spec{Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{Bounding: Capabilities}}}
	profile, err := moby.GetDefaultProfile(spec)
	if err != nil {
		return nil, fmt.Errorf("evaluate default profile: %w", err)
	}
	known := func(name string) bool { _, ok := info.SyscallNames[name]; return ok }

	var deny elastic.SyscallGroup
	deny.Action = errnoAction | elastic.Action(unix.EPERM)
	for _, name := range denied {
		if known(name) {
			deny.Names = append(deny.Names, name)
		}
	}
	allow := elastic.SyscallGroup{Action: elastic.ActionAllow}
	for _, rule := range profile.Syscalls {
		if rule.Action != specs.ActAllow || len(rule.Args) != 0 {
			continue // the conditional rules of the profile are those of conditions
		}
		for _, name := range rule.Names {
			if known(name) && !slices.Contains(denied, name) && !slices.Contains(dropped, name) &&
				!slices.Contains(allow.Names, name) && !conditional(name) {
				allow.Names = append(allow.Names, name)
			}
		}
	}
	for _, c := range conditions {
		if known(c.Name) {
			allow.NamesWithCondtions = append(allow.NamesWithCondtions, c)
		}
	}
	return &elastic.Policy{DefaultAction: elastic.ActionErrno, Syscalls: []elastic.SyscallGroup{deny, allow}}, nil
}

func conditional(name string) bool {
	return slices.ContainsFunc(conditions, func(c elastic.NameWithConditions) bool { return c.Name == name })
}
