package cgroup

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/containerd/cgroups/v3/cgroup1"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/millrace/millrace/sandbox"
)

// controllersV1 are the version 1 controllers that are used. What a missing one takes away is a Lack; cpuacct only measures.
var controllersV1 = []struct {
	name cgroup1.Name
	what string
}{
	{cgroup1.Memory, sandbox.LackMemory},
	{cgroup1.Pids, sandbox.LackPids},
	{cgroup1.Cpu, sandbox.LackCPU},
	{cgroup1.Freezer, "killing a slot that forks faster than it is killed"},
	{cgroup1.Blkio, sandbox.LackIO},
	{cgroup1.Cpuacct, ""},
}

func (t *Tree) openV1() (*Tree, []sandbox.Lack) {
	var lacks []sandbox.Lack
	usable := true
	for _, n := range controllersV1 {
		root := filepath.Join(mountpoint, string(n.name))
		if !isDir(root) {
			if n.what != "" {
				lacks = append(lacks, lack(n.what, fmt.Sprintf("the cgroup controller %s is not mounted", n.name)))
			}
			continue
		}
		if err := os.MkdirAll(filepath.Join(root, t.parent), 0o755); err != nil {
			lacks = append(lacks, lack(cmp.Or(n.what, sandbox.LackCPU), fmt.Sprintf("no write access to the cgroup tree: %v", err)))
			usable = false
		}
	}
	t.usable = usable && isDir(filepath.Join(mountpoint, string(cgroup1.Memory)))
	if t.usable && swapOn() && !swapV1() {
		lacks = append(lacks, lack(sandbox.LackSwap, "the kernel does not count swap for groups (it was started with swapaccount=0)"))
	}
	return t, lacks
}

func swapV1() bool {
	_, err := os.Stat(filepath.Join(mountpoint, "memory", "memory.memsw.limit_in_bytes"))
	return err == nil
}

// hierarchyV1 is containerd's list of controllers cut down to those that are used and mounted.
func hierarchyV1() ([]cgroup1.Subsystem, error) {
	all, err := cgroup1.Default()
	if err != nil {
		return nil, err
	}
	var out []cgroup1.Subsystem
	for _, s := range all {
		for _, n := range controllersV1 {
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
	total int64          // the limit of memory and swap together that is set
	io    bool           // disks are limited
}

func newV1(path string, l sandbox.Limits) (Group, error) {
	l = l.WithDefaults()
	g := &groupV1{path: path, swap: swapV1(), total: l.Memory + l.Swap}
	var err error
	g.group, err = cgroup1.New(cgroup1.StaticPath(path), g.resources(l), cgroup1.WithHierarchy(hierarchyV1))
	if err != nil {
		return nil, err
	}
	return g, nil
}

func (g *groupV1) resources(l sandbox.Limits) *specs.LinuxResources {
	r := &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &l.Memory}, Pids: &specs.LinuxPids{}, CPU: &specs.LinuxCPU{}}
	if g.swap {
		total := l.Memory + l.Swap
		r.Memory.Swap = &total
	}
	pids := int64(l.Pids + overheadPids)
	r.Pids.Limit = &pids
	quota, period := int64(-1), cpuPeriod
	if l.CPU > 0 {
		quota = cpuQuota(l.CPU)
	}
	r.CPU.Quota, r.CPU.Period = &quota, &period
	if l.IO > 0 || g.io {
		r.BlockIO = throttles(uint64(l.IO))
		g.io = l.IO > 0
	}
	return r
}

// throttles bound reading and writing of every disk; 0: no bound.
func throttles(rate uint64) *specs.LinuxBlockIO {
	out := &specs.LinuxBlockIO{}
	for _, d := range disks() {
		t := specs.LinuxThrottleDevice{Rate: rate}
		t.Major, t.Minor = d.major, d.minor
		out.ThrottleReadBpsDevice = append(out.ThrottleReadBpsDevice, t)
		out.ThrottleWriteBpsDevice = append(out.ThrottleWriteBpsDevice, t)
	}
	return out
}

// cpuPeriod is the kernel's default, in microseconds.
var cpuPeriod = uint64(100_000)

// cpuQuota is at least what the kernel accepts: one millisecond.
func cpuQuota(cores float64) int64 { return max(1000, int64(cores*float64(cpuPeriod))) }

func (g *groupV1) Path() string { return g.path }

func (g *groupV1) SetLimits(l sandbox.Limits) error {
	l = l.WithDefaults()
	total := l.Memory + l.Swap
	if g.swap && l.Memory > g.total {
		// The limit of memory and swap may never be below that of memory, and Update writes the latter first.
		first := &specs.LinuxResources{Memory: &specs.LinuxMemory{Swap: &total}}
		if err := g.group.Update(first); err != nil {
			return fmt.Errorf("set limits of %s: %w", g.path, err)
		}
	}
	g.total = total
	if err := g.group.Update(g.resources(l)); err != nil {
		return fmt.Errorf("set limits of %s: %w", g.path, err)
	}
	return nil
}

// Meters opens files itself: containerd/cgroups can neither reset the peak nor hand out descriptors.
func (g *groupV1) Meters() (map[string]*os.File, error) {
	file := func(controller, name string) string { return filepath.Join(mountpoint, controller, g.path, name) }
	return openMeters(map[string]string{
		MeterEvents: file("memory", "memory.oom_control"), MeterPeak: file("memory", "memory.max_usage_in_bytes"),
		MeterCPU: file("cpuacct", "cpuacct.usage"), MeterSystem: file("cpuacct", "cpuacct.usage_sys"),
		MeterStalled: file("cpu", "cpu.stat"), MeterPids: file("pids", "pids.events"), MeterMost: file("pids", "pids.peak"),
		MeterNow: file("pids", "pids.current"), MeterIO: file("blkio", "blkio.throttle.io_service_bytes"),
		MeterUsed: file("memory", "memory.usage_in_bytes"), MeterKernel: file("memory", "memory.kmem.usage_in_bytes"),
		MeterReclaim: file("memory", "memory.force_empty"),
	})
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
