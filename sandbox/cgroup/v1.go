package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/containerd/cgroups/v3/cgroup1"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/millrace/millrace/sandbox"
)

// needed are the version 1 controllers that limits use; their absence is a Lack each.
var needed = []struct {
	name cgroup1.Name
	what string
}{
	{cgroup1.Memory, sandbox.LackMemory},
	{cgroup1.Pids, sandbox.LackPids},
	{cgroup1.Cpu, sandbox.LackCPU},
	{cgroup1.Freezer, "killing a slot that forks faster than it is killed"},
}

func (t *Tree) openV1() (*Tree, []sandbox.Lack) {
	var lacks []sandbox.Lack
	usable := true
	for _, n := range needed {
		root := filepath.Join(mountpoint, string(n.name))
		if !isDir(root) {
			lacks = append(lacks, lack(n.what, fmt.Sprintf("the cgroup controller %s is not mounted", n.name)))
			continue
		}
		if err := os.MkdirAll(filepath.Join(root, t.parent), 0o755); err != nil {
			lacks = append(lacks, lack(n.what, fmt.Sprintf("no write access to the cgroup tree: %v", err)))
			usable = false
		}
	}
	t.usable = usable && len(lacks) < len(needed)
	return t, lacks
}

// hierarchyV1 is containerd's list of controllers cut down to those in needed that are mounted.
func hierarchyV1() ([]cgroup1.Subsystem, error) {
	all, err := cgroup1.Default()
	if err != nil {
		return nil, err
	}
	var out []cgroup1.Subsystem
	for _, s := range all {
		for _, n := range needed {
			if s.Name() == n.name {
				out = append(out, s)
			}
		}
	}
	return out, nil
}

type groupV1 struct {
	path  string
	group cgroup1.Cgroup // nil: a leftover that is only to be killed and removed
	swap  bool           // the host accounts swap
	limit int64          // the memory limit that is set
}

func newV1(path string, l sandbox.Limits) (Group, error) {
	_, err := os.Stat(filepath.Join(mountpoint, "memory", "memory.memsw.limit_in_bytes"))
	g := &groupV1{path: path, swap: err == nil, limit: l.WithDefaults().Memory}
	g.group, err = cgroup1.New(cgroup1.StaticPath(path), g.resources(l), cgroup1.WithHierarchy(hierarchyV1))
	if err != nil {
		return nil, err
	}
	return g, nil
}

func (g *groupV1) resources(l sandbox.Limits) *specs.LinuxResources {
	l = l.WithDefaults()
	r := &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &l.Memory}, Pids: &specs.LinuxPids{}, CPU: &specs.LinuxCPU{}}
	if g.swap {
		r.Memory.Swap = &l.Memory
	}
	pids := int64(l.Pids + overheadPids)
	r.Pids.Limit = &pids
	quota, period := int64(-1), cpuPeriod
	if l.CPU > 0 {
		quota = cpuQuota(l.CPU)
	}
	r.CPU.Quota, r.CPU.Period = &quota, &period
	return r
}

// cpuPeriod is the kernel's default, in microseconds.
var cpuPeriod = uint64(100_000)

// cpuQuota is at least what the kernel accepts: one millisecond.
func cpuQuota(cores float64) int64 { return max(1000, int64(cores*float64(cpuPeriod))) }

func (g *groupV1) Path() string { return g.path }

func (g *groupV1) SetLimits(l sandbox.Limits) error {
	l = l.WithDefaults()
	if g.swap && l.Memory > g.limit {
		// The limit of memory and swap may never be below that of memory, and Update writes the latter first.
		first := &specs.LinuxResources{Memory: &specs.LinuxMemory{Swap: &l.Memory}}
		if err := g.group.Update(first); err != nil {
			return fmt.Errorf("set limits of %s: %w", g.path, err)
		}
	}
	g.limit = l.Memory
	if err := g.group.Update(g.resources(l)); err != nil {
		return fmt.Errorf("set limits of %s: %w", g.path, err)
	}
	return nil
}

// Meters opens files itself: containerd/cgroups can neither reset the peak nor hand out descriptors.
func (g *groupV1) Meters() (peak, events *os.File, err error) {
	dir := filepath.Join(mountpoint, "memory", g.path)
	events, err = os.Open(filepath.Join(dir, "memory.oom_control"))
	if err != nil {
		return nil, nil, fmt.Errorf("open meters: %w", err)
	}
	peak, err = os.OpenFile(filepath.Join(dir, "memory.max_usage_in_bytes"), os.O_RDWR, 0)
	if err != nil {
		_ = events.Close()
		return nil, nil, fmt.Errorf("open meters: %w", err)
	}
	return peak, events, nil
}

// CPU implements Group.
func (g *groupV1) CPU() (*os.File, error) {
	f, err := os.Open(filepath.Join(mountpoint, "cpuacct", g.path, "cpuacct.usage"))
	if err != nil {
		return nil, fmt.Errorf("open meters: %w", err)
	}
	return f, nil
}

// Kill stops the group, marks every process for death and lets it go on, so that none escapes by forking.
func (g *groupV1) Kill() error {
	dirs := existing(g.path)
	frozen := g.group != nil && g.group.Freeze() == nil
	for _, dir := range dirs {
		if _, err := signalAll(dir); err != nil && !frozen {
			return err
		}
	}
	if frozen {
		if err := g.group.Thaw(); err != nil {
			return fmt.Errorf("thaw %s: %w", g.path, err)
		}
	}
	return drain(dirs)
}

func (g *groupV1) Delete() error {
	var err error
	if g.group != nil {
		err = g.group.Delete()
	}
	// Twice, because a container runtime also made directories for controllers that we do not use.
	if rerr := removeDirs(g.path); rerr != nil {
		return errors.Join(err, rerr)
	}
	return nil
}
