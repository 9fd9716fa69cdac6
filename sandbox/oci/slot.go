package oci

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/opencontainers/runc/libcontainer"
	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/sandbox"
	"github.com/millrace/millrace/sandbox/cgroup"
	"github.com/millrace/millrace/sandbox/network"
	"github.com/millrace/millrace/sandbox/rootfs"
)

// Slot is a container with a forker in it.
type Slot struct {
	// Control is the caller's end of the forker's socket, Log what the slot's init and zygote write to stdout and stderr.
	// Meters are those of its control group, by their names (see cgroup.Group), empty where there is none. The caller closes all.
	Control, Log *os.File
	Meters       map[string]*os.File
	// Sockets wait inside of the slot for who serves it; see Inside. The caller closes them.
	Sockets network.Sockets
	// UID and GID of jobs, as seen inside.
	UID, GID int

	host      *Host
	number    int
	root      string
	group     cgroup.Group // nil: none
	user      int          // host user of jobs when no other slot has it, else 0
	container *libcontainer.Container
	started   bool          // written by Open
	gone      chan struct{} // closed when the init has been reaped
	closeOnce sync.Once
	closeErr  error

	mu    sync.Mutex     // guards group and place
	place *network.Place // nil: none
}

// ID names the slot among those of its host.
func (s *Slot) ID() string { return strconv.Itoa(s.number) }

// Open makes a slot. On error nothing is left behind. The forker may not be ready yet: it says hello on Control.
func (h *Host) Open(ctx context.Context, t sandbox.Template, l sandbox.Limits) (*Slot, error) {
	binds, err := h.policy.Open(t)
	if err != nil {
		return nil, err
	}
	defer binds.Close()
	number, err := h.reserve()
	if err != nil {
		return nil, err
	}
	s := &Slot{host: h, number: number, gone: make(chan struct{}), UID: rootfs.JobUID, GID: rootfs.JobUID,
		root: filepath.Join(h.instance.dir, "slots", strconv.Itoa(number))}
	if h.rootless {
		s.UID, s.GID = 0, 0
	}
	if err := s.build(t, l, binds.Mounts); err != nil {
		return nil, errors.Join(fmt.Errorf("open slot: %w", err), s.abandon())
	}
	if !h.publish(s) || ctx.Err() != nil {
		return nil, errors.Join(errors.New("open slot: given up"), ctx.Err(), s.abandon())
	}
	return s, nil
}

func (s *Slot) build(t sandbox.Template, l sandbox.Limits, binds []rootfs.Mount) error {
	h := s.host
	if err := os.Mkdir(s.root, 0o755); err != nil {
		return err
	}
	filter, err := h.filters.path(t.Calls)
	if err != nil {
		return err
	}
	mounts, err := h.base.Skeleton(s.root, t.Network, filter, binds)
	if err != nil {
		return err
	}
	mounts, own, err := h.addDevices(s.root, mounts, t.Devices)
	if err != nil {
		return err
	}
	if t.Shared != "" {
		m, err := h.shared(t.Shared)
		if err != nil {
			return err
		}
		mounts = append(mounts, m)
		if err := os.Mkdir(s.root+m.Target, 0o755); err != nil {
			return err
		}
	}
	p := plan{root: s.root, mounts: mounts, devices: own, network: t.Network, rootless: h.rootless}
	if p.netns, err = s.takePlace(t); err != nil {
		return err
	}
	p.forker, p.job = h.users(s.number, t.Build)
	if h.groups.Usable() {
		if s.group, err = h.groups.Create(h.instance.group(s.number), l); err != nil {
			return err
		}
		p.group = s.group.Path()
		if s.Meters, err = s.group.Meters(); err != nil {
			return err
		}
		if h.kills != nil {
			h.kills.Forget(p.job)
		}
		if !t.Build { // builders are one user, and one would be told of another's
			s.user = p.job
		}
	}
	config := p.config()
	recursive(config.Mounts)
	s.container, err = libcontainer.Create(filepath.Join(h.instance.dir, "oci"), h.instance.group(s.number), config)
	if err != nil {
		return fmt.Errorf("create container: %w", err)
	}
	return s.run(t, binds)
}

// users are the host users of a slot's forker and jobs.
func (h *Host) users(number int, build bool) (forker, job int) {
	switch {
	case h.rootless:
		return os.Geteuid(), os.Geteuid()
	case build:
		return h.config.UIDBase, h.config.UIDBase + 1
	}
	first := h.config.UIDBase + 2*(h.instance.number*maxSlots+number)
	return first, first + 1
}

// run starts the forker as the container's init, once the binds have turned out to be those that were checked.
func (s *Slot) run(t sandbox.Template, binds []rootfs.Mount) error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	s.Control = os.NewFile(uintptr(pair[0]), "control")
	inside := os.NewFile(uintptr(pair[1]), "forker")
	defer inside.Close()
	log, output, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("log pipe: %w", err)
	}
	s.Log = log
	defer output.Close()
	args := []string{rootfs.ForkerPath, "--bpf", rootfs.FilterPath}
	if len(t.Zygote) > 0 {
		args = append(append(args, "--"), t.Zygote...)
	}
	process := &libcontainer.Process{
		Args: args, Env: t.ZygoteEnv, Cwd: "/", Init: true,
		Stdout: output, Stderr: output, ExtraFiles: []*os.File{inside},
	}
	err = s.container.Start(process)
	if err == nil {
		err = s.verify(process, binds)
	}
	if err == nil {
		var pid int
		if pid, err = process.Pid(); err == nil {
			err = s.listen(t.Network, pid)
		}
	}
	if err == nil {
		err = s.container.Exec()
	}
	if err != nil {
		_ = process.Signal(unix.SIGKILL) // it may wait for being told to go on
		_, _ = process.Wait()
		return fmt.Errorf("start container: %w", err)
	}
	s.started = true
	go func() {
		_, _ = process.Wait() // how it ended is the forker's business; that it is reaped is ours
		close(s.gone)
	}()
	return nil
}

// verify looks at the binds from inside, while the init waits for Exec. Without root's powers there is nothing to gain for who
// would change them: all that a rootless slot can show belongs to the one user anyway.
func (s *Slot) verify(process *libcontainer.Process, binds []rootfs.Mount) error {
	if s.host.rootless {
		return nil
	}
	pid, err := process.Pid()
	if err != nil {
		return err
	}
	for _, m := range binds {
		if err := m.Verify(fmt.Sprintf("/proc/%d/root", pid)); err != nil {
			return err
		}
	}
	return nil
}

// Gone is closed when the slot's init has ended, and everything in the slot with it.
func (s *Slot) Gone() <-chan struct{} { return s.gone }

// SetLimits changes the limits of the whole slot. Without a control group it does nothing.
func (s *Slot) SetLimits(l sandbox.Limits) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.group == nil {
		return nil
	}
	return s.group.SetLimits(l)
}

// LastKill tells of the latest of the slot's jobs that the kernel killed for lack of memory since it was last asked; false: the
// host does not tell.
func (s *Slot) LastKill() (sandbox.Kill, bool) {
	if s.user == 0 || s.host.kills == nil {
		return sandbox.Kill{}, false
	}
	return s.host.kills.Take(s.user)
}

// Kill ends everything in the slot, its forker included, also where a CPU limit keeps the forker from being quick about it.
func (s *Slot) Kill() error {
	if s.container == nil {
		return nil
	}
	err := s.container.Signal(unix.SIGKILL) // the init of a pid namespace takes all of it along
	if err != nil && !errors.Is(err, libcontainer.ErrNotRunning) && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill slot: %w", err)
	}
	return nil
}

// Close destroys the slot; idempotent. The files handed out stay open.
func (s *Slot) Close() error {
	s.closeOnce.Do(func() { s.closeErr = s.destroy() })
	return s.closeErr
}

// abandon undoes a half-made slot, files included.
func (s *Slot) abandon() error {
	for _, f := range open(s.Control, s.Log) {
		_ = f.Close()
	}
	cgroup.CloseMeters(s.Meters)
	s.Sockets.Close()
	s.closeOnce.Do(func() { s.closeErr = s.destroy() })
	return s.closeErr
}

func (s *Slot) destroy() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	if s.started {
		if err := s.Kill(); err != nil {
			errs = append(errs, err)
		} else {
			<-s.gone
		}
	}
	if s.group != nil {
		errs = append(errs, s.group.Kill()) // whatever was in the group and not below the init
	}
	if s.container != nil {
		errs = append(errs, s.container.Destroy())
	}
	if s.group != nil {
		errs = append(errs, s.group.Delete())
		s.group = nil
	}
	errs = append(errs, os.RemoveAll(s.root))
	if errors.Join(errs...) == nil { // else something may still use it
		errs = append(errs, s.givePlace())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close slot %d: %w", s.number, err) // the number stays taken: its users may still be at work
	}
	s.host.forget(s.number)
	return nil
}
