package slot

import (
	"bytes"
	"os"
	"strconv"
)

// meter reads the files of a slot's control group that tell about memory. Versions 1 and 2 have them in the same form: a number,
// and lines of which one is "oom_kill N". Either file may be nil.
type meter struct {
	peak, events *os.File
	kills        int64 // before the process that runs now
	fresh        bool  // the peak was reset for it
}

// start begins a measurement.
func (m *meter) start() {
	m.fresh = false
	if m.peak != nil {
		_, err := m.peak.WriteAt([]byte("0\n"), 0)
		m.fresh = err == nil // an old kernel's file can not be reset, and would tell of the slot's whole life
	}
	m.kills = m.oomKills()
}

// stop ends it: the peak in bytes, 0 when the host can not tell, and whether the kernel killed for lack of memory.
func (m *meter) stop() (peak int64, oom bool) {
	if m.fresh {
		var buf [32]byte
		n, _ := m.peak.ReadAt(buf[:], 0)
		peak, _ = strconv.ParseInt(string(bytes.TrimSpace(buf[:n])), 10, 64)
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
	for _, f := range []*os.File{m.peak, m.events} {
		if f != nil {
			_ = f.Close()
		}
	}
}
