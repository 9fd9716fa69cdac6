package pool

import (
	"time"

	"github.com/millrace/millrace/sandbox"
)

// measureFrom is how long a run must take for its usage to be looked up, which takes longer than the shortest of runs. Of shorter
// ones the duration stands for the processor time.
const (
	measureFrom  = time.Millisecond
	measureEvery = 256 // all the same, for the sake of memory
	shareEvery   = 64  // of workflows
)

// usage is that of the run that has just been answered.
func (s *shift) usage(took time.Duration) sandbox.Usage {
	m, ok := s.proc.(sandbox.Settler)
	if !ok {
		return sandbox.Usage{}
	}
	if took < measureFrom && s.runs%measureEvery != 0 {
		s.used += took
		return sandbox.Usage{CPUUser: took, MemoryPeak: s.peak}
	}
	u := m.UsageNow()
	total := u.CPUUser + u.CPUSystem
	all := u
	u.CPUUser, u.CPUSystem = max(0, total-s.used), 0
	s.used, s.peak = total, u.MemoryPeak
	u = since(u, s.seen)
	s.seen = all
	return u
}

// since takes from what has been counted for all runs of a process what had been before; the largest number of processes is this
// run's if it is larger.
func since(u, before sandbox.Usage) sandbox.Usage {
	u.Throttled = max(0, u.Throttled-before.Throttled)
	u.IORead, u.IOWritten = max(0, u.IORead-before.IORead), max(0, u.IOWritten-before.IOWritten)
	u.OOMKills, u.PidsRefused = max(0, u.OOMKills-before.OOMKills), max(0, u.PidsRefused-before.PidsRefused)
	if u.OOMKills == 0 {
		u.OOM = nil
	}
	if u.PidsPeak <= before.PidsPeak {
		u.PidsPeak = 0
	}
	return u
}

// worn says whether the process should be replaced by a fresh one. line.mu is held.
func (s *shift) worn(u sandbox.Usage) bool {
	c := s.line.d.cfg
	limit := float64(s.line.key.limits.Memory) * c.MemoryShare
	return s.runs >= c.Runs || s.line.used.Sub(s.began) >= c.Age || (limit > 0 && float64(u.MemoryPeak) > limit)
}

// share is what a turn has used: the process's time by the number of turns that ended in it. line.mu is held.
func (s *shift) share() sandbox.Usage {
	if m, ok := s.proc.(sandbox.Settler); ok && s.runs%shareEvery == 0 {
		u := m.UsageNow()
		total := u.CPUUser + u.CPUSystem
		s.each, s.used, s.peak = max(0, total-s.used)/shareEvery, total, u.MemoryPeak
	}
	return sandbox.Usage{CPUUser: s.each, MemoryPeak: s.peak}
}
