package flow

import (
	"github.com/google/uuid"

	"github.com/millrace/millrace/engine/flow/format"
)

// Again says where a run takes up what another run did: what ended there before is as if it had ended here.
type Again struct {
	From   uuid.UUID `json:"from"`           // the other run
	Step   string    `json:"step"`           // the first module that runs again
	Item   *int      `json:"item,omitempty"` // of a loop or branches: the first item that runs again; nil: all of them
	Branch *int      `json:"branch,omitempty"`
	Within *Again    `json:"within,omitempty"` // where that item, or the flow of the step, begins
}

// Before are the modules of d that a does not run again. False: d has no such module.
func (a *Again) Before(d *Def) ([]*format.Module, bool) {
	for i, m := range d.Modules {
		if m.ID == a.Step {
			return d.Modules[:i], true
		}
	}
	return nil, false
}

// again is the part of the run's Again that is about the module at work, in its first attempt.
func (s *stepper) again() *Again {
	if a, m := s.run.Again, s.module(); a != nil && m != nil && m.ID == a.Step && s.run.Fails == 0 {
		return a
	}
	return nil
}

// takeUp begins with the module that Again names.
func (s *stepper) takeUp() {
	before, ok := s.run.Again.Before(s.def)
	if !ok {
		s.end(End{Result: Ref{Value: failure("RestartError", "the flow has no step "+s.run.Again.Step, "")}})
		return
	}
	s.run.At = len(before)
	s.enter()
}
