package workflow

import (
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/engine"
)

const (
	// quiet is how long a process that is to be ended as soon as it waits has asked for nothing then.
	quiet = 100 * time.Millisecond
	// again is how often a workflow that waits for jobs looks after them by itself: a safety net.
	again = time.Minute
)

// turn looks whether the process only waits now. Called with mu held.
func (s *Session) turn() {
	if s.closed || s.suspend || s.process == nil {
		return
	}
	if len(s.waits) == 0 || s.running > 0 {
		s.stay()
		return
	}
	if !s.away {
		s.away = true
		s.process.Waits(true)
		s.others().Add(1)
		if s.claim.Slot != nil {
			s.claim.Slot.Leave()
		}
	}
	s.pauses++
	if s.timer != nil {
		s.timer.Stop()
	}
	pause := s.pauses
	s.timer = time.AfterFunc(s.patience(), func() { s.ended(pause) })
}

// stay takes the place back. Called with mu held.
func (s *Session) stay() {
	if !s.away {
		return
	}
	s.away = false
	s.pauses++
	s.timer.Stop()
	s.process.Waits(false)
	s.others().Add(-1)
	if s.claim.Slot != nil {
		s.claim.Slot.Return()
	}
}

// patience is how long the process is kept. Called with mu held.
func (s *Session) patience() time.Duration {
	patience, kept := s.host.cfg.Patience, s.host.cfg.Kept
	if s.process.Shared() {
		patience, kept = s.host.cfg.SharedPatience, s.host.cfg.SharedKept
	}
	if s.hurry || int(s.others().Load()) > kept {
		return quiet
	}
	first := s.nextDue()
	for _, w := range s.waits {
		if w.due.IsZero() {
			return patience
		}
	}
	if first > patience {
		return quiet // for as long as that it is not kept anyway
	}
	return patience + first
}

// others counts the workflows that wait and cost what this one costs.
func (s *Session) others() *atomic.Int32 {
	if s.process.Shared() {
		return &s.host.parked
	}
	return &s.host.waiting
}

// nextDue is how long it is until something is over by itself, again at most. Called with mu held.
func (s *Session) nextDue() time.Duration {
	least := time.Duration(1<<63 - 1)
	for _, w := range s.waits {
		if !w.due.IsZero() {
			least = min(least, time.Until(w.due))
		}
	}
	return least
}

// ended ends the process, unless something has happened since pause was set.
func (s *Session) ended(pause int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pauses != pause || s.closed || s.err != nil {
		return
	}
	for _, w := range s.waits {
		if w.mark.Kind == "task" && w.mark.Child == nil || w.mark.Kind != "task" && w.timer == nil { // on its way into the database
			s.timer = time.AfterFunc(quiet, func() { s.ended(pause) })
			return
		}
	}
	s.suspend = true
	s.process.Suspend()
}

// suspension is what the workflow waits for. Called with mu held.
func (s *Session) suspension() *engine.Suspension {
	out := &engine.Suspension{Wait: s.nextDue()}
	for _, w := range s.waits {
		if w.mark.Kind == "approval" {
			out.Asks = append(out.Asks, w.mark.N)
		}
		if w.mark.Child != nil {
			out.Wait = min(out.Wait, again)
			out.Awaits = append(out.Awaits, *w.mark.Child)
		}
	}
	out.Wait = max(out.Wait, 0)
	return out
}
