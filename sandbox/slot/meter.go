package slot

import (
	"bytes"
	"os"
	"strconv"
	"time"

	"github.com/millrace/millrace/sandbox"
)

// meter reads the files of a slot's control group that tell about memory. Versions 1 and 2 have them in the same form: a number,
// and lines of which one is "oom_kill N". Either file may be nil.
type meter struct {
	peak, events, cpu *os.File
	kills             int64 // before the process that runs now
	fresh             bool  // the peak was reset for it
	used              int64 // nanoseconds of processor time before it
}

// start begins a measurement.
func (m *meter) start() {
	m.fresh = false
	if m.peak != nil {
		_, err := m.peak.WriteAt([]byte("0\n"), 0)
		m.fresh = err == nil // an old kernel's file can not be reset, and would tell of the slot's whole life
	}
	m.kills, m.used = m.oomKills(), m.nanoseconds()
}

// now tells what the process has used so far; the slot's own part of that, the fork of a zygote for one, is in it.
func (m *meter) now() (u sandbox.Usage) {
	if m.fresh {
		u.MemoryPeak = m.number(m.peak)
	}
	u.CPUUser = time.Duration(m.nanoseconds() - m.used)
	return u
}

func (m *meter) number(f *os.File) int64 {
	var buf [32]byte
	n, _ := f.ReadAt(buf[:], 0)
	v, _ := strconv.ParseInt(string(bytes.TrimSpace(buf[:n])), 10, 64)
	return v
}

// nanoseconds reads the group's processor time: cpuacct.usage is a number, cpu.stat has a line "usage_usec N".
func (m *meter) nanoseconds() int64 {
	if m.cpu == nil {
		return 0
	}
	var buf [64]byte
	n, _ := m.cpu.ReadAt(buf[:], 0)
	if line, ok := bytes.CutPrefix(buf[:n], []byte("usage_usec ")); ok {
		line, _, _ = bytes.Cut(line, []byte("\n"))
		v, _ := strconv.ParseInt(string(line), 10, 64)
		return v * 1000
	}
	v, _ := strconv.ParseInt(string(bytes.TrimSpace(buf[:n])), 10, 64)
	return v
}

// stop ends it: the peak in bytes, 0 when the host can not tell, and whether the kernel killed for lack of memory.
func (m *meter) stop() (peak int64, oom bool) {
	if m.fresh {
		peak = m.number(m.peak)
	}
	return peak, m.oomKills() > m.kills
}

func (m *meter) oomKills() int64 {
	if m.events == nil {
		return 0
	}
	var buf [512]byte
	n, _ := m.events.ReadAt(buf[:], 0)
	for line := range bytes.Lines(buf[:n]) {
		if value, ok := bytes.CutPrefix(line, []byte("oom_kill ")); ok {
			kills, _ := strconv.ParseInt(string(bytes.TrimSpace(value)), 10, 64)
			return kills
		}
	}
	return 0
}

func (m *meter) close() {
	for _, f := range []*os.File{m.peak, m.events, m.cpu} {
		if f != nil {
			_ = f.Close()
		}
	}
}
