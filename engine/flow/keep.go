package flow

import "github.com/millrace/millrace/engine/flow/format"

// keeps tells whether the result of m, which is no job's, stands for further runs.
func keeps(m *format.Module) bool { return m.CacheTTL > 0 && len(m.Bodies()) > 0 }

// keep has the result of the module at work, which has ended well, stand for further runs, if the module says so.
func (s *stepper) keep(ok bool, result Ref) {
	if m := s.module(); ok && keeps(m) {
		s.do(Keep{Module: m, Result: result, Last: s.run.Last})
	}
}
