package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// machine is what must be known to compare two reports.
type machine struct {
	When     time.Time          `json:"when"`
	CPU      string             `json:"cpu"`
	Cores    int                `json:"cores"`
	MemoryGB float64            `json:"memory_gb"`
	Kernel   string             `json:"kernel"`
	Version  string             `json:"version"` // of the measured daemon
	FsyncP50 float64            `json:"fdatasync_p50_ms"`
	FsyncP99 float64            `json:"fdatasync_p99_ms"`
	Speed    speed              `json:"speed"`
	Load     map[string]float64 `json:"generator_cpu"` // by part: share of one core that this program took
	Steal    map[string]float64 `json:"steal"`         // by part: share of all cores that the hypervisor took
}

// readMachine fills in what is known before measuring. The disk is timed in folder.
func (r *report) readMachine(folder string) {
	m := &r.Machine
	m.When, m.Cores, m.Load, m.Steal = time.Now().UTC().Truncate(time.Second), runtime.NumCPU(), map[string]float64{}, map[string]float64{}
	m.CPU = field("/proc/cpuinfo", "model name")
	if kb, err := strconv.ParseFloat(strings.TrimSuffix(field("/proc/meminfo", "MemTotal"), " kB"), 64); err == nil {
		m.MemoryGB = float64(int(kb/1e5)) / 10
	}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		m.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	m.Speed = readSpeed()
	s, err := timeSync(folder, 500)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench: the disk was not timed:", err)
		return
	}
	m.FsyncP50, m.FsyncP99 = ms(s.at(0.5)), ms(s.at(0.99))
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

// timeSync appends pages to a file as a write-ahead log does.
func timeSync(folder string, n int) (sample, error) {
	f, err := os.CreateTemp(folder, "fsync-*")
	if err != nil {
		return nil, err
	}
	defer func() { _, _ = os.Remove(f.Name()), f.Close() }() // a scratch file
	page := make([]byte, 8<<10)
	out := make(sample, 0, n)
	for range n {
		start := time.Now()
		if _, err := f.Write(page); err != nil {
			return nil, err
		}
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			return nil, err
		}
		out = append(out, time.Since(start))
	}
	return out, nil
}

// watch measures what this program and the hypervisor take while a part runs.
type watch struct {
	start        time.Time
	self         time.Duration
	steal, total float64 // ticks
}

func startWatch() watch {
	w := watch{start: time.Now(), self: selfCPU()}
	w.steal, w.total = stealTicks()
	return w
}

// share returns the fraction of one core that this program used, and of all cores that were stolen, since the start.
func (w watch) share() (self, stolen float64) {
	self = float64(selfCPU()-w.self) / float64(time.Since(w.start))
	steal, total := stealTicks()
	if total > w.total {
		stolen = (steal - w.steal) / (total - w.total)
	}
	return round(self), round(stolen)
}

func selfCPU() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func stealTicks() (steal, total float64) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0
	}
	line, _, _ := strings.Cut(string(b), "\n")
	for i, f := range strings.Fields(line)[1:] {
		v, err := strconv.ParseFloat(f, 64)
		if err != nil || i > 7 { // guest time is counted in user time already
			break
		}
		total += v
		if i == 7 {
			steal = v
		}
	}
	return steal, total
}

// process is one line of the process table.
type process struct {
	pid, parent int
	name        string
	cpu         time.Duration // its own, children apart
}

const tick = 10 * time.Millisecond // USER_HZ is 100 on every Linux that Go runs on

// family returns pid and all its descendants.
func family(pid int) []process {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil
	}
	all := map[int]process{}
	for _, d := range dirs {
		if p, ok := readProcess(d); ok {
			all[p.pid] = p
		}
	}
	var out []process
	for _, p := range all {
		for up := p; ; {
			if up.pid == pid {
				out = append(out, p)
				break
			}
			next, ok := all[up.parent]
			if !ok || up.parent == up.pid {
				break
			}
			up = next
		}
	}
	return out
}

func readProcess(dir string) (process, bool) {
	b, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return process{}, false // gone already
	}
	// pid (name) state ppid ...; the name may hold anything, the last ")" ends it.
	s := string(b)
	open, end := strings.IndexByte(s, '('), strings.LastIndexByte(s, ')')
	if open < 0 || end < open {
		return process{}, false
	}
	f := strings.Fields(s[end+1:])
	if len(f) < 13 {
		return process{}, false
	}
	number := func(s string) int64 {
		n, _ := strconv.ParseInt(s, 10, 64) // the kernel writes numbers
		return n
	}
	return process{pid: int(number(strings.TrimSpace(s[:open]))), parent: int(number(f[1])), name: s[open+1 : end],
		cpu: time.Duration(number(f[11])+number(f[12])) * tick}, true
}

// pss is a process's share of memory in MB: its own pages and its part of those that it shares.
func (p process) pss() float64 {
	kb, err := strconv.ParseFloat(strings.TrimSuffix(field(fmt.Sprintf("/proc/%d/smaps_rollup", p.pid), "Pss"), " kB"), 64)
	if err != nil {
		return 0
	}
	return kb / 1024
}
