// Package oci builds slots: containers made by libcontainer whose init is the forker. It is the only package that knows
// libcontainer, and with it the only one that needs cgo; its home is the helper millrace-jail, whose main function must call
// Init first and import nothing heavy, because libcontainer runs that binary again inside every new slot.
//
//	New(Config)                 takes an instance directory, sweeps what killed helpers left, says how strong the walls are
//	Host.Open(template, limits) user, pid, mount, ipc, uts, cgroup (and network) namespaces, read-only root, control group
//	Slot.Control                the forker's control socket, to be handed to whoever runs jobs
//	Slot.Close                  kills, reaps, and leaves no process, mount, control group or directory
//
// Started as root the walls are full: every slot has two host users of its own (one for its forker, one for its jobs; build
// slots share one pair, so that what they build has one owner). Started by anybody else they are rootless: the one user that
// can be mapped is the caller's own, and there are no control groups.
package oci

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"sync"

	"github.com/opencontainers/runc/libcontainer"
	_ "github.com/opencontainers/runc/libcontainer/nsenter" // the C half of Init: enters the namespaces before Go starts
	"github.com/rs/zerolog"

	"github.com/millrace/millrace/sandbox"
	"github.com/millrace/millrace/sandbox/cgroup"
	"github.com/millrace/millrace/sandbox/network"
	"github.com/millrace/millrace/sandbox/rootfs"
)

// Init takes over when this process is one that libcontainer started inside a new slot; then it does not return.
func Init() {
	if len(os.Args) > 1 && os.Args[1] == "init" {
		libcontainer.Init()
		panic("oci: libcontainer returned")
	}
}

// init keeps the process's first thread for the main goroutine. libcontainer enters a slot's mount namespace on threads that it
// throws away after; the first thread can not be thrown away, would stay there, and is the one that /proc/self shows.
func init() { runtime.LockOSThread() }

// Host users of slots. Instance k has those from uidBase + 2*k*maxSlots on; the first pair of all is the builders'. The base
// lies where systemd's list of user ranges has nothing, and far from where directories like LDAP begin.
const (
	DefaultUIDBase = 1_900_000_000
	maxSlots       = 4096
	maxInstances   = 64
)

// Config says where and how slots are built.
type Config struct {
	// State is a directory for this package alone; it is made if missing. Its path must be searchable by everybody.
	State string
	// Forker is the static binary that becomes the init of slots.
	Forker string
	// Allow, Cache, OwnerUID and OwnerGID: see rootfs.PolicyConfig.
	Allow              []string
	Cache              string
	OwnerUID, OwnerGID int
	// CgroupParent is where control groups are made. Empty: cgroup.DefaultParent.
	CgroupParent string
	// UIDBase is the first host user of slots. Zero: DefaultUIDBase.
	UIDBase int
	// Egress says how slots get out. API is where a slot without the host's network finds the daemon's API.
	Egress network.Config
	API    netip.AddrPort
	// GPURoot is where GPUs are looked for. Empty: the root of the file system, as anywhere but in tests.
	GPURoot string
	Log     zerolog.Logger
}

// Host opens slots on this machine. Its methods may be called from any goroutine.
type Host struct {
	config   Config
	instance *instance
	rootless bool
	lacks    []sandbox.Lack
	groups   *cgroup.Tree
	kills    *cgroup.KillLog // nil: it may not be read here
	filters  *filters
	base     *rootfs.Base
	policy   *rootfs.Policy
	egress   *network.Egress // nil: not possible here, as lacks says
	watch    *os.File        // see Watch

	mu     sync.Mutex
	next   int // where the search for a free number begins, so that numbers are reused late
	slots  map[int]*Slot
	closed bool
}

// New prepares the host. What it returns must be closed.
func New(c Config) (*Host, error) {
	if c.CgroupParent == "" {
		c.CgroupParent = cgroup.DefaultParent
	}
	if !c.API.IsValid() {
		c.API = DefaultAPI
	}
	if c.UIDBase == 0 {
		c.UIDBase = DefaultUIDBase
	}
	if st, err := os.Stat(c.Forker); err != nil || !st.Mode().IsRegular() || st.Mode().Perm()&0o111 == 0 {
		return nil, fmt.Errorf("forker %q is not an executable file: %w", c.Forker, errors.Join(err))
	}
	h := &Host{config: c, rootless: os.Geteuid() != 0, slots: map[int]*Slot{}}
	if h.rootless {
		h.groups, h.lacks = cgroup.None("the helper does not run as root")
		h.lacks = append(h.lacks, sandbox.Lack{
			What: sandbox.LackUsers,
			Why:  "the helper does not run as root, so jobs run as the daemon's own user, in a user namespace and without capabilities",
			Fix:  "start the daemon as root, or install the package",
		})
	} else {
		h.groups, h.lacks = cgroup.Open(c.CgroupParent)
		var err error
		if h.kills, err = cgroup.OpenKillLog(); err != nil { // who is out of memory is then told so, but not by which process
			c.Log.Info().Err(err).Msg("processes killed for lack of memory will not be named")
		}
	}
	h.lacks = append(h.lacks, landlockLack()...)
	if err := h.openEgress(); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	if err := h.prepare(); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return h, nil
}

func (h *Host) prepare() (err error) {
	if h.instance, err = takeInstance(h.config.State, h.groups, h.config.Log); err != nil {
		return err
	}
	h.filters = &filters{dir: h.instance.dir, made: map[string]string{}}
	if _, err := h.filters.path(nil); err != nil { // better now than with the first slot
		return err
	}
	if h.base, err = rootfs.NewBase(h.instance.dir, h.config.Forker); err != nil {
		return err
	}
	builder := h.config.UIDBase + 1
	if h.rootless {
		builder = os.Geteuid()
	}
	h.policy, err = rootfs.NewPolicy(rootfs.PolicyConfig{
		Allow: h.config.Allow, Cache: h.config.Cache,
		OwnerUID: h.config.OwnerUID, OwnerGID: h.config.OwnerGID, BuilderUID: builder,
	})
	return err
}

// Strength says how good the walls of slots are here.
func (h *Host) Strength() sandbox.Strength {
	mode := "full"
	if h.rootless {
		mode = "rootless"
	}
	return sandbox.Strength{Mode: mode, Lacks: h.lacks}
}

// Remove removes something below the cache that jobs may have written.
func (h *Host) Remove(path string) error { return h.policy.Remove(path) }

// Close destroys all slots and gives the instance back.
func (h *Host) Close() error {
	h.mu.Lock()
	h.closed = true
	var open []*Slot
	for _, s := range h.slots {
		if s != nil {
			open = append(open, s)
		}
	}
	h.mu.Unlock()
	var wg sync.WaitGroup
	errs := make([]error, len(open))
	for i, s := range open {
		wg.Go(func() { errs[i] = s.Close() })
	}
	wg.Wait()
	err := errors.Join(errs...)
	err = errors.Join(err, h.closeEgress())
	if h.policy != nil {
		err = errors.Join(err, h.policy.Close())
	}
	if h.instance != nil {
		err = errors.Join(err, h.instance.release())
	}
	if h.kills != nil {
		err = errors.Join(err, h.kills.Close())
	}
	return err
}

// reserve takes a free slot number, 1 or higher.
func (h *Host) reserve() (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return 0, errors.New("the helper is stopping")
	}
	for range maxSlots - 1 {
		h.next = h.next%(maxSlots-1) + 1
		if _, used := h.slots[h.next]; !used {
			h.slots[h.next] = nil
			return h.next, nil
		}
	}
	return 0, fmt.Errorf("all %d slots are in use", maxSlots-1)
}

// publish makes an open slot known; false when the host was closed meanwhile.
func (h *Host) publish(s *Slot) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.slots[s.number] = s
	return !h.closed
}

func (h *Host) forget(number int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.slots, number)
}
