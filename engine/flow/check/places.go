package check

import (
	"github.com/millrace/millrace/engine/flow/format"
)

// place is a place for an expression: who reads, and what is defined there.
type place struct {
	module *format.Module // nil: the flow
	info   *info
	field  string
	pos    format.Pos
	after  bool // the step has run: its own result can be read
	kind   placeKind
}

// placeKind decides on the names that are defined.
type placeKind int

const (
	inputPlace     placeKind = iota // an argument, a timeout, a sleep
	iteratorPlace                   // what a loop goes over
	conditionPlace                  // a condition before or after a step
	skipPlace                       // whether the flow runs at all
)

// Names that are defined in every place of a step.
var everywhere = []string{"flow_input", "flow_env", "results", "previous_result", "resume", "resumes", "approvers", "params",
	"variable", "resource", "flow_user_state"}

// defined are the names of a place.
func (p *place) defined() []string {
	switch p.kind {
	case skipPlace:
		return []string{"flow_input", "flow_env", "variable", "resource"}
	case conditionPlace:
		return append([]string{"result", "all_iters", "error", "iter"}, everywhere...)
	case iteratorPlace:
		return append([]string{"result", "iter"}, everywhere...)
	}
	if p.module != nil && p.module.ID == format.FailureID {
		return append([]string{"error", "started_at", "flow_job_id", "iter"}, everywhere...)
	}
	return append([]string{"iter", "error"}, everywhere...)
}

// walk judges module by module.
func (c *checker) walk() {
	c.flow.Value.Walk(func(m *format.Module, at format.Place) bool {
		if at.Depth > MaxDepth || c.err != nil {
			return false
		}
		i := c.modules[m.ID]
		if i == nil || i.module != m { // a second module of that id: judged by its own place
			i = &info{module: m, at: at}
			if at.Parent != nil {
				i.parent = c.modules[at.Parent.ID]
			}
		}
		c.fields(m)
		c.conditions(i)
		c.body(i)
		c.calls(i)
		return true
	})
	c.reachable(c.flow.Value.Modules)
}

func (c *checker) conditions(i *info) {
	m := i.module
	cond := func(field string, source format.Source, text string, after bool) {
		c.expression(text, &place{module: m, info: i, field: field + ".expr", pos: source.At("expr"), kind: conditionPlace, after: after})
	}
	if s := m.StopAfterIf; s != nil {
		cond("stop_after_if", s.Source, s.Expr, true)
	}
	if s := m.StopAfterAllItersIf; s != nil {
		cond("stop_after_all_iters_if", s.Source, s.Expr, true)
	}
	if s := m.SkipIf; s != nil {
		cond("skip_if", s.Source, s.Expr, false)
	}
	if r := m.Retry; r != nil && r.RetryIf != nil {
		cond("retry.retry_if", r.RetryIf.Source, r.RetryIf.Expr, true)
	}
	c.input(i, "sleep", m.Sleep, true, numbers)
	c.amount(i, "timeout", m.Timeout)
	if m.Suspend != nil {
		c.input(i, "suspend.user_groups_required", m.Suspend.UserGroupsRequired, true, lists)
	}
}

func (c *checker) amount(i *info, field string, a *format.Amount) {
	if a != nil && a.Input != nil {
		c.input(i, field, a.Input, false, numbers)
	}
}

// input judges a value that is computed when the step runs; want is the types that make sense there, nil: any.
func (c *checker) input(i *info, field string, in *format.Input, after bool, want *shape) {
	if in == nil {
		return
	}
	switch in.Type {
	case format.JavaScript:
		p := &place{module: i.module, info: i, field: field + ".expr", pos: in.At("expr"), after: after}
		c.typed(p, c.expression(in.Expr, p), want)
	case format.Static:
		if got := shapeOfValue(in.Value); want.clashes(got) && !reference(in.Value) {
			c.doubtful(i.module, in.At("value"), field+".value", "is "+got.String()+", "+want.String()+" is expected", "")
		}
	case format.AI:
		c.wrong(i.module, in.At("type"), field+".type", "only the tools of an agent have inputs that the agent chooses", "")
	}
}

func (c *checker) body(i *info) {
	m := i.module
	switch b := m.Value.(type) {
	case *format.ForLoop:
		c.iterator(i, b)
		c.amount(i, "value.parallelism", b.Parallelism)
		if b.Parallelism != nil && !b.Parallel {
			c.doubtful(m, b.At("parallelism"), "value.parallelism", "has no effect on a loop that is not parallel", "set parallel")
		}
		if b.Parallel && b.Squash {
			c.doubtful(m, b.At("squash"), "value.squash", "has no effect on a parallel loop", "")
		}
	case *format.WhileLoop:
		if b.Has("parallel") && string(b.Raw("parallel")) == "true" {
			c.doubtful(m, b.At("parallel"), "value.parallel", "has no effect: iterations of a while loop follow each other", "")
		}
		if !stops(m, b) {
			c.doubtful(m, m.Pos(), "value", "nothing in the loop or on it stops it: it ends when an iteration fails, or never",
				"give a step in it a stop_after_if")
		}
	case *format.BranchOne:
		for n, branch := range b.Branches {
			field := "value.branches[" + format.BranchName(n) + "].expr"
			if branch.Expr != "" {
				c.expression(branch.Expr, &place{module: m, info: i, field: field, pos: branch.At("expr"), kind: conditionPlace})
			}
		}
		c.branches(m, b)
	case *format.Agent:
		c.wrong(m, b.At("type"), "value.type", "AI agents do not run in flows yet", "call the model from a script")
	case *format.Decision:
		c.wrong(m, b.At("type"), "value.type", "AI decisions do not run in flows yet", "call the model from a script")
	}
}

func (c *checker) iterator(i *info, b *format.ForLoop) {
	if b.Iterator == nil {
		return
	}
	if b.Iterator.Type == format.JavaScript {
		p := &place{module: i.module, info: i, field: "value.iterator.expr", pos: b.Iterator.At("expr"), kind: iteratorPlace}
		c.typed(p, c.expression(b.Iterator.Expr, p), lists)
		return
	}
	c.input(i, "value.iterator", b.Iterator, false, lists)
}

// stops tells whether something may end a while loop: a stop on the loop, or on a step in it at any depth but in loops of
// their own.
func stops(m *format.Module, b *format.WhileLoop) bool {
	if m.StopAfterIf != nil {
		return true
	}
	var in func(list []*format.Module) bool
	in = func(list []*format.Module) bool {
		for _, inner := range list {
			if inner.StopAfterIf != nil || inner.StopAfterAllItersIf != nil {
				return true
			}
			for _, body := range inner.Bodies() {
				if in(body.List) {
					return true
				}
			}
		}
		return false
	}
	return in(b.Modules)
}
