package flow

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/millrace/millrace/engine/flow/format"
)

// Step tells what e means for a run of d in state r. An event that the state does not wait for changes nothing: it is late, or came
// twice. Failures of expressions are failures of their module, so there is no error to return.
func Step(d *Def, r Run, e Event, x Eval) (Run, []Effect) {
	s := &stepper{def: d, run: r, eval: x}
	if r.Items != nil { // the caller's state stays as it is
		items := *r.Items
		s.run.Items = &items
	}
	switch e := e.(type) {
	case Begin:
		if r.Phase == Ready {
			s.begin()
		}
	case Ended:
		if r.Phase == Running {
			s.ended(e)
		}
	case Due:
		s.due()
	case Vote:
		if r.Phase == Waiting {
			s.vote(e)
		}
	case Canceled:
		s.canceled(e)
	}
	return s.run, s.effects
}

// stepper is one call of Step.
type stepper struct {
	def      *Def
	run      Run
	eval     Eval
	effects  []Effect
	recorded map[string]Ref    // by this call
	final    bool              // the attempt that has ended is the last
	filling  bool              // more is at work
	started  int               // items, by this call
	list     []json.RawMessage // that the loop at work runs over, when it was begun by this call
}

func (s *stepper) do(e Effect) {
	if r, ok := e.(Record); ok {
		if s.recorded == nil {
			s.recorded = map[string]Ref{}
		}
		s.recorded[r.Module.ID] = r.Result
	}
	s.effects = append(s.effects, e)
}

func (s *stepper) module() *format.Module { return s.def.module(s.run.At) }

func (s *stepper) look(field string) Look {
	return Look{Run: s.run, Module: s.module(), Field: field, Recorded: s.recorded}
}

func (s *stepper) begin() {
	if s.run.Again != nil {
		s.takeUp()
		return
	}
	s.run.Last = Ref{Args: true}
	if s.def.Timeout > 0 {
		s.run.Deadline = s.eval.Now().Add(s.def.Timeout)
		s.do(Wait{Until: s.run.Deadline})
	}
	if s.def.SkipExpr != "" {
		skip, err := s.eval.True(s.def.SkipExpr, Look{Run: s.run, Field: "skip_expr"})
		if err != nil {
			s.end(End{Result: Ref{Value: failure("ExpressionError", "skip_expr: "+err.Error(), "")}})
			return
		}
		if skip {
			s.end(End{OK: true, Skipped: true})
			return
		}
	}
	if s.def.Preprocessor != nil {
		s.run.At = AtPreprocessor
		s.work()
		return
	}
	s.run.At = 0
	s.enter()
}

// enter begins modules from the one at At on, until one of them takes time.
func (s *stepper) enter() {
	for s.run.Phase != Over {
		m := s.module()
		if m == nil {
			s.end(End{OK: true, Result: s.run.Last})
			return
		}
		s.run.Fails, s.run.Votes, s.run.Items, s.run.Phase, s.run.Until, s.run.Limit = 0, 0, nil, Running, time.Time{}, time.Time{}
		if m.SkipIf != nil {
			skip, err := s.eval.True(m.SkipIf.Expr, s.look("skip_if"))
			if err != nil {
				s.complete(false, s.broken("skip_if", err))
				return
			}
			if skip { // what was asked of the module, its approval too, is skipped with it
				s.do(Record{Module: m, OK: true, Skipped: true})
				s.run.At++
				continue
			}
		}
		s.work()
		return
	}
}

// next goes on behind the module at work.
func (s *stepper) next() {
	if m := s.module(); m != nil && m.ID != s.run.Gate {
		s.run.Gate = ""
	}
	s.run.Groups = nil
	if s.run.At == AtPreprocessor {
		s.run.At = 0
	} else {
		s.run.At++
	}
	s.enter()
}

// complete is the end of the module's work, or of an attempt at it.
func (s *stepper) complete(ok bool, result Ref) {
	m, final := s.module(), s.final
	s.run.Items, s.run.Limit, s.final = nil, time.Time{}, false
	if !ok && !final && s.retry(m, result) {
		return
	}
	if s.run.At == AtFailure {
		s.do(Record{Module: m, OK: ok, Result: result})
		s.end(End{OK: ok && s.recovers(result), Result: result})
		return
	}
	if s.run.At == AtPreprocessor {
		if !ok {
			s.fail(m, result)
			return
		}
		s.do(Record{Module: m, OK: true, Result: result})
		s.run.Last = Ref{Args: true}
		s.next()
		return
	}
	if !ok && !m.ContinueOnError {
		s.fail(m, result)
		return
	}
	s.do(Record{Module: m, OK: ok, Result: result})
	s.run.Last = result
	s.answer(m, result)
	if s.stops(m, result) {
		return
	}
	s.gate(m)
}

// answer gives who waits for the flow a result while it goes on, when the time for it has come: once.
func (s *stepper) answer(m *format.Module, result Ref) {
	if s.def.EarlyReturn == "" || s.run.Answer != nil {
		return
	}
	if s.def.EarlyReturn != m.ID {
		if s.def.has(s.def.EarlyReturn) {
			return
		}
		l := s.look("early_return")
		l.Result = &result
		v, err := s.eval.Value(format.Expression(s.def.EarlyReturn), l)
		if err != nil || len(v) == 0 || string(v) == "null" { // not yet; what it reads may come
			return
		}
		result = Ref{Value: v}
	}
	s.run.Answer = &result
	s.do(Answer{Result: result})
}

// recovers tells whether the failure module says that the flow is well after all: {"recover": true}.
func (s *stepper) recovers(result Ref) bool {
	l := s.look("recover")
	l.Result = &result
	ok, err := s.eval.True("result && result.recover === true", l)
	return err == nil && ok
}

// retry starts another attempt, now or later; false: there is none.
func (s *stepper) retry(m *format.Module, result Ref) bool {
	s.run.Fails++
	wait, again := m.Retry.Next(s.run.Fails, s.eval.Random())
	if !again {
		return false
	}
	if m.Retry.RetryIf != nil {
		l := s.look("retry.retry_if")
		l.Result = &result
		if yes, err := s.eval.True(m.Retry.RetryIf.Expr, l); err != nil || !yes {
			return false
		}
	}
	if wait <= 0 {
		s.work()
		return true
	}
	s.run.Phase, s.run.Until = Retrying, s.eval.Now().Add(wait)
	s.do(Wait{Until: s.run.Until})
	return true
}

// fail is a failure that nothing at the module has handled.
func (s *stepper) fail(m *format.Module, result Ref) {
	s.do(Record{Module: m, Result: result})
	if s.def.Failure == nil {
		s.end(End{Result: result})
		return
	}
	s.run.Failed, s.run.FailedAt = &result, m.ID
	s.run.At, s.run.Fails, s.run.Phase, s.run.Items, s.run.Last = AtFailure, 0, Running, nil, result
	s.work()
}

// stops ends the run when the module's stop_after_if says so; of a loop that was looked at after each iteration.
func (s *stepper) stops(m *format.Module, result Ref) bool {
	stop, field, all := m.StopAfterIf, "stop_after_if", false
	if loops(m) {
		stop = nil
	}
	if stop == nil && m.StopAfterAllItersIf != nil {
		stop, field, all = m.StopAfterAllItersIf, "stop_after_all_iters_if", true
	}
	if stop == nil {
		return false
	}
	l := s.look(field)
	l.Result, l.All = &result, all
	yes, err := s.eval.True(stop.Expr, l)
	if err != nil {
		s.fail(m, s.broken(field, err))
		return true
	}
	if !yes {
		return false
	}
	if stop.ErrorMessage != nil {
		s.fail(m, Ref{Value: stopped(stop, m, result)})
		return true
	}
	s.end(End{OK: true, Stopped: true, Skipped: stop.SkipIfStopped, Result: result})
	return true
}

// gate waits for approvals, where the module asks for some, before what comes next.
func (s *stepper) gate(m *format.Module) {
	if !m.Suspend.Gate() {
		s.sleep(m)
		return
	}
	var groups json.RawMessage
	if m.Suspend.UserGroupsRequired != nil {
		v, err := s.eval.Value(m.Suspend.UserGroupsRequired, s.look("suspend.user_groups_required"))
		if err != nil {
			s.fail(m, s.broken("suspend.user_groups_required", err))
			return
		}
		groups = v
	}
	patience := m.Suspend.Timeout
	if patience <= 0 {
		patience = format.DefaultSuspend
	}
	s.run.Phase, s.run.Votes, s.run.Gate, s.run.Groups = Waiting, 0, m.ID, groups
	s.run.Until = s.eval.Now().Add(time.Duration(patience) * time.Second)
	s.do(Gate{Module: m, Until: s.run.Until})
	s.do(Wait{Until: s.run.Until})
}

func (s *stepper) vote(v Vote) {
	m := s.module()
	if v.Approved && v.N <= s.run.Votes {
		return
	}
	if !v.Approved {
		s.refused(m, "SuspendDisapproved", "disapproved by "+v.By)
		return
	}
	if s.run.Votes++; s.run.Votes < m.Suspend.RequiredEvents {
		return
	}
	s.sleep(m)
}

// refused is the end of a gate without enough approvals.
func (s *stepper) refused(m *format.Module, name, message string) {
	why := Ref{Value: failure(name, message, m.ID)}
	if m.Suspend.ContinueOnDisapproveTimeout {
		s.run.Last = why
		s.sleep(m)
		return
	}
	s.fail(m, why)
}

// sleep waits where the module asks for it, and goes on.
func (s *stepper) sleep(m *format.Module) {
	if m.Sleep != nil {
		seconds, err := s.seconds(m.Sleep, "sleep")
		if err != nil {
			s.fail(m, s.broken("sleep", err))
			return
		}
		if seconds > 0 {
			s.run.Phase, s.run.Until = Sleeping, s.eval.Now().Add(seconds)
			s.do(Wait{Until: s.run.Until})
			return
		}
	}
	s.next()
}

// due goes on after a wait.
func (s *stepper) due() {
	if d := s.run.Deadline; s.run.Phase != Over && !d.IsZero() && !s.eval.Now().Before(d) {
		if m := s.module(); m != nil && s.run.Phase == Running {
			s.do(Stop{Module: m})
		}
		s.end(End{Result: Ref{Value: failure("Timeout", fmt.Sprintf("the flow ran longer than %s", s.def.Timeout), "")}})
		return
	}
	if l := s.run.Limit; s.run.Phase == Running && s.run.Items != nil && !l.IsZero() && !s.eval.Now().Before(l) {
		s.overtime()
		return
	}
	if s.run.Until.IsZero() || s.eval.Now().Before(s.run.Until) {
		return
	}
	m := s.module()
	phase := s.run.Phase
	s.run.Until = time.Time{}
	switch phase {
	case Ready: // whoever carries out the effects had put its begin off
		s.begin()
	case Running:
		if s.run.Items != nil {
			s.more()
		}
	case Retrying:
		s.run.Phase = Running
		s.work()
	case Sleeping:
		s.next()
	case Waiting:
		s.refused(m, "SuspendTimeout", fmt.Sprintf("%d of %d approvals came in time", s.run.Votes, m.Suspend.RequiredEvents))
	}
}

func (s *stepper) canceled(c Canceled) {
	if s.run.Phase == Over {
		return
	}
	if m := s.module(); m != nil && s.run.Phase == Running {
		s.do(Stop{Module: m})
	}
	message := "canceled by " + c.By
	if c.Reason != "" {
		message += ": " + c.Reason
	}
	s.end(End{Canceled: true, Result: Ref{Value: failure("Canceled", message, "")}})
}

func (s *stepper) end(e End) {
	s.run.Phase, s.run.Until, s.run.Deadline, s.run.Limit, s.run.Items = Over, time.Time{}, time.Time{}, time.Time{}, nil
	s.do(e)
}
