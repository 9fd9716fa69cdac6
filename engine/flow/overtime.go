package flow

import (
	"fmt"
	"time"

	"github.com/millrace/millrace/engine/flow/format"
)

// stopAgain is after which time items that were told to stop, and have not ended, are told once more: whoever was to tell them may
// have died.
const stopAgain = 10 * time.Second

// limit notes when the module at work, a loop or branches, has run for too long. False: it has failed.
func (s *stepper) limit(m *format.Module) bool {
	s.run.Limit = time.Time{}
	if m.Timeout == nil || len(m.Bodies()) == 0 {
		return true
	}
	f, err := s.amount(m.Timeout, s.look("timeout"))
	if err != nil {
		s.complete(false, s.broken("timeout", err))
		return false
	}
	if f > 0 {
		s.run.Limit = s.eval.Now().Add(seconds(f))
		s.do(Wait{Until: s.run.Limit})
	}
	return true
}

// overtime ends a loop or branches that have run for too long: what is at work is stopped, and when it has ended the module has failed.
func (s *stepper) overtime() {
	m, it := s.module(), s.run.Items
	if it.Error == nil {
		it.Error = failure("Timeout", fmt.Sprintf("step %s ran longer than its timeout", m.ID), m.ID)
	}
	it.Stop, it.Failed = true, true
	s.run.Until, s.run.Limit = time.Time{}, s.eval.Now().Add(stopAgain)
	s.do(Stop{Module: m})
	s.do(Wait{Until: s.run.Limit})
}
