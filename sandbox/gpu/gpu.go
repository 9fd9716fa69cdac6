// Package gpu finds the NVIDIA devices of a host and says what a process needs to use one of them. It reads what the kernel's
// driver tells in /proc and /dev and links with no library of NVIDIA, so it is the same program on hosts without a device.
//
//	Find(root)          the devices below a root, each with its nodes, or with the reason why it can not be used
//	Inventory.Share     the nodes and files that a slot with some of them gets: these devices and no other
//	Env                 the variables that tell the driver's libraries in the slot what they have
//
// A device is a whole GPU, or, where one is divided (MIG), each of its compute instances: their driver keeps instances apart by
// further nodes, and a process that has not been given these can not use the instance.
//
// Root is the folder where /proc, /dev, /sys and the driver's libraries are looked for: "/" except in tests. The helper that
// builds slots and the daemon each look for themselves. What the daemon asks for is an ID, never a path.
package gpu

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
)

// MaxDevices bounds the devices of one slot.
const MaxDevices = 64

// Node is a character device.
type Node struct {
	Path         string // as a job sees it: /dev/nvidia0
	Major, Minor uint32
	Open         bool // everybody may use it; a job, whose user is nobody's, can not otherwise
}

// Device is something that can be given to one job.
type Device struct {
	ID      string // the PCI address, 0000:65:00.0; of an instance followed by /GPU-INSTANCE/COMPUTE-INSTANCE
	UUID    string // of the whole GPU; "" while the driver has not initialised it
	Name    string // "NVIDIA H100 80GB HBM3"
	Nodes   []Node // its own ones; an instance's first one is that of its GPU
	Problem string // why it can not be given to a job, and what to do; "" when it can
}

// Instance says that d is a part of a GPU.
func (d Device) Instance() bool { return strings.Contains(d.ID, "/") }

// Inventory is what was found.
type Inventory struct {
	Driver  string // its version; "" when none is loaded
	Devices []Device
	// Control are the nodes that every process with a device needs.
	Control []Node
	// Notes tell of devices on the bus that no driver has taken: why, and what to do.
	Notes []string

	root  string
	once  sync.Once
	files []string // set by once, see Files
}

// Usable lists the devices without a problem.
func (i *Inventory) Usable() []Device {
	var out []Device
	for _, d := range i.Devices {
		if d.Problem == "" {
			out = append(out, d)
		}
	}
	return out
}

// Device finds a device by its ID.
func (i *Inventory) Device(id string) (Device, bool) {
	for _, d := range i.Devices {
		if d.ID == id {
			return d, true
		}
	}
	return Device{}, false
}

var idShape = regexp.MustCompile(`^[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7](/[0-9]{1,3}/[0-9]{1,3})?$`)

// CheckIDs refuses what can not be a list of devices; whether they exist is another question.
func CheckIDs(ids []string) error {
	if len(ids) > MaxDevices {
		return fmt.Errorf("more than %d devices", MaxDevices)
	}
	seen := map[string]bool{}
	for _, id := range ids {
		if !idShape.MatchString(id) || seen[id] {
			return fmt.Errorf("bad device %q", id[:min(len(id), 40)])
		}
		seen[id] = true
	}
	return nil
}

// Find looks for devices below root. A host without any has an empty inventory; an error is one of reading.
func Find(root string) (*Inventory, error) {
	i := &Inventory{root: root, Driver: driverVersion(root)}
	majors, err := readMajors(filepath.Join(root, "proc/devices"))
	if err != nil {
		return nil, err
	}
	control, missing := i.control(majors)
	i.Control = control
	if i.Devices, err = findDevices(root, majors); err != nil {
		return nil, err
	}
	for n := range i.Devices {
		if d := &i.Devices[n]; d.Problem == "" {
			d.Problem = missing
		}
	}
	i.Notes, err = findUntaken(root, i.Devices)
	return i, err
}

// control finds the nodes that all devices share; missing says which there is not.
func (i *Inventory) control(majors map[string]uint32) (nodes []Node, missing string) {
	for _, want := range []struct {
		path, driver string
		minor        uint32
		optional     bool
	}{{"/dev/nvidiactl", gpuDriver, 255, false}, {"/dev/nvidia-uvm", "nvidia-uvm", 0, false}, {"/dev/nvidia-uvm-tools", "nvidia-uvm", 1, true}} {
		major, ok := majors[want.driver]
		n, why := Node{}, "no driver "+want.driver+" is loaded"
		if ok {
			n, why = node(i.root, want.path, major, want.minor)
		}
		if why != "" {
			if missing == "" && !want.optional {
				missing = fmt.Sprintf("%s: %s; run nvidia-modprobe -c 0 -u, or enable nvidia-persistenced", want.path, why)
			}
			continue
		}
		nodes = append(nodes, n)
	}
	return nodes, missing
}

const everybody = fs.FileMode(0o006)
