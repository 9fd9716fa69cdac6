// Package cgroup keeps the control groups of slots: one group a slot, below one parent, with limits on memory, swap, processes,
// CPU time and disks, and with meters of what was used. It is a small face over containerd/cgroups that hides whether the host has
// version 1, the hybrid of both, or version 2; files are touched directly only where containerd/cgroups has no call (each place
// says so).
//
//	Open(parent) -> Tree, what the host lacks
//	Tree.Create(name, limits) -> Group      before the slot's first process: processes join at birth and are never moved
//	Group.SetLimits, Kill, Delete
//	Tree.Sweep                              removes what a killed helper left behind
//
// Where the host offers nothing (an unprivileged user without a delegated group) Tree.Usable is false and the caller goes on
// without groups, having told the user so.
package cgroup

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/containerd/cgroups/v3"
	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/sandbox"
)

// DefaultParent is the group below which all groups of slots are made. The name says nothing about the host: jobs may see it.
const DefaultParent = "/millrace"

const mountpoint = "/sys/fs/cgroup"

// overheadPids are the processes of a slot that are not of the job: the init and the forker.
const overheadPids = 2

// The meters of a group. Those that the host does not have are missing, but MeterEvents is always there.
const (
	MeterPeak    = "peak"         // most bytes in use; written to, it starts a new measurement where it was opened for writing
	MeterEvents  = "events"       // holds a line "oom_kill N"
	MeterCPU     = "cpu"          // processor time: a number of nanoseconds, or lines "usage_usec N", "system_usec N", "throttled_usec N"
	MeterSystem  = "cpu_system"   // version 1: that part of it which the kernel spent, in nanoseconds
	MeterStalled = "cpu_stat"     // version 1: a line "throttled_time N", in nanoseconds
	MeterPids    = "pids"         // a line "max N": how often a process could not be made for the limit
	MeterMost    = "pids_peak"    // most processes there have ever been
	MeterNow     = "pids_current" // processes there are
	MeterIO      = "io"           // lines "MAJ:MIN Read N" and "MAJ:MIN Write N", or "MAJ:MIN rbytes=N wbytes=N ..."
	MeterUsed    = "used"         // bytes in use
	MeterKernel  = "kernel"       // those of them that the kernel holds, for names of files it has looked up for one: a number, or a line "slab_reclaimable N"
	MeterReclaim = "reclaim"      // written to with a number of bytes, it gives back so much of what is only cached; cannot be read
)

// openMeters opens the named files and leaves out what is not there.
func openMeters(files map[string]string) (map[string]*os.File, error) {
	out := map[string]*os.File{}
	for name, path := range files {
		flag := os.O_RDONLY
		switch name {
		case MeterPeak:
			flag = os.O_RDWR
		case MeterReclaim:
			flag = os.O_WRONLY
		}
		f, err := os.OpenFile(path, flag, 0)
		switch {
		case err == nil:
			out[name] = f
		case name == MeterEvents || !absent(err):
			CloseMeters(out)
			return nil, fmt.Errorf("open meters: %w", err)
		}
	}
	return out, nil
}

// absent says that the kernel has no such file, or none that can be used as asked: an old memory.peak cannot be written to, and
// what it tells, of the slot's whole life, would be the wrong figure for a job.
func absent(err error) bool {
	return errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission) || errors.Is(err, unix.EINVAL)
}

// CloseMeters closes what Meters opened.
func CloseMeters(meters map[string]*os.File) {
	for _, f := range meters {
		_ = f.Close()
	}
}

// swapOn says that the host has swap space, so that it matters whether it can be limited.
func swapOn() bool {
	data, err := os.ReadFile("/proc/swaps")
	return err == nil && bytes.Count(data, []byte("\n")) > 1
}

// Group is the control group of one slot. Its methods may be called from one goroutine at a time.
type Group interface {
	// Path is the group's path as a container runtime wants it: absolute, below the root of every hierarchy.
	Path() string
	SetLimits(l sandbox.Limits) error
	// Meters opens the files that tell what was used, by their names below. Whoever holds them needs no privilege to read them.
	Meters() (map[string]*os.File, error)
	// Kill ends every process in the group and returns when none is left.
	Kill() error
	// Delete removes the group from every hierarchy; processes must be gone. Deleting a deleted group is no error.
	Delete() error
}

// Tree makes groups below one parent.
type Tree struct {
	parent string
	v2     bool
	usable bool
	swap   bool // version 2: swap is counted
	io     bool // version 2: disks can be limited
}

// Open looks at what the host offers below parent and makes parent. Lacks says which limits can not be kept.
func Open(parent string) (*Tree, []sandbox.Lack) {
	t := &Tree{parent: filepath.Clean("/" + parent)}
	switch cgroups.Mode() {
	case cgroups.Unified:
		t.v2 = true
		return t.openV2()
	case cgroups.Legacy, cgroups.Hybrid:
		return t.openV1()
	default:
		return t, none("no cgroup file system is mounted at " + mountpoint)
	}
}

// None is a tree for callers that must not or can not use control groups; Usable is false.
func None(why string) (*Tree, []sandbox.Lack) {
	return &Tree{}, none(why)
}

// none is the lack of all groups. The number of processes is then bounded by the forker, with a resource limit.
func none(why string) []sandbox.Lack {
	return []sandbox.Lack{lack(sandbox.LackMemory, why), lack(sandbox.LackCPU, why), lack(sandbox.LackIO, why)}
}

func lack(what, why string) sandbox.Lack {
	return sandbox.Lack{What: what, Why: why, Fix: "start the daemon as root, or install the package"}
}

// Usable tells whether Create can work.
func (t *Tree) Usable() bool { return t.usable }

// Create makes the group name with limits l. A group of that name that exists is an error: it may hold foreign processes.
func (t *Tree) Create(name string, l sandbox.Limits) (Group, error) {
	if !t.usable {
		return nil, errors.New("create cgroup: no writable cgroup tree")
	}
	if name == "" || strings.ContainsAny(name, "/\x00") || name[0] == '.' {
		return nil, fmt.Errorf("create cgroup: bad name %q", name)
	}
	path := t.parent + "/" + name
	if left := existing(path); len(left) > 0 {
		return nil, fmt.Errorf("create cgroup: %s exists already", left[0])
	}
	var g Group
	var err error
	if t.v2 {
		g, err = t.newV2(path, l)
	} else {
		g, err = newV1(path, l)
	}
	if err != nil {
		_ = removeDirs(path)
		return nil, fmt.Errorf("create cgroup %s: %w", path, err)
	}
	return g, nil
}

// Sweep kills and removes every group below the parent that ours says is a leftover of this caller's.
func (t *Tree) Sweep(ours func(name string) bool) error {
	if !t.usable {
		return nil
	}
	names := map[string]bool{}
	for _, dir := range existing(t.parent) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, e := range entries {
			if e.IsDir() && ours(e.Name()) {
				names[e.Name()] = true
			}
		}
	}
	var errs []error
	for name := range names {
		g := t.load(t.parent + "/" + name)
		if err := errors.Join(g.Kill(), g.Delete()); err != nil {
			errs = append(errs, fmt.Errorf("sweep cgroup %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

func (t *Tree) load(path string) Group {
	if t.v2 {
		return loadV2(path)
	}
	return &groupV1{path: path}
}

// hierarchies are the roots in which a group can have a directory: the mount point itself on version 2, else one directory for
// each controller and, on hybrid hosts, "unified". A container runtime makes directories in all of them.
func hierarchies() []string {
	if cgroups.Mode() == cgroups.Unified {
		return []string{mountpoint}
	}
	entries, err := os.ReadDir(mountpoint)
	if err != nil {
		return nil
	}
	var out []string
	for _, e := range entries {
		if e.IsDir() { // the links cpu and cpuacct to cpu,cpuacct are not
			out = append(out, filepath.Join(mountpoint, e.Name()))
		}
	}
	return out
}

func existing(path string) []string {
	var out []string
	for _, h := range hierarchies() {
		if dir := filepath.Join(h, path); isDir(dir) {
			out = append(out, dir)
		}
	}
	return out
}

func isDir(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.IsDir()
}

// removeDirs removes path from every hierarchy, groups that something inside made below it included. containerd/cgroups
// deletes only from the controllers that it manages itself.
func removeDirs(path string) error {
	var errs []error
	for _, dir := range existing(path) {
		errs = append(errs, removeGroup(dir, 0))
	}
	return errors.Join(errs...)
}

func removeGroup(dir string, depth int) error {
	err := rmdirRetry(dir)
	if err == nil || errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if depth > 32 {
		return err
	}
	entries, rerr := os.ReadDir(dir)
	if rerr != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := removeGroup(filepath.Join(dir, e.Name()), depth+1); err != nil {
				return err
			}
		}
	}
	return rmdirRetry(dir)
}

// rmdirRetry waits out EBUSY: a group stays busy for a moment after its last process was reaped.
func rmdirRetry(dir string) error {
	var err error
	for wait := range backoff() {
		if err = unix.Rmdir(dir); err == nil || errors.Is(err, unix.ENOENT) {
			return nil
		}
		if !errors.Is(err, unix.EBUSY) || hasChildren(dir) {
			break
		}
		wait()
	}
	return &os.PathError{Op: "rmdir", Path: dir, Err: err}
}

func hasChildren(dir string) bool {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return false
	}
	for _, e := range entries {
		if e.IsDir() {
			return true
		}
	}
	return false
}
