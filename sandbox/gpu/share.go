package gpu

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Where a slot sees what lies outside of the folders that every slot sees anyway.
const (
	libraryTarget = "/millrace/nvidia/lib"
	programTarget = "/millrace/nvidia/bin"
)

// Share is what a slot with devices is shown besides what every slot sees.
type Share struct {
	Nodes []Bound // to be bound as devices, and allowed by the control group
	Files []Bound // to be bound read-only
}

// Bound is a file or node of the host and its place in the slot.
type Bound struct {
	Source, Target string
	Major, Minor   uint32 // of nodes
}

// Share says what a slot with exactly these devices is shown.
func (i *Inventory) Share(ids []string) (Share, error) {
	var s Share
	if len(ids) == 0 {
		return s, nil
	}
	if err := CheckIDs(ids); err != nil {
		return s, err
	}
	add := func(nodes []Node) {
		for _, n := range nodes {
			b := Bound{Source: filepath.Join(i.root, n.Path), Target: n.Path, Major: n.Major, Minor: n.Minor}
			if !slices.Contains(s.Nodes, b) { // instances of one GPU have its node in common
				s.Nodes = append(s.Nodes, b)
			}
		}
	}
	for _, id := range ids {
		d, ok := i.Device(id)
		switch {
		case !ok:
			return Share{}, fmt.Errorf("device %s is not on this host, or no longer", id)
		case d.Problem != "":
			return Share{}, fmt.Errorf("device %s: %s", id, d.Problem)
		}
		add(d.Nodes)
	}
	add(i.Control)
	for _, path := range i.outside() {
		target := programTarget
		if isLibrary(filepath.Base(path)) {
			target = libraryTarget
		}
		real, err := filepath.EvalSymlinks(filepath.Join(i.root, path))
		if err != nil {
			return Share{}, errors.Join(fmt.Errorf("the driver's file %s", path), err)
		}
		s.Files = append(s.Files, Bound{Source: real, Target: filepath.Join(target, filepath.Base(path))})
	}
	s.Files = append(s.Files, i.facts(ids)...)
	return s, nil
}

// facts are the parts of /sys in which the driver's libraries look whether the driver is there, how the host is built, and where
// on the bus the devices are; without them cuInit fails. Those of other devices are left out.
func (i *Inventory) facts(ids []string) []Bound {
	paths := []string{
		"/sys/module/nvidia", "/sys/module/nvidia_uvm", "/sys/module/nvidia_modeset", "/sys/devices/system/cpu", "/sys/devices/system/node",
	}
	for _, id := range ids {
		whole, _, _ := strings.Cut(id, "/")
		if path := "/sys/bus/pci/devices/" + whole; !slices.Contains(paths, path) {
			paths = append(paths, path)
		}
	}
	var out []Bound
	for _, path := range paths {
		if real, err := filepath.EvalSymlinks(filepath.Join(i.root, path)); err == nil { // not all hosts have all of them
			out = append(out, Bound{Source: real, Target: path})
		}
	}
	return out
}

// shown are the folders that every slot sees.
var shown = []string{"/usr/", "/lib/", "/lib64/", "/bin/", "/sbin/"}

// outside lists the driver's files that a slot does not see anyway.
func (i *Inventory) outside() []string {
	var out []string
	for _, path := range i.Files() {
		real, err := filepath.EvalSymlinks(filepath.Join(i.root, path))
		in := func(p string) bool {
			return slices.ContainsFunc(shown, func(dir string) bool { return strings.HasPrefix(p, dir) })
		}
		if err == nil && !(in(path) && in(real)) {
			out = append(out, path)
		}
	}
	return out
}

// Env are the variables of a job that has these devices. CUDA numbers what it finds in the slot from 0, so numbers do where the
// driver has no UUID to tell; without walls, where every device can be seen, only the UUID keeps a job to its own.
func (i *Inventory) Env(devices []Device) map[string]string {
	byUUID := !slices.ContainsFunc(devices, func(d Device) bool { return d.UUID == "" || d.Instance() })
	var visible []string
	for n, d := range devices {
		if byUUID {
			visible = append(visible, d.UUID)
		} else {
			visible = append(visible, strconv.Itoa(n))
		}
	}
	list := strings.Join(visible, ",")
	env := map[string]string{"CUDA_VISIBLE_DEVICES": list, "NVIDIA_VISIBLE_DEVICES": list, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
	if len(i.outside()) > 0 {
		env["LD_LIBRARY_PATH"] = libraryTarget
	}
	return env
}

// Path is the folder of the driver's programs in a slot; "" when they lie where programs always are.
func (i *Inventory) Path() string {
	if slices.ContainsFunc(i.outside(), func(p string) bool { return !isLibrary(filepath.Base(p)) }) {
		return programTarget
	}
	return ""
}
