package oci

import (
	"os"
	"path/filepath"

	"github.com/opencontainers/cgroups"
	_ "github.com/opencontainers/cgroups/devices" // registers the device controller
	devices "github.com/opencontainers/cgroups/devices/config"
	"github.com/opencontainers/runc/libcontainer/configs"
	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/sandbox"
	"github.com/millrace/millrace/sandbox/gpu"
	"github.com/millrace/millrace/sandbox/rootfs"
	"github.com/millrace/millrace/sandbox/seccomp"
)

// Parts of /proc that tell about the machine or act on it. Of those only that the kernel has are covered.
var (
	maskedProc = []string{
		"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/key-users", "/proc/kmsg",
		"/proc/kpagecgroup", "/proc/kpagecount", "/proc/kpageflags", "/proc/latency_stats", "/proc/sched_debug", "/proc/scsi",
		"/proc/timer_list", "/proc/timer_stats", "/proc/vmallocinfo",
	}
	readonlyProc = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
)

// plan is what a container is configured from.
type plan struct {
	root     string
	mounts   []rootfs.Mount
	devices  []gpu.Bound // nodes that the slot has beyond those of every slot
	network  sandbox.Network
	netns    string // path of the network namespace that was made for it; empty: libcontainer makes one, or it has the host's
	group    string // path of the control group; empty: none
	rootless bool
	forker   int // host user of uid 0 inside
	job      int // host user of rootfs.JobUID inside
}

func (p plan) config() *configs.Config {
	caps := seccomp.Capabilities
	c := &configs.Config{
		Rootfs: p.root, Readonlyfs: true, NoNewPrivileges: true, Hostname: rootfs.Hostname,
		RootPropagation: unix.MS_PRIVATE | unix.MS_REC,
		Namespaces: configs.Namespaces{
			{Type: configs.NEWUSER}, {Type: configs.NEWPID}, {Type: configs.NEWNS}, {Type: configs.NEWIPC},
			{Type: configs.NEWUTS}, {Type: configs.NEWCGROUP},
		},
		UIDMappings: p.mappings(), GIDMappings: p.mappings(),
		Capabilities: &configs.Capabilities{Bounding: caps, Effective: caps, Permitted: caps},
		Mounts:       p.binds(),
		Rlimits:      []configs.Rlimit{{Type: unix.RLIMIT_CORE}},
		// Nobody in the slot can make a user namespace, whatever the filters say.
		Sysctl:       map[string]string{"user.max_user_namespaces": "0"},
		RootlessEUID: p.rootless,
		// Jobs mount a proc of their own that shows processes and nothing else. This is for what runs before and beside them:
		// the init, the forker, and a zygote, which holds what a tenant chose to load.
		MaskPaths: maskedProc, ReadonlyPaths: readonlyProc,
		Cgroups: &cgroups.Cgroup{Path: p.group, Resources: &cgroups.Resources{Devices: deviceRules(p.devices)}},
	}
	if p.group == "" {
		// libcontainer wants a name all the same; with no path given it takes it for no error that the group can not be made.
		c.RootlessCgroups = true
		c.Cgroups = &cgroups.Cgroup{Name: "millrace-" + filepath.Base(p.root), Rootless: true, Resources: &cgroups.Resources{}}
	}
	switch {
	case p.netns != "":
		c.Namespaces = append(c.Namespaces, configs.Namespace{Type: configs.NEWNET, Path: p.netns})
	case p.network != sandbox.NetworkHost:
		c.Namespaces = append(c.Namespaces, configs.Namespace{Type: configs.NEWNET})
		c.Networks = []*configs.Network{{Type: "loopback"}}
	}
	return c
}

// mappings give a slot only the users that it needs, so that two slots have none in common.
func (p plan) mappings() []configs.IDMap {
	if p.rootless {
		return []configs.IDMap{{ContainerID: 0, HostID: int64(p.forker), Size: 1}}
	}
	return []configs.IDMap{
		{ContainerID: 0, HostID: int64(p.forker), Size: 1},
		{ContainerID: rootfs.JobUID, HostID: int64(p.job), Size: 1},
	}
}

func (p plan) binds() []*configs.Mount {
	out := make([]*configs.Mount, 0, len(p.mounts)+1)
	for _, m := range p.mounts {
		c := &configs.Mount{
			Device: "bind", Source: m.Source, Destination: m.Target,
			Flags: unix.MS_BIND | unix.MS_REC | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_RDONLY,
		}
		switch {
		case m.Device:
			c.Flags = unix.MS_BIND | unix.MS_NOSUID | unix.MS_NOEXEC
		case m.Own:
			c.Flags = unix.MS_BIND | unix.MS_NOSUID | unix.MS_NODEV
			c.IDMapping = p.own()
		case m.Writable:
			c.Flags &^= unix.MS_RDONLY
		}
		out = append(out, c)
	}
	return append(out, &configs.Mount{
		Device: "proc", Source: "proc", Destination: "/proc", Flags: unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC,
	})
}

// own has what belongs to JobUID on a file system be the job's. Without users of their own all slots' jobs are one user anyway.
func (p plan) own() *configs.MountIDMapping {
	if p.rootless {
		return nil
	}
	job := []configs.IDMap{{ContainerID: rootfs.JobUID, HostID: int64(p.job), Size: 1}}
	return &configs.MountIDMapping{UIDMappings: job, GIDMappings: job}
}

// deviceRules allow the devices of rootfs, the slot's own ones, and no other, should one ever become reachable.
func deviceRules(own []gpu.Bound) []*devices.Rule {
	rules := []*devices.Rule{{Type: devices.WildcardDevice, Major: devices.Wildcard, Minor: devices.Wildcard, Permissions: "rwm"}}
	for _, minor := range []int64{3, 5, 7, 8, 9} { // null zero full random urandom
		rules = append(rules, &devices.Rule{Type: devices.CharDevice, Major: 1, Minor: minor, Permissions: "rw", Allow: true})
	}
	for _, n := range own {
		rules = append(rules, &devices.Rule{Type: devices.CharDevice, Major: int64(n.Major), Minor: int64(n.Minor), Permissions: "rw", Allow: true})
	}
	return rules
}

// recursive makes read-only, nosuid and nodev hold for what is mounted below the sources too. Linux has the call since 5.12;
// before that only the top of each bind is read-only, and file permissions guard the rest.
func recursive(mounts []*configs.Mount) {
	if !haveMountSetattr() {
		return
	}
	for _, m := range mounts {
		if m.Device != "bind" || m.Flags&unix.MS_REC == 0 {
			continue
		}
		attr := uint64(unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV)
		if m.Flags&unix.MS_RDONLY != 0 {
			attr |= unix.MOUNT_ATTR_RDONLY
		}
		m.RecAttr = &unix.MountAttr{Attr_set: attr}
	}
}

func haveMountSetattr() bool {
	err := unix.MountSetattr(-1, "", 0, &unix.MountAttr{})
	return err != unix.ENOSYS
}

func open(files ...*os.File) []*os.File {
	out := files[:0]
	for _, f := range files {
		if f != nil {
			out = append(out, f)
		}
	}
	return out
}
