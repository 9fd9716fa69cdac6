package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// machine is what must be known to compare two files of results.
type machine struct {
	CPU      string  `json:"cpu"`
	Cores    int     `json:"cores"`
	MemoryGB float64 `json:"memory_gb"`
	Kernel   string  `json:"kernel"`
	Postgres string  `json:"postgres"`
	FsyncP50 float64 `json:"fdatasync_p50_ms"`
	FsyncP99 float64 `json:"fdatasync_p99_ms"`
}

func cores() int { return runtime.NumCPU() }

func readMachine(folder string) (machine, error) {
	m := machine{CPU: field("/proc/cpuinfo", "model name"), Cores: cores()}
	if kb, err := strconv.ParseFloat(strings.TrimSuffix(field("/proc/meminfo", "MemTotal"), " kB"), 64); err == nil {
		m.MemoryGB = float64(int(kb/1e5)) / 10
	}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		m.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	bin, err := postgresBin()
	if err != nil {
		return m, err
	}
	out, err := exec.Command(filepath.Join(bin, "postgres"), "--version").Output()
	if err != nil {
		return m, err
	}
	m.Postgres = strings.TrimSpace(string(out))
	flushes, err := timeFlushes(folder, 300)
	if err != nil {
		return m, err
	}
	m.FsyncP50, m.FsyncP99 = quantile(flushes, 0.5), quantile(flushes, 0.99)
	return m, nil
}

// field returns the value of the first "name : value" line of a file.
func field(file, name string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(b)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// timeFlushes appends pages to a file as a write-ahead log does; milliseconds.
func timeFlushes(folder string, n int) ([]float64, error) {
	f, err := os.CreateTemp(folder, "fsync-*")
	if err != nil {
		return nil, err
	}
	defer func() { _, _ = os.Remove(f.Name()), f.Close() }() // a scratch file
	page := make([]byte, 8<<10)
	out := make([]float64, 0, n)
	for range n {
		start := time.Now()
		if _, err := f.Write(page); err != nil {
			return nil, err
		}
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			return nil, err
		}
		out = append(out, milliseconds(time.Since(start)))
	}
	slices.Sort(out)
	return out, nil
}

func milliseconds(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }

// loadAverage is that of the last minute: what else the machine did.
func loadAverage() float64 {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(b), " ")
	f, _ := strconv.ParseFloat(first, 64) // the kernel writes a number
	return f
}

func selfCPU() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
