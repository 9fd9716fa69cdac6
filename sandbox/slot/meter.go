package slot

import (
	"bytes"
	"os"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/sandbox"
	"github.com/millrace/millrace/sandbox/cgroup"
)

// meter reads the files of a slot's control group that tell what was used, of either version. Most of them count since the slot
// was opened: what a process used is the difference to what its predecessor left. Reading one costs about a microsecond, and
// none is read twice a process but those that also move between two.
type meter struct {
	files map[string]*os.File // by the names of package cgroup; any may be missing
	rest  int64               // bytes that the kernel would not give back; of makeRoom, which is called before start

	mu    sync.Mutex // the process's end and who only waits for its answer read at the same time
	left  counts     // what the process before left; guarded by mu
	used  int64      // nanoseconds of processor time before the process; guarded by mu
	base  int64      // processes before it, which are the slot's own; guarded by mu
	fresh bool       // the peak was reset for it; guarded by mu
	asked int64      // so many of its kills are known by name; guarded by mu
	kill  *sandbox.Kill
}

// counts are what only grows.
type counts struct {
	kills, refused, most, read, written int64
	system, stalled                     int64 // nanoseconds
}

func newMeter(files map[string]*os.File) *meter {
	m := &meter{files: files}
	m.left, _ = m.read()
	return m
}

// start begins a measurement.
func (m *meter) start() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fresh, m.asked, m.kill = false, 0, nil
	if f := m.files[cgroup.MeterPeak]; f != nil {
		_, err := f.WriteAt([]byte("0\n"), 0)
		m.fresh = err == nil // an old kernel's file cannot be reset, and would tell of the slot's whole life
	}
	m.base = m.number(cgroup.MeterNow)
	m.used, m.left.system, m.left.stalled = m.processor()
}

// now tells what the process has used so far; the slot's own part of that, the fork of a zygote for one, is in it.
func (m *meter) now() sandbox.Usage {
	m.mu.Lock()
	defer m.mu.Unlock()
	u, _ := m.usage()
	return u
}

// stop ends the measurement of a process that said of itself that it had used u.
func (m *meter) stop(u sandbox.Usage) sandbox.Usage {
	m.mu.Lock()
	defer m.mu.Unlock()
	got, c := m.usage()
	m.left = c
	if got.MemoryPeak == 0 {
		got.MemoryPeak = u.MemoryPeak
	}
	// The process's own figures are exact but leave out descendants that nobody waited for; the group's are of all, but which
	// part was the kernel's is only sampled.
	total := got.CPUUser + got.CPUSystem
	if own := u.CPUUser + u.CPUSystem; total <= own {
		got.CPUUser, got.CPUSystem = u.CPUUser, u.CPUSystem
	} else {
		got.CPUSystem = min(max(got.CPUSystem, u.CPUSystem), total-u.CPUUser)
		got.CPUUser = total - got.CPUSystem
	}
	return got
}

// usage is what there is more than at the start; mu is held.
func (m *meter) usage() (u sandbox.Usage, c counts) {
	c, total := m.read()
	if m.fresh {
		u.MemoryPeak = m.number(cgroup.MeterPeak)
	}
	cpu := max(0, total-m.used)
	system := min(max(0, c.system-m.left.system), cpu)
	u.CPUUser, u.CPUSystem, u.Throttled = time.Duration(cpu-system), time.Duration(system), time.Duration(c.stalled-m.left.stalled)
	u.OOMKills, u.PidsRefused = c.kills-m.left.kills, c.refused-m.left.refused
	u.IORead, u.IOWritten = c.read-m.left.read, c.written-m.left.written
	// The kernel never forgets the largest number of processes, so that a process with fewer than one before it cannot be told,
	// unless even the largest number would be one.
	if c.most > m.left.most || c.most-m.base == 1 {
		u.PidsPeak = int(max(0, c.most-m.base))
	}
	return u, c
}

// read reads all counts, and the processor time.
func (m *meter) read() (c counts, total int64) {
	var buf [4096]byte
	if b := m.text(cgroup.MeterEvents, buf[:]); b != nil {
		c.kills = value(b, "oom_kill ")
	}
	if b := m.text(cgroup.MeterPids, buf[:]); b != nil {
		c.refused = value(b, "max ")
	}
	if b := m.text(cgroup.MeterIO, buf[:]); b != nil {
		c.read, c.written = transferred(b)
	}
	c.most = m.number(cgroup.MeterMost)
	total, c.system, c.stalled = m.processor()
	return c, total
}

// processor reads the group's processor time, the kernel's part of it and the time for which a limit kept it from more, in
// nanoseconds. Version 2 has all three in one file, in microseconds.
func (m *meter) processor() (total, system, stalled int64) {
	var buf [1024]byte
	b := m.text(cgroup.MeterCPU, buf[:])
	if bytes.HasPrefix(b, []byte("usage_usec ")) {
		return 1000 * value(b, "usage_usec "), 1000 * value(b, "system_usec "), 1000 * value(b, "throttled_usec ")
	}
	total, system = integer(b), m.number(cgroup.MeterSystem)
	return total, system, value(m.text(cgroup.MeterStalled, buf[:]), "throttled_time ")
}

// killed returns the process that was killed last; ask finds out, when more were killed than were asked for.
func (m *meter) killed(kills int64, ask func() *sandbox.Kill) *sandbox.Kill {
	m.mu.Lock()
	defer m.mu.Unlock()
	if kills > m.asked {
		if k := ask(); k != nil {
			m.kill = k
		}
		m.asked = kills
	}
	return m.kill
}

// text reads a small file from its beginning; nil when there is none.
func (m *meter) text(name string, buf []byte) []byte {
	f := m.files[name]
	if f == nil {
		return nil
	}
	// One call, where ReadAt would make a second to see the end: for that the kernel would write the text once more.
	n := 0
	if c, err := f.SyscallConn(); err == nil {
		_ = c.Control(func(fd uintptr) { n, _ = unix.Pread(int(fd), buf, 0) })
	}
	return buf[:max(0, n)]
}

func (m *meter) number(name string) int64 {
	var buf [32]byte
	return integer(m.text(name, buf[:]))
}

func integer(b []byte) int64 {
	v, _ := strconv.ParseInt(string(bytes.TrimSpace(b)), 10, 64)
	return v
}

// value finds the number on the line that begins with key.
func value(b []byte, key string) int64 {
	for line := range bytes.Lines(b) {
		if rest, ok := bytes.CutPrefix(line, []byte(key)); ok {
			return integer(rest)
		}
	}
	return 0
}

// transferred sums the bytes of all disks: "254:0 Read 4096" a line in version 1, "254:0 rbytes=4096 wbytes=0 ..." in version 2.
func transferred(b []byte) (read, written int64) {
	for line := range bytes.Lines(b) {
		fields := bytes.Fields(line)
		if len(fields) == 3 && string(fields[1]) == "Read" {
			read += integer(fields[2])
		}
		if len(fields) == 3 && string(fields[1]) == "Write" {
			written += integer(fields[2])
		}
		for _, f := range fields {
			if v, ok := bytes.CutPrefix(f, []byte("rbytes=")); ok {
				read += integer(v)
			}
			if v, ok := bytes.CutPrefix(f, []byte("wbytes=")); ok {
				written += integer(v)
			}
		}
	}
	return read, written
}

func (m *meter) close() { cgroup.CloseMeters(m.files) }
