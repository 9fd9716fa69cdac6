// Package nsjail is the isolator for hosts whose administrators want walls by nsjail (github.com/google/nsjail): every process
// gets an nsjail of its own, which is started with it and ends with it. That costs tens of milliseconds a process where
// sandbox/slot costs one; in return nothing but nsjail makes namespaces, and no helper with root's powers is needed.
//
//	Isolator.Open    checks the template; nothing runs yet
//	Slot.Start       nsjail [flags] -- /millrace/forker        the root of rootfs, namespaces, users, no network or the host's
//	                 the forker starts the one process          its files, descriptors, limits, system call filter, collected file
//	Process.Wait     the process has ended; its nsjail is killed and reaped
//
// A zygote cannot live from one process to the next, so it is started afresh for each, with --once appended, as in
// sandbox/direct; it runs the job that is on its descriptor 3 and exits.
//
// The environment of a process and its arguments go through the forker's socket, never through nsjail's command line.
//
// There are no control groups: memory, processor time and I/O are not bounded, and processes only for all that the user runs.
package nsjail

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"

	"github.com/millrace/millrace/sandbox"
	"github.com/millrace/millrace/sandbox/rootfs"
	"github.com/millrace/millrace/sandbox/seccomp"
)

// Missing is returned by Detect where there is no nsjail that works.
type Missing struct {
	What string
	Fix  string
}

func (m *Missing) Error() string { return m.What + ": " + m.Fix }

// Detect finds nsjail: what MILLRACE_NSJAIL names, else in PATH.
func Detect() (string, error) {
	const fix = "install the package nsjail, or build it from github.com/google/nsjail and set MILLRACE_NSJAIL=/path/to/nsjail"
	name := os.Getenv("MILLRACE_NSJAIL")
	if name == "" {
		name = "nsjail"
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", &Missing{What: fmt.Sprintf("nsjail is not installed (%v)", err), Fix: fix}
	}
	if path, err = filepath.Abs(path); err != nil {
		return "", err
	}
	return path, nil
}

// Config says how processes are jailed.
type Config struct {
	Path   string // the program nsjail, as Detect finds it
	Forker string // the static binary that starts processes, see sandbox/forker
	State  string // a folder for this package alone; it is made if missing. Everybody must be able to search its path
}

// Host users of jobs where root starts nsjail: two for each slot, away from those that other parts take.
const (
	uidBase  = 1_890_000_000
	maxSlots = 4096
)

// Isolator implements sandbox.Isolator. Its methods may be called from any goroutine.
type Isolator struct {
	config Config
	base   *rootfs.Base
	root   bool // started by root: every slot has users of its own

	mu      sync.Mutex
	slots   map[*Slot]struct{}
	next    int               // number of the next slot
	filters map[string]string // paths of compiled filters, by what templates ask for
	closed  bool
}

var _ sandbox.Isolator = (*Isolator)(nil)

// New prepares the isolator.
func New(c Config) (*Isolator, error) {
	// What a daemon that was killed left there is nobody's.
	if err := errors.Join(os.RemoveAll(c.State), os.MkdirAll(filepath.Join(c.State, "slots"), 0o755)); err != nil {
		return nil, fmt.Errorf("nsjail: %w", err)
	}
	if st, err := os.Stat(c.Forker); err != nil || !st.Mode().IsRegular() || st.Mode().Perm()&0o111 == 0 {
		return nil, fmt.Errorf("nsjail: forker %q is not an executable file: %w", c.Forker, errors.Join(err))
	}
	base, err := rootfs.NewBase(c.State, c.Forker)
	if err != nil {
		return nil, fmt.Errorf("nsjail: %w", err)
	}
	return &Isolator{config: c, base: base, root: os.Geteuid() == 0, slots: map[*Slot]struct{}{}, filters: map[string]string{}}, nil
}

// Strength implements sandbox.Isolator.
func (i *Isolator) Strength() sandbox.Strength {
	const fix = "use --isolation=full"
	s := sandbox.Strength{Mode: "nsjail"}
	for _, l := range []struct{ what, why string }{
		{sandbox.LackMemory, "each process has a jail of its own, without a control group"},
		{sandbox.LackPids, "processes are bounded by the kernel's limit for their user, which counts all that the user runs"},
		{sandbox.LackCPU, "each process has a jail of its own, without a control group"},
		{sandbox.LackEgress, "nsjail filters no connections; a script has no network or the host's"},
	} {
		s.Lacks = append(s.Lacks, sandbox.Lack{What: l.what, Why: l.why, Fix: fix})
	}
	if !i.root {
		s.Lacks = append(s.Lacks, sandbox.Lack{What: sandbox.LackUsers, Why: "the daemon does not run as root, so jobs run as its own user, in a user namespace and without capabilities", Fix: fix})
	}
	return s
}

// Open implements sandbox.Isolator.
func (i *Isolator) Open(ctx context.Context, t sandbox.Template) (sandbox.Slot, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("open slot: %w", err)
	}
	if t.Network != sandbox.NetworkNone && t.Network != sandbox.NetworkHost {
		return nil, fmt.Errorf("open slot: network %q cannot be had with nsjail: choose none or host, or start the daemon with --isolation=full", t.Network)
	}
	if len(t.Devices) > 0 {
		return nil, errors.New("open slot: GPUs cannot be had with nsjail: start the daemon with --isolation=full")
	}
	filter, err := i.filter(t.Calls)
	if err != nil {
		return nil, fmt.Errorf("open slot: %w", err)
	}
	s := &Slot{isolator: i, template: t, done: make(chan struct{})}
	i.mu.Lock()
	if i.closed {
		i.mu.Unlock()
		return nil, errors.New("open slot: the isolator is closed")
	}
	i.next++
	s.number = i.next
	i.slots[s] = struct{}{}
	i.mu.Unlock()
	if err := s.prepare(filter); err != nil {
		return nil, errors.Join(fmt.Errorf("open slot: %w", err), s.Close())
	}
	return s, nil
}

// filter returns the file with the compiled system call filter of templates that ask for calls.
func (i *Isolator) filter(calls []string) (string, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	key := fmt.Sprintf("%q", calls)
	if path, ok := i.filters[key]; ok {
		return path, nil
	}
	program, err := seccomp.Program(calls)
	if err != nil {
		return "", err
	}
	path := filepath.Join(i.config.State, fmt.Sprintf("slot-%d.bpf", len(i.filters)))
	if err := os.WriteFile(path, program, 0o644); err != nil {
		return "", err
	}
	i.filters[key] = path
	return path, nil
}

// Close implements sandbox.Isolator: it closes all slots and removes what New made.
func (i *Isolator) Close() error {
	i.mu.Lock()
	i.closed = true
	slots := make([]*Slot, 0, len(i.slots))
	for s := range i.slots {
		slots = append(slots, s)
	}
	i.mu.Unlock()
	var errs []error
	for _, s := range slots {
		errs = append(errs, s.Close())
	}
	return errors.Join(append(errs, os.RemoveAll(i.config.State))...)
}
