package gpu

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// findUntaken looks on the PCI bus for devices that the driver does not know, so that a host where the driver is missing is told
// from one without devices.
func findUntaken(root string, known []Device) ([]string, error) {
	dir := filepath.Join(root, "sys/bus/pci/devices")
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look at the PCI bus: %w", err)
	}
	var out []string
	for _, e := range entries {
		fact := func(name string) string {
			b, _ := os.ReadFile(filepath.Join(dir, e.Name(), name)) // a device that has just gone has none
			return strings.TrimSpace(string(b))
		}
		// 0300 is a display, 0302 a computing device without one; bridges and sound of the same maker are of no interest.
		class := fact("class")
		if fact("vendor") != "0x10de" || !strings.HasPrefix(class, "0x0300") && !strings.HasPrefix(class, "0x0302") {
			continue
		}
		if taken(strings.ToLower(e.Name()), known) {
			continue
		}
		note := "device " + e.Name() + ": no driver has taken it; install NVIDIA's driver, or run modprobe nvidia"
		if driver, err := os.Readlink(filepath.Join(dir, e.Name(), "driver")); err == nil {
			note = fmt.Sprintf("device %s: the driver %s has taken it, and jobs need NVIDIA's", e.Name(), filepath.Base(driver))
		}
		out = append(out, note)
	}
	return out, nil
}

func taken(id string, known []Device) bool {
	for _, d := range known {
		if whole, _, _ := strings.Cut(d.ID, "/"); whole == id {
			return true
		}
	}
	return false
}
