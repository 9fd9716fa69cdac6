package gpu

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// gpuDriver stands for the driver of /dev/nvidiaN and /dev/nvidiactl, whose name in /proc/devices has changed.
const gpuDriver = "nvidia"

// driverVersion reads the version out of a line like "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue ...".
func driverVersion(root string) string {
	b, err := os.ReadFile(filepath.Join(root, "proc/driver/nvidia/version"))
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(b), "\n")
	if v := versionShape.FindString(line); v != "" {
		return v
	}
	return "unknown"
}

var versionShape = regexp.MustCompile(`\b[0-9]{2,4}\.[0-9]+(\.[0-9]+)*\b`)

// readMajors reads the numbers of the NVIDIA drivers for character devices.
func readMajors(path string) (map[string]uint32, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for devices: %w", err)
	}
	defer f.Close()
	out := map[string]uint32{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		number, name, _ := strings.Cut(strings.TrimSpace(lines.Text()), " ")
		if name == "Block devices:" || number == "Block" {
			break
		}
		major, err := strconv.ParseUint(number, 10, 12)
		if err != nil || !strings.HasPrefix(name, "nvidia") {
			continue
		}
		if name == "nvidia-frontend" {
			name = gpuDriver
		}
		out[name] = uint32(major)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("look for devices: %w", err)
	}
	return out, nil
}

// node looks at a device node and says what is wrong with it: whatever else lies at its path is not given to anybody.
func node(root, path string, major, minor uint32) (Node, string) {
	var st unix.Stat_t
	err := unix.Lstat(filepath.Join(root, path), &st)
	switch {
	case errors.Is(err, unix.ENOENT):
		return Node{}, "the node is missing"
	case err != nil:
		return Node{}, err.Error()
	case st.Mode&unix.S_IFMT != unix.S_IFCHR:
		return Node{}, "it is not a character device"
	case unix.Major(st.Rdev) != major || unix.Minor(st.Rdev) != minor:
		return Node{}, fmt.Sprintf("it is device %d:%d, and the driver's is %d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev), major, minor)
	}
	return Node{Path: path, Major: major, Minor: minor, Open: fs.FileMode(st.Mode)&everybody == everybody}, ""
}

// findDevices reads what the driver tells of its devices, in the order of their addresses.
func findDevices(root string, majors map[string]uint32) ([]Device, error) {
	dir := filepath.Join(root, "proc/driver/nvidia/gpus")
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for devices: %w", err)
	}
	var out []Device
	for _, e := range entries {
		id := strings.ToLower(e.Name())
		if !idShape.MatchString(id) {
			continue
		}
		facts, err := readFacts(filepath.Join(dir, e.Name(), "information"))
		if errors.Is(err, fs.ErrNotExist) {
			continue // it went away meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("device %s: %w", id, err)
		}
		d := device(root, id, facts, majors)
		parts, err := findInstances(root, d, facts["Device Minor"], majors)
		if err != nil {
			return nil, err
		}
		if len(parts) > 0 {
			out = append(out, parts...)
			continue
		}
		out = append(out, d)
	}
	slices.SortStableFunc(out, func(a, b Device) int { return strings.Compare(a.ID, b.ID) })
	return out, nil
}

func device(root, id string, facts map[string]string, majors map[string]uint32) Device {
	d := Device{ID: id, Name: facts["Model"], UUID: facts["GPU UUID"]}
	if strings.ContainsRune(d.UUID, '?') {
		d.UUID = "" // the driver has not talked to the device yet
	}
	minor, err := strconv.ParseUint(facts["Device Minor"], 10, 20)
	major, ok := majors[gpuDriver]
	switch {
	case err != nil || !ok:
		d.Problem = "the driver does not say which node is this device's; look into dmesg for messages of the driver (NVRM)"
		return d
	case strings.EqualFold(facts["GPU Excluded"], "yes"):
		d.Problem = "the administrator has excluded it (NVreg_ExcludedGpus)"
		return d
	}
	path := "/dev/nvidia" + strconv.FormatUint(minor, 10)
	n, why := node(root, path, major, uint32(minor))
	if why != "" {
		d.Problem = fmt.Sprintf("%s: %s; run nvidia-modprobe -c %d -u, or enable nvidia-persistenced", path, why, minor)
		return d
	}
	d.Nodes = []Node{n}
	return d
}

// readFacts reads a file of lines like "Model: 		 NVIDIA H100".
func readFacts(path string) (map[string]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	out := map[string]string{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if name, value, ok := strings.Cut(lines.Text(), ":"); ok {
			out[strings.TrimSpace(name)] = strings.TrimSpace(value)
		}
	}
	return out, lines.Err()
}
