package cgroup

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/cgroups/v3/cgroup2"

	"github.com/millrace/millrace/sandbox"
)

func (t *Tree) openV2() (*Tree, []sandbox.Lack) {
	var lacks []sandbox.Lack
	data, err := os.ReadFile(filepath.Join(mountpoint, "cgroup.controllers"))
	if err != nil {
		return t, none(err.Error())
	}
	offered := strings.Fields(string(data))
	needed := 0
	for _, n := range []struct{ name, what string }{
		{"memory", sandbox.LackMemory}, {"pids", sandbox.LackPids}, {"cpu", sandbox.LackCPU}, {"io", sandbox.LackIO},
	} {
		if slices.Contains(offered, n.name) {
			continue
		}
		lacks = append(lacks, lack(n.what, fmt.Sprintf("the cgroup controller %s is not enabled", n.name)))
		if n.what != sandbox.LackIO {
			needed++
		}
	}
	if needed > 0 {
		return t, lacks
	}
	t.io = slices.Contains(offered, "io")
	probe := cgroup2.Resources{Memory: &cgroup2.Memory{}, Pids: &cgroup2.Pids{}, CPU: &cgroup2.CPU{}}
	if t.io {
		probe.IO = &cgroup2.IO{}
	}
	if _, err := cgroup2.NewManager(mountpoint, t.parent, &probe); err != nil {
		return t, none(fmt.Sprintf("no write access to the cgroup tree: %v", err))
	}
	t.usable = true
	t.swap = isFile(filepath.Join(mountpoint, t.parent, "memory.swap.max"))
	if swapOn() && !t.swap {
		lacks = append(lacks, lack(sandbox.LackSwap, "the kernel does not count swap for groups (it was started with swapaccount=0)"))
	}
	return t, lacks
}

func isFile(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

type groupV2 struct {
	path    string
	manager *cgroup2.Manager
	swap    bool // the host accounts swap
	io      bool // the host can limit disks
	bound   bool // disks are limited
}

func (t *Tree) newV2(path string, l sandbox.Limits) (Group, error) {
	g := &groupV2{path: path, swap: t.swap, io: t.io}
	var err error
	if g.manager, err = cgroup2.NewManager(mountpoint, path, g.resources(l)); err != nil {
		return nil, err
	}
	return g, nil
}

func loadV2(path string) Group {
	m, err := cgroup2.Load(path, cgroup2.WithMountpoint(mountpoint))
	if err != nil { // a name that the kernel made is always valid
		m = nil
	}
	return &groupV2{path: path, manager: m}
}

func (g *groupV2) resources(l sandbox.Limits) *cgroup2.Resources {
	l = l.WithDefaults()
	r := &cgroup2.Resources{
		Memory: &cgroup2.Memory{Max: &l.Memory},
		Pids:   &cgroup2.Pids{Max: int64(l.Pids + overheadPids)},
		CPU:    &cgroup2.CPU{Max: cgroup2.NewCPUMax(nil, &cpuPeriod)},
	}
	if g.swap {
		r.Memory.Swap = &l.Swap
	}
	if l.CPU > 0 {
		quota := cpuQuota(l.CPU)
		r.CPU.Max = cgroup2.NewCPUMax(&quota, &cpuPeriod)
	}
	if g.io {
		r.IO = &cgroup2.IO{} // enables the controller, which also counts
		if l.IO > 0 || g.bound {
			r.IO.Max = entries(l.IO)
			g.bound = l.IO > 0
		}
	}
	return r
}

// entries bound reading and writing of every disk; 0: no bound, which the kernel spells as the largest number.
func entries(rate int64) (out []cgroup2.Entry) {
	bound := uint64(rate)
	if rate == 0 {
		bound = math.MaxUint64
	}
	for _, d := range disks() {
		for _, kind := range []cgroup2.IOType{cgroup2.ReadBPS, cgroup2.WriteBPS} {
			out = append(out, cgroup2.Entry{Type: kind, Major: d.major, Minor: d.minor, Rate: bound})
		}
	}
	return out
}

func (g *groupV2) Path() string { return g.path }

func (g *groupV2) SetLimits(l sandbox.Limits) error {
	if err := g.manager.Update(g.resources(l)); err != nil {
		return fmt.Errorf("set limits of %s: %w", g.path, err)
	}
	return nil
}

// Meters opens files itself: since Linux 6.12 a write to memory.peak starts a measurement that belongs to that descriptor.
func (g *groupV2) Meters() (map[string]*os.File, error) {
	file := func(name string) string { return filepath.Join(mountpoint, g.path, name) }
	return openMeters(map[string]string{
		MeterEvents: file("memory.events"), MeterPeak: file("memory.peak"), MeterCPU: file("cpu.stat"),
		MeterPids: file("pids.events"), MeterMost: file("pids.peak"), MeterNow: file("pids.current"), MeterIO: file("io.stat"),
		MeterUsed: file("memory.current"), MeterKernel: file("memory.stat"), MeterReclaim: file("memory.reclaim"),
	})
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
