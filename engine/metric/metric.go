// Package metric counts what the daemon does, in the Prometheus text format. Names follow Prometheus conventions: base units
// (seconds, bytes), _total for counters.
package metric

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/millrace/millrace/engine"
)

// Set is one daemon's metrics.
type Set struct {
	set   *metrics.Set
	start *metrics.Histogram
	ends  sync.Map     // of end: *counted
	last  atomic.Int64 // when Finished was last called, in nanoseconds since 1970
}

// end is a kind of ends of jobs, and counted what is known of it.
type end struct {
	language string
	state    engine.JobState
}

type counted struct {
	total *metrics.Counter
	took  *metrics.Histogram
}

// Gauges are read when metrics are scraped.
type Gauges struct {
	Slots, FreeSlots        func() int
	OpenSandboxes, WarmOnes func() int
	Queued                  func() float64
	CachesWarm              func() bool
}

// New returns an empty set that reads g.
func New(version string, g Gauges) *Set {
	s := &Set{set: metrics.NewSet()}
	s.set.NewGauge(fmt.Sprintf("millrace_build_info{version=%q}", version), func() float64 { return 1 })
	for name, read := range map[string]func() int{
		"millrace_slots": g.Slots, "millrace_slots_free": g.FreeSlots,
		"millrace_sandboxes_open": g.OpenSandboxes, "millrace_sandboxes_warm": g.WarmOnes,
	} {
		s.set.NewGauge(name, func() float64 { return float64(read()) })
	}
	s.set.NewGauge("millrace_jobs_queued", g.Queued)
	s.set.NewGauge("millrace_caches_warm", func() float64 {
		if g.CachesWarm() {
			return 1
		}
		return 0
	})
	s.start = s.set.NewHistogram("millrace_job_start_seconds")
	return s
}

// Finished counts a completed attempt.
func (s *Set) Finished(c *engine.Claim, o *engine.Outcome) {
	now := time.Now()
	s.last.Store(now.UnixNano())
	language := c.Job.Language
	if language == "" {
		language = string(c.Job.Kind)
	}
	known := s.counted(end{language, o.State})
	known.total.Inc()
	known.took.Update(now.Sub(c.Started).Seconds())
	if d := c.Started.Sub(c.Job.CreatedAt); d >= 0 && c.Job.ScheduledFor.IsZero() {
		s.start.Update(d.Seconds())
	}
}

// LastEnd is when the last attempt was completed; long ago if there was none.
func (s *Set) LastEnd() time.Time { return time.Unix(0, s.last.Load()) }

// counted finds what is counted of e; names take longer to make than to count.
func (s *Set) counted(e end) *counted {
	if known, ok := s.ends.Load(e); ok {
		return known.(*counted)
	}
	made := &counted{
		total: s.set.GetOrCreateCounter(fmt.Sprintf("millrace_jobs_total{language=%q,state=%q}", e.language, e.state)),
		took:  s.set.GetOrCreateHistogram(fmt.Sprintf("millrace_job_run_seconds{language=%q}", e.language)),
	}
	s.ends.Store(e, made)
	return made
}

// Write writes the daemon's and the Go process's metrics.
func (s *Set) Write(w io.Writer) {
	s.set.WritePrometheus(w)
	metrics.WriteProcessMetrics(w)
}
