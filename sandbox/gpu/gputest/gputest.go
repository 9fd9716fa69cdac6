// Package gputest makes trees of files that look like a host with NVIDIA devices, for tests on hosts without one. The nodes are
// other devices under a false name, harmless ones that every host has, so making them needs root.
package gputest

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// Numbers of harmless devices: null and zero are two GPUs, and random is a capability.
const (
	Major = 1
	Null  = 3
	Zero  = 5
	Full  = 7
	Rand  = 8
)

// Tree is a false root.
type Tree struct {
	t    testing.TB
	Root string
}

// New returns the root of a host with the driver loaded, its control nodes, and no device yet.
func New(t testing.TB) *Tree {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can make device nodes")
	}
	dir, err := os.MkdirTemp("", "gpus") // not the test's own folder: users of slots must be able to look into it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	f := &Tree{t: t, Root: dir}
	f.Write("proc/devices", "Character devices:\n  1 mem\n  1 nvidia\n  1 nvidia-uvm\n  1 nvidia-caps\n 10 misc\n\nBlock devices:\n  1 nvidia-block\n")
	f.Write("proc/driver/nvidia/version", "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024\nGCC version:  gcc version 12.2.0\n")
	f.Node("dev/nvidiactl", 255)
	f.Node("dev/nvidia-uvm", 0)
	return f
}

// Write makes a file.
func (f *Tree) Write(path, text string) {
	f.t.Helper()
	path = filepath.Join(f.Root, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		f.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		f.t.Fatal(err)
	}
}

// Link makes a link.
func (f *Tree) Link(path, target string) {
	f.t.Helper()
	path = filepath.Join(f.Root, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		f.t.Fatal(err)
	}
	if err := os.Symlink(target, path); err != nil {
		f.t.Fatal(err)
	}
}

// Node makes a device node.
func (f *Tree) Node(path string, minor uint32) {
	f.t.Helper()
	path = filepath.Join(f.Root, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		f.t.Fatal(err)
	}
	if err := unix.Mknod(path, unix.S_IFCHR|0o666, int(unix.Mkdev(Major, minor))); err != nil {
		f.t.Skipf("device nodes can not be made here: %v", err)
	}
	if err := os.Chmod(path, 0o666); err != nil {
		f.t.Fatal(err)
	}
}

// Device adds a GPU whose node has that number.
func (f *Tree) Device(id, uuid, name string, minor uint32) {
	f.t.Helper()
	f.Write("proc/driver/nvidia/gpus/"+id+"/information", fmt.Sprintf(
		"Model: \t\t %s\nIRQ:   \t\t 112\nGPU UUID: \t %s\nVideo BIOS: \t 96.00.89.00.01\nBus Type: \t PCIe\nBus Location: \t %s\nDevice Minor: \t %d\nGPU Excluded:\t No\n",
		name, uuid, id, minor))
	f.Node(fmt.Sprintf("dev/nvidia%d", minor), minor)
}

// Instance divides the GPU whose node has that number; the numbers of the capabilities' nodes follow.
func (f *Tree) Instance(gpu uint32, gi, ci int, giCap, ciCap uint32) {
	f.t.Helper()
	dir := fmt.Sprintf("proc/driver/nvidia/capabilities/gpu%d/mig/gi%d/", gpu, gi)
	for path, minor := range map[string]uint32{dir + "access": giCap, fmt.Sprintf("%sci%d/access", dir, ci): ciCap} {
		f.Write(path, fmt.Sprintf("DeviceFileMinor: %d\nDeviceFileMode: 292\nDeviceFileModify: 1\n", minor))
		node := fmt.Sprintf("dev/nvidia-caps/nvidia-cap%d", minor)
		if _, err := os.Lstat(filepath.Join(f.Root, node)); err != nil {
			f.Node(node, minor)
		}
	}
}

// Pull takes a GPU off the bus.
func (f *Tree) Pull(id string, minor uint32) {
	f.t.Helper()
	for _, path := range []string{"proc/driver/nvidia/gpus/" + id, fmt.Sprintf("dev/nvidia%d", minor)} {
		if err := os.RemoveAll(filepath.Join(f.Root, path)); err != nil {
			f.t.Fatal(err)
		}
	}
}

// The two GPUs of Pair.
const (
	First      = "0000:17:00.0"
	FirstUUID  = "GPU-11111111-2222-3333-4444-555555555555"
	Second     = "0000:65:00.0"
	SecondUUID = "GPU-66666666-7777-8888-9999-aaaaaaaaaaaa"
)

// Pair is a host with two GPUs and the driver's libraries.
func Pair(t testing.TB) *Tree {
	t.Helper()
	f := New(t)
	f.Device(First, FirstUUID, "NVIDIA Null 8GB", Null)
	f.Device(Second, SecondUUID, "NVIDIA Zero 8GB", Zero)
	f.Library("usr/lib/x86_64-linux-gnu/libcuda.so.550.54.15")
	f.Link("usr/lib/x86_64-linux-gnu/libcuda.so.1", "libcuda.so.550.54.15")
	f.Write("usr/bin/nvidia-smi", "#!/bin/sh\necho smi\n")
	return f
}

// Library makes a file with the head of this very program, which is what a library of this machine looks like.
func (f *Tree) Library(path string) {
	f.t.Helper()
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		f.t.Fatal(err)
	}
	defer self.Close()
	head := make([]byte, 64)
	if _, err := self.ReadAt(head, 0); err != nil {
		f.t.Fatal(err)
	}
	// No tables of sections or segments follow.
	for _, field := range [][2]int{{0x20, 8}, {0x28, 8}, {0x38, 2}, {0x3c, 2}, {0x3e, 2}} {
		clear(head[field[0] : field[0]+field[1]])
	}
	f.Write(path, string(head))
}
