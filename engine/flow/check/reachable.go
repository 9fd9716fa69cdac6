package check

import (
	"context"
	"strings"

	"github.com/millrace/millrace/engine/expr"
	"github.com/millrace/millrace/engine/flow/format"
)

// constant tells whether an expression always has the same truth, as a literal has.
func constant(source string) (truth, ok bool) {
	p, err := expr.Compile(source)
	if err != nil || !p.Plain() || len(p.Reads()) > 0 {
		return false, false
	}
	raw, err := expr.New(expr.Config{}).Run(context.Background(), p, expr.Values{})
	return expr.Truthy(raw), err == nil
}

// branches looks for branches that are never taken.
func (c *checker) branches(m *format.Module, b *format.BranchOne) {
	taken := ""
	for n, branch := range b.Branches {
		field := "value.branches[" + format.BranchName(n) + "]"
		if taken != "" {
			c.doubtful(m, branch.Pos(), field, "is never reached: "+taken+" is always taken before", "")
			continue
		}
		truth, ok := constant(branch.Expr)
		switch {
		case strings.TrimSpace(branch.Expr) == "":
			c.doubtful(m, branch.Pos(), field+".expr", "is empty: this branch is never taken", "")
		case ok && truth:
			taken = field
		case ok:
			c.doubtful(m, branch.At("expr"), field+".expr", "is never true: this branch is never taken", "")
		}
	}
	if taken != "" && len(b.Default) > 0 {
		c.doubtful(m, b.At("default"), "value.default", "is never reached: "+taken+" is always taken before", "")
	}
}

// reachable looks for steps behind one that always stops what it is in.
func (c *checker) reachable(list []*format.Module) {
	stopped := ""
	for _, m := range list {
		if stopped != "" {
			c.doubtful(m, m.Pos(), "", "is never reached: "+stopped+" always stops before", "")
			break // the rest has the same reason
		}
		if s := m.StopAfterIf; s != nil {
			switch m.Value.(type) {
			case *format.ForLoop, *format.WhileLoop: // ends the loop, not what comes after it
			default:
				if truth, ok := constant(s.Expr); ok && truth {
					stopped = m.ID
				}
			}
		}
		if b, ok := m.Value.(*format.ForLoop); ok && b.Iterator != nil && b.Iterator.Type == format.Static &&
			strings.TrimSpace(string(b.Iterator.Value)) == "[]" {
			c.doubtful(m, b.Iterator.At("value"), "value.iterator.value", "is empty: the loop never runs", "")
		}
		for _, body := range m.Bodies() {
			c.reachable(body.List)
		}
	}
}
