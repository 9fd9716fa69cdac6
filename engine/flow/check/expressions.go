package check

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/millrace/millrace/engine/expr"
	"github.com/millrace/millrace/engine/flow/format"
	"github.com/millrace/millrace/engine/near"
)

// expression judges an expression by its text; nil when it is none.
func (c *checker) expression(source string, p *place) *expr.Program {
	program, ok := c.programs[source]
	if !ok {
		var err error
		if program, err = expr.Compile(source); err != nil {
			var bad *expr.Error
			if !errors.As(err, &bad) {
				bad = &expr.Error{Msg: err.Error()}
			}
			msg := "is not an expression: " + bad.Msg
			if bad.Pos.Line > 0 {
				msg += fmt.Sprintf(", in its line %d, column %d", bad.Pos.Line, bad.Pos.Column)
			}
			c.wrong(p.module, p.pos, p.field, msg, "")
			return nil
		}
		c.programs[source] = program
	}
	for _, u := range program.Unknown() {
		c.doubtful(p.module, p.pos, p.field, "nothing is called "+u.Name, nearest(u.Name, expr.Names()))
	}
	for _, r := range program.Reads() {
		c.read(p, r, p.pos)
	}
	return program
}

// read judges one thing that an expression reads.
func (c *checker) read(p *place, r expr.Read, at format.Pos) {
	if !slices.Contains(p.defined(), r.Name) {
		c.doubtful(p.module, at, p.field, r.Name+" is not defined here", "defined are "+strings.Join(p.defined(), ", "))
		return
	}
	if len(r.Path) == 0 {
		return
	}
	name := r.Path[0]
	switch r.Name {
	case expr.Results:
		c.step(p, name, at)
	case "flow_input":
		c.flowInput(p, name, at)
	case "flow_env":
		if _, ok := c.flow.Value.FlowEnv[name]; !ok {
			c.doubtful(p.module, at, p.field, fmt.Sprintf("flow_env has no %q", name), nearest(name, keys(c.flow.Value.FlowEnv)))
		}
	}
}

// step judges results.<id>.
func (c *checker) step(p *place, id string, at format.Pos) {
	if p.module != nil && p.module == c.flow.Value.PreprocessorModule {
		c.wrong(p.module, at, p.field, "the preprocessor runs before all steps: there are no results", "read flow_input")
		return
	}
	other := c.modules[id]
	if other == nil {
		c.wrong(p.module, at, p.field, fmt.Sprintf("there is no step %q", id), nearest(id, keys(c.modules)))
		return
	}
	if p.module != nil && p.module == c.flow.Value.FailureModule {
		if other.at.Parent != nil {
			c.wrong(p.module, at, p.field, fmt.Sprintf("the result of %q is seen only inside of %q", id, other.at.Parent.ID),
				"read results."+other.at.Parent.ID)
		}
		return // which steps ran before the failure is not known
	}
	if other.module == c.flow.Value.PreprocessorModule || other.module == c.flow.Value.FailureModule {
		c.wrong(p.module, at, p.field, fmt.Sprintf("%q has no result that steps can read", id), "")
		return
	}
	switch c.relationOf(p.info, other) {
	case itself:
		if !p.after && !p.info.inLoop() {
			c.wrong(p.module, at, p.field, fmt.Sprintf("%q reads its own result before it has one", id), "")
		}
	case later:
		if !other.inLoop() { // in a loop it may have one from the iteration before
			c.wrong(p.module, at, p.field, fmt.Sprintf("the step %q comes later: it has no result yet", id), "move it before this step")
		}
	case elsewhere:
		c.wrong(p.module, at, p.field, fmt.Sprintf("the result of %q is seen only inside of %q", id, other.at.Parent.ID),
			"read the result of the loop or branch as a whole")
	case reached:
	}
}

func (c *checker) flowInput(p *place, name string, at format.Pos) {
	if name == "iter" {
		loop := p.info.inLoop()
		if p.info != nil && p.after {
			switch p.info.module.Value.(type) {
			case *format.ForLoop, *format.WhileLoop:
				loop = true
			}
		}
		if !loop {
			c.doubtful(p.module, at, p.field, "flow_input.iter is given inside of loops only", "")
		}
		return
	}
	if c.inputs == nil || c.inputs.properties == nil || c.flow.Value.PreprocessorModule != nil && p.module == c.flow.Value.PreprocessorModule {
		return
	}
	if _, ok := c.inputs.properties[name]; !ok {
		c.doubtful(p.module, at, p.field, fmt.Sprintf("the flow's schema has no input %q", name), nearest(name, keys(c.inputs.properties)))
	}
}

func keys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// nearest is a hint to the name that was probably meant; "" when none is near.
func nearest(name string, all []string) string {
	const most = 500 // names that are compared
	best, distance := "", min(max(len(name)/3, 1)+1, len(name))
	if len(all) > most {
		return ""
	}
	for _, other := range all {
		if d := near.Distance(strings.ToLower(name), strings.ToLower(other), distance-1); d < distance {
			best, distance = other, d
		}
	}
	if best == "" {
		return ""
	}
	return "did you mean " + best + "?"
}
