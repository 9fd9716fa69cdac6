package gpu

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// findInstances lists the compute instances of a divided GPU; none: it is whole. The driver shows them as
// capabilities/gpu<minor>/mig/gi<n>/ci<m>; in each folder the file access tells the node that opens it.
func findInstances(root string, whole Device, minor string, majors map[string]uint32) ([]Device, error) {
	dir := filepath.Join(root, "proc/driver/nvidia/capabilities/gpu"+minor+"/mig")
	gpuInstances, err := numbered(dir, "gi")
	if err != nil {
		return nil, err
	}
	var out []Device
	for _, gi := range gpuInstances {
		inner := filepath.Join(dir, "gi"+gi)
		computeInstances, err := numbered(inner, "ci")
		if err != nil {
			return nil, err
		}
		for _, ci := range computeInstances {
			d := whole
			d.ID += "/" + gi + "/" + ci
			d.Name += fmt.Sprintf(" (instance %s/%s)", gi, ci)
			d.Nodes = append([]Node(nil), whole.Nodes...)
			for _, access := range []string{filepath.Join(inner, "access"), filepath.Join(inner, "ci"+ci, "access")} {
				n, why := capability(root, access, majors)
				if why != "" && d.Problem == "" {
					d.Problem = why
				}
				d.Nodes = append(d.Nodes, n)
			}
			if d.Problem != "" {
				d.Nodes = nil
			}
			out = append(out, d)
		}
	}
	return out, nil
}

// numbered lists what follows prefix in the names of the folders in dir, where it is a number.
func numbered(dir, prefix string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for instances: %w", err)
	}
	var out []string
	for _, e := range entries {
		if number, ok := strings.CutPrefix(e.Name(), prefix); ok && e.IsDir() {
			if n, err := strconv.ParseUint(number, 10, 8); err == nil {
				out = append(out, strconv.FormatUint(n, 10))
			}
		}
	}
	return out, nil
}

// capability finds the node that the file access tells of.
func capability(root, access string, majors map[string]uint32) (Node, string) {
	facts, err := readFacts(access)
	if err != nil {
		return Node{}, fmt.Sprintf("its capability can not be read: %v", err)
	}
	minor, err := strconv.ParseUint(facts["DeviceFileMinor"], 10, 20)
	major, ok := majors["nvidia-caps"]
	if err != nil || !ok {
		return Node{}, "the driver does not say which node opens the instance"
	}
	path := "/dev/nvidia-caps/nvidia-cap" + strconv.FormatUint(minor, 10)
	n, why := node(root, path, major, uint32(minor))
	if why != "" {
		return Node{}, fmt.Sprintf("%s: %s; run nvidia-modprobe -f %s", path, why, strings.TrimPrefix(access, strings.TrimSuffix(root, "/")))
	}
	return n, ""
}
