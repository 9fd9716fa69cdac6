package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/cgroups/v3/cgroup2"
	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/sandbox"
)

func (t *Tree) openV2() (*Tree, []sandbox.Lack) {
	var lacks []sandbox.Lack
	data, err := os.ReadFile(filepath.Join(mountpoint, "cgroup.controllers"))
	if err != nil {
		return t, none(err.Error())
	}
	offered := strings.Fields(string(data))
	for _, n := range []struct{ name, what string }{
		{"memory", sandbox.LackMemory}, {"pids", sandbox.LackPids}, {"cpu", sandbox.LackCPU},
	} {
		if !slices.Contains(offered, n.name) {
			lacks = append(lacks, lack(n.what, fmt.Sprintf("the cgroup controller %s is not enabled", n.name)))
		}
	}
	if len(lacks) > 0 {
		return t, lacks
	}
	probe := cgroup2.Resources{Memory: &cgroup2.Memory{}, Pids: &cgroup2.Pids{}, CPU: &cgroup2.CPU{}}
	if _, err := cgroup2.NewManager(mountpoint, t.parent, &probe); err != nil {
		return t, none(fmt.Sprintf("no write access to the cgroup tree: %v", err))
	}
	t.usable = true
	return t, nil
}

type groupV2 struct {
	path    string
	manager *cgroup2.Manager
}

func newV2(path string, l sandbox.Limits) (Group, error) {
	m, err := cgroup2.NewManager(mountpoint, path, resourcesV2(l))
	if err != nil {
		return nil, err
	}
	return &groupV2{path: path, manager: m}, nil
}

func loadV2(path string) Group {
	m, err := cgroup2.Load(path, cgroup2.WithMountpoint(mountpoint))
	if err != nil { // a name that the kernel made is always valid
		m = nil
	}
	return &groupV2{path: path, manager: m}
}

func resourcesV2(l sandbox.Limits) *cgroup2.Resources {
	l = l.WithDefaults()
	swap, pids := int64(0), int64(l.Pids+overheadPids)
	r := &cgroup2.Resources{
		Memory: &cgroup2.Memory{Max: &l.Memory},
		Pids:   &cgroup2.Pids{Max: pids},
		CPU:    &cgroup2.CPU{Max: cgroup2.NewCPUMax(nil, &cpuPeriod)},
	}
	if _, err := os.Stat("/proc/swaps"); err == nil && swapAccounted() {
		r.Memory.Swap = &swap
	}
	if l.CPU > 0 {
		quota := cpuQuota(l.CPU)
		r.CPU.Max = cgroup2.NewCPUMax(&quota, &cpuPeriod)
	}
	return r
}

// swapAccounted tells whether groups have memory.swap.max; the root group never has it, so any child is looked at.
func swapAccounted() bool {
	m, _ := filepath.Glob(filepath.Join(mountpoint, "*", "memory.swap.max"))
	return len(m) > 0
}

func (g *groupV2) Path() string { return g.path }

func (g *groupV2) SetLimits(l sandbox.Limits) error {
	if err := g.manager.Update(resourcesV2(l)); err != nil {
		return fmt.Errorf("set limits of %s: %w", g.path, err)
	}
	return nil
}

// Meters opens files itself: since Linux 6.12 a write to memory.peak starts a measurement that belongs to that descriptor.
func (g *groupV2) Meters() (peak, events *os.File, err error) {
	dir := filepath.Join(mountpoint, g.path)
	events, err = os.Open(filepath.Join(dir, "memory.events"))
	if err != nil {
		return nil, nil, fmt.Errorf("open meters: %w", err)
	}
	peak, err = os.OpenFile(filepath.Join(dir, "memory.peak"), os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission) || errors.Is(err, unix.EINVAL) {
		return nil, events, nil // a peak of the slot's whole life would be the wrong figure for a job
	}
	if err != nil {
		_ = events.Close()
		return nil, nil, fmt.Errorf("open meters: %w", err)
	}
	return peak, events, nil
}

// CPU implements Group.
func (g *groupV2) CPU() (*os.File, error) {
	f, err := os.Open(filepath.Join(mountpoint, g.path, "cpu.stat"))
	if err != nil {
		return nil, fmt.Errorf("open meters: %w", err)
	}
	return f, nil
}

func (g *groupV2) Kill() error {
	// Not Manager.Kill: where cgroup.kill is missing it logs to a global logger and waits for children that are not its own.
	err := os.WriteFile(filepath.Join(mountpoint, g.path, "cgroup.kill"), []byte("1"), 0)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("kill %s: %w", g.path, err)
	}
	return drain(existing(g.path))
}

func (g *groupV2) Delete() error { return removeDirs(g.path) }
