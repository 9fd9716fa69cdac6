package cgroup

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

type disk struct{ major, minor int64 }

// disks lists the whole disks of the host, which are what the kernel can limit: no partitions, no memory in the guise of a disk,
// and no loops, whose disk below is limited itself.
func disks() (out []disk) {
	entries, err := os.ReadDir("/sys/block")
	if err != nil {
		return nil
	}
	for _, e := range entries {
		name := e.Name()
		if strings.HasPrefix(name, "loop") || strings.HasPrefix(name, "ram") || strings.HasPrefix(name, "zram") {
			continue
		}
		var d disk
		if _, err := fmt.Sscanf(read("/sys/block", name, "dev"), "%d:%d", &d.major, &d.minor); err != nil {
			continue
		}
		if size, err := strconv.ParseInt(read("/sys/block", name, "size"), 10, 64); err == nil && size > 0 {
			out = append(out, d)
		}
	}
	return out
}

func read(path ...string) string {
	data, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}
