package flow

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/millrace/millrace/engine/flow/format"
)

// maxIterations ends a loop that nobody stops.
const maxIterations = 1_000_000

// work does what the module at At is for.
func (s *stepper) work() {
	m := s.module()
	s.run.Phase, s.run.Items, s.list = Running, nil, nil
	if m.Mock != nil && m.Mock.Enabled {
		s.complete(true, Ref{Value: orNull(m.Mock.ReturnValue)})
		return
	}
	if keeps(m) {
		if v, ok := s.eval.Kept(m, s.look("cache_ttl")); ok {
			s.complete(true, Ref{Value: v})
			return
		}
	}
	if !s.limit(m) {
		return
	}
	switch b := m.Value.(type) {
	case *format.Identity:
		s.complete(true, s.run.Last)
	case *format.RawScript, *format.Script, *format.SubFlow:
		e := Start{Module: m, Step: m}
		if a := s.again(); a != nil {
			e.Again = a.Within
		}
		s.start(e)
	case *format.ForLoop:
		s.forLoop(b)
	case *format.WhileLoop:
		s.items(&Items{Len: -1, Wide: 1})
	case *format.BranchOne:
		s.branchOne(b)
	case *format.BranchAll:
		wide := 1
		if b.Parallel() {
			wide = max(len(b.Branches), 1)
		}
		s.items(&Items{Len: len(b.Branches), Wide: wide})
	default:
		s.complete(false, Ref{Value: failure("NotSupported", "modules of the kind "+m.Value.Kind()+" cannot be run", m.ID)})
	}
}

// start evaluates what a job, or the flow of a step, is given, and starts it.
func (s *stepper) start(e Start) {
	e.Attempt = s.run.Fails
	inputs := e.Step.Inputs()
	e.Args = make(map[string]json.RawMessage, len(inputs))
	l := s.look("")
	l.Module, l.Iter, l.Params = e.Step, e.Iter, e.Args
	for _, name := range inOrder(inputs) {
		in := inputs[name]
		l.Field = "input_transforms." + name
		v, err := s.eval.Value(in, l)
		if err != nil {
			s.itemBroken(e.Item, Ref{Value: failure("ExpressionError", l.Field+": "+err.Error(), e.Step.ID)})
			return
		}
		e.Args[name] = v
	}
	if s.run.At == AtPreprocessor && len(inputs) == 0 { // it is called with what the trigger sent
		if err := s.wholeInput(&e, l); err != nil {
			s.complete(false, s.broken("input_transforms", err))
			return
		}
	}
	if e.Step.Timeout != nil {
		l.Field = "timeout"
		d, err := s.amount(e.Step.Timeout, l)
		if err != nil {
			s.itemBroken(e.Item, Ref{Value: failure("ExpressionError", "timeout: "+err.Error(), e.Step.ID)})
			return
		}
		e.Timeout = seconds(d)
	}
	s.do(e)
}

// inOrder are the names of inputs in the order in which they are computed: those that are written come first.
func inOrder(inputs format.Inputs) []string {
	names := slices.Sorted(maps.Keys(inputs))
	slices.SortStableFunc(names, func(a, b string) int {
		return computed(inputs[a]) - computed(inputs[b])
	})
	return names
}

func computed(in *format.Input) int {
	if in.Type == format.JavaScript {
		return 1
	}
	return 0
}

// itemBroken is a step that failed before it could be started.
func (s *stepper) itemBroken(item int, result Ref) {
	if s.run.Items == nil {
		s.complete(false, result)
		return
	}
	s.do(RecordItem{Module: s.module(), Item: item, Result: result})
	s.ended(Ended{Item: item, Result: result})
}

func (s *stepper) forLoop(b *format.ForLoop) {
	list, err := s.eval.Value(b.Iterator, s.look("iterator"))
	if err != nil {
		s.complete(false, s.broken("iterator", err))
		return
	}
	items, err := elements(list)
	if err != nil {
		s.complete(false, s.broken("iterator", err))
		return
	}
	n := len(items)
	wide := 1
	if b.Parallel {
		wide = max(n, 1)
		if b.Parallelism != nil {
			f, err := s.amount(b.Parallelism, s.look("parallelism"))
			if err != nil || f < 1 {
				s.complete(false, s.broken("parallelism", errors.Join(err, errors.New("it must be a number from 1 on"))))
				return
			}
			wide = min(int(math.Min(f, math.MaxInt32)), wide)
		}
	}
	s.do(List{Module: s.module(), Values: list})
	s.list = items
	s.items(&Items{Len: n, Wide: wide})
}

// branchOne chooses the first branch that holds.
func (s *stepper) branchOne(b *format.BranchOne) {
	chosen, modules := -1, b.Default
	again := s.again()
	for i, branch := range b.Branches {
		if again != nil && again.Branch != nil { // what is within is taken up, so it is the same
			if i == *again.Branch {
				chosen, modules = i, branch.Modules
			}
			continue
		}
		if branch.Expr == "" {
			continue
		}
		field := fmt.Sprintf("branches[%d].expr", i)
		yes, err := s.eval.True(branch.Expr, s.look(field))
		if err != nil {
			s.complete(false, s.broken(field, err))
			return
		}
		if yes {
			chosen, modules = i, branch.Modules
			break
		}
	}
	s.do(Chosen{Module: s.module(), Branch: chosen})
	if len(modules) == 0 { // nothing to do leaves the result as it is
		s.complete(true, s.run.Last)
		return
	}
	s.items(&Items{Len: 1, Wide: 1, Branch: chosen})
}

// items starts the items of the module at work.
func (s *stepper) items(items *Items) {
	s.run.Items = items
	if items.Len == 0 {
		s.complete(true, Ref{Value: json.RawMessage("[]")})
		return
	}
	if a := s.again(); a != nil && a.Item != nil {
		items.Next = *a.Item
		if items.Len >= 0 {
			items.Next = min(items.Next, items.Len)
		}
		s.do(Reuse{Module: s.module(), From: *a, Items: items.Next})
	}
	s.more()
}

// more starts items while there are some and there is room for them, and ends the module when there are none and none runs. An
// item that ends within its start comes back here, and is left to the call that started it: a million of them must not nest.
func (s *stepper) more() {
	if s.filling {
		return
	}
	s.filling = true
	it := s.run.Items
	wide := min(it.Wide, window(s.module()))
	s.run.Until = time.Time{}
	for s.run.Items == it && !it.over() && it.Running < wide {
		if s.started == mostStarts { // the others are started by further events, the first of which is due now
			s.run.Until = s.eval.Now()
			s.do(Wait{Until: s.run.Until})
			break
		}
		s.started++
		if it.Next >= maxIterations {
			it.Stop, it.Failed = true, true
			it.Error = failure("TooManyIterations", fmt.Sprintf("the loop was not stopped within %d iterations", maxIterations), s.module().ID)
			break
		}
		n := it.Next
		it.Next++
		it.Running++
		s.item(n)
	}
	s.filling = false
	if s.run.Items == it && it.Running == 0 && it.over() {
		s.itemsOver()
	}
}

// over tells whether no more items are to be started.
func (it *Items) over() bool { return it.Stop || (it.Len >= 0 && it.Next >= it.Len) }

// item starts the n-th item.
func (s *stepper) item(n int) {
	m := s.module()
	e := Start{Module: m, Item: n}
	if a := s.again(); a != nil && (a.Item == nil && n == 0 || a.Item != nil && *a.Item == n) {
		e.Again = a.Within
	}
	switch b := m.Value.(type) {
	case *format.ForLoop:
		e.Modules, e.Place, e.Iter = b.Modules, "loop", &Iter{Index: n}
	case *format.WhileLoop:
		e.Modules, e.Place, e.Iter = b.Modules, "loop", &Iter{Index: n, Value: fmt.Appendf(nil, "%d", n)}
	case *format.BranchOne:
		e.Modules, e.Place = b.Default, format.BranchName(-1)
		if i := s.run.Items.Branch; i >= 0 {
			e.Modules, e.Place = b.Branches[i].Modules, format.BranchName(i)
		}
	case *format.BranchAll:
		e.Modules, e.Place = b.Branches[n].Modules, format.BranchName(n)
	}
	if len(e.Modules) == 0 { // nothing to do: the result is what came before
		s.do(RecordItem{Module: m, Item: n, OK: true, Result: s.run.Last})
		s.ended(Ended{Item: n, OK: true, Result: s.run.Last})
		return
	}
	if _, loop := m.Value.(*format.ForLoop); loop {
		var err error
		if s.list != nil { // it is stored with the effects of this very step
			e.Iter.Value = s.list[n]
		} else if e.Iter.Value, err = s.eval.Item(m, n); err != nil {
			s.itemBroken(n, s.broken("iterator", err))
			return
		}
	}
	if only := e.Modules[0]; len(e.Modules) == 1 && plain(only) { // the job is the item; no run around it
		e.Step, e.Modules = only, nil
		s.start(e)
		return
	}
	s.do(e)
}

// plain tells whether a module is one job and nothing else, so that an item that consists of it needs no run of its own.
func plain(m *format.Module) bool {
	switch m.Value.(type) {
	case *format.RawScript, *format.Script:
	default:
		return false
	}
	return m.SkipIf == nil && m.StopAfterIf == nil && m.Retry == nil && m.Mock == nil && m.Suspend == nil && m.Sleep == nil &&
		!m.ContinueOnError && m.Debouncing == nil && m.CacheTTL == 0
}

func loops(m *format.Module) bool {
	switch m.Value.(type) {
	case *format.ForLoop, *format.WhileLoop:
		return true
	}
	return false
}

// ended is the end of the module's job or of one of its items.
func (s *stepper) ended(e Ended) {
	m, it := s.module(), s.run.Items
	if e.Replaced && it == nil && s.run.At != AtFailure {
		s.do(Record{Module: m, OK: true, Skipped: true})
		s.end(End{OK: true, Stopped: true, Skipped: true, Result: e.Result})
		return
	}
	if e.Replaced {
		e.OK = true
	}
	if it == nil {
		s.final = e.Final
		s.complete(e.OK, e.Result)
		return
	}
	it.Running--
	if _, one := m.Value.(*format.BranchOne); one {
		s.branchOneOver(e)
		return
	}
	if !e.OK && !skips(m, e.Item) {
		it.Failed, it.Stop = true, true
	}
	if e.Stopped && loops(m) {
		it.Stop = true
	}
	if e.OK && !it.Stop && loops(m) && m.StopAfterIf != nil {
		l := s.look("stop_after_if")
		l.Result, l.Iter = &e.Result, s.iteration(m, e.Item)
		stop, err := s.eval.True(m.StopAfterIf.Expr, l)
		switch {
		case err != nil:
			it.Stop, it.Failed, it.Error = true, true, s.broken("stop_after_if", err).Value
		case stop:
			it.Stop = true
			if m.StopAfterIf.ErrorMessage != nil {
				it.Failed, it.Error = true, stopped(m.StopAfterIf, m, e.Result)
			}
		}
	}
	s.more()
}

// iteration is what flow_input.iter was in an iteration that has ended.
func (s *stepper) iteration(m *format.Module, n int) *Iter {
	it := &Iter{Index: n, Value: fmt.Appendf(nil, "%d", n)}
	if _, list := m.Value.(*format.ForLoop); !list {
		return it
	}
	if s.list != nil {
		it.Value = s.list[n]
	} else if v, err := s.eval.Item(m, n); err == nil {
		it.Value = v
	}
	return it
}

// branchOneOver: the module's result is that of the chosen branch, and so is its early end.
func (s *stepper) branchOneOver(e Ended) {
	if failed := s.run.Items.Error; failed != nil {
		s.complete(false, Ref{Value: failed})
		return
	}
	s.keep(e.OK && !e.Stopped, e.Result)
	if e.OK && e.Stopped {
		s.do(Record{Module: s.module(), OK: true, Result: e.Result})
		s.end(End{OK: true, Stopped: true, Result: e.Result})
		return
	}
	s.complete(e.OK, e.Result)
}

func (s *stepper) itemsOver() {
	it, m := s.run.Items, s.module()
	result := Ref{Items: m.ID}
	if it.Error != nil {
		result = Ref{Value: it.Error}
	}
	s.keep(!it.Failed, result)
	s.complete(!it.Failed, result)
}

// skips tells whether the failure of an item is its result and nothing more.
func skips(m *format.Module, item int) bool {
	switch b := m.Value.(type) {
	case *format.ForLoop:
		return b.SkipFailures()
	case *format.WhileLoop:
		return b.SkipFailures
	case *format.BranchAll:
		return b.Branches[item].SkipFailure()
	}
	return false
}
