package check

import (
	"fmt"
	"regexp"

	"github.com/millrace/millrace/engine/flow/format"
)

var idPattern = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,100}$`)

// collect finds all modules, and whether their ids are usable.
func (c *checker) collect() {
	count := 0
	c.flow.Value.Walk(func(m *format.Module, at format.Place) bool {
		if count++; count > MaxModules {
			if !c.tooLarge {
				c.wrong(m, m.Pos(), "", fmt.Sprintf("is one of more than %d modules", MaxModules), "use a loop, or flows that run flows")
			}
			c.tooLarge = true
			return false
		}
		if at.Depth > MaxDepth {
			c.wrong(m, m.Pos(), "", fmt.Sprintf("lies in more than %d loops and branches", MaxDepth), "move inner steps to a flow of their own")
			return false
		}
		c.id(m)
		i := &info{module: m, at: at}
		if at.Parent != nil {
			i.parent = c.modules[at.Parent.ID]
		}
		if first := c.modules[m.ID]; first == nil {
			c.modules[m.ID] = i
		} else if m.ID != "" {
			c.wrong(m, m.At("id"), "id", "is the id of another module, too"+on(first.module.Pos()), "ids are unique in a flow")
		}
		return true
	})
	c.special(c.flow.Value.FailureModule, format.FailureID, "failure_module")
	c.special(c.flow.Value.PreprocessorModule, format.PreprocessorID, "preprocessor_module")
}

func on(p format.Pos) string {
	if p.Line == 0 {
		return ""
	}
	return fmt.Sprintf(" (line %d)", p.Line)
}

func (c *checker) id(m *format.Module) {
	v := &c.flow.Value
	switch {
	case m.ID == "":
		c.wrong(m, m.Pos(), "id", "is missing", "")
	case m == v.FailureModule || m == v.PreprocessorModule: // see special
	case format.IsReserved(m.ID):
		c.wrong(m, m.At("id"), "id", fmt.Sprintf("%q has a meaning of its own", m.ID), "use another id")
	case !idPattern.MatchString(m.ID):
		c.wrong(m, m.At("id"), "id", fmt.Sprintf("%q cannot be an id", m.ID), "use letters, digits, _ and -, at most 100")
	}
}

// special judges the modules that stand beside the steps.
func (c *checker) special(m *format.Module, id, field string) {
	if m == nil {
		return
	}
	if m.ID != id {
		c.wrong(m, m.At("id"), "id", fmt.Sprintf("the %s has another id than %q", field, id), "call it "+id)
	}
	switch m.Value.(type) {
	case *format.RawScript, *format.Script, nil:
	default:
		c.wrong(m, m.At("value"), "value.type", fmt.Sprintf("the %s is of the kind %s", field, m.Value.Kind()), "only a script can be here")
	}
	if m.Suspend.Gate() {
		c.wrong(m, m.At("suspend"), "suspend", "nothing comes after the "+field+" that could wait", "")
	}
}

// inLoop tells whether a module runs more than once in one run of the flow.
func (i *info) inLoop() bool {
	for ; i != nil; i = i.parent {
		if i.at.Parent == nil {
			continue
		}
		switch i.at.Parent.Value.(type) {
		case *format.ForLoop, *format.WhileLoop:
			return true
		}
	}
	return false
}

// How a module stands to one that reads its result.
type relation int

const (
	reached   relation = iota
	itself             // its own result
	later              // it comes later
	elsewhere          // it lies in a loop or branch that the reader is not in
)

// relationOf says whether reader can see the result of the module with an id.
func (c *checker) relationOf(reader, other *info) relation {
	if reader == nil || other == nil {
		return reached
	}
	if reader.module == other.module {
		return itself
	}
	// The ancestor of the reader, or the reader, that lies in the same list as the other one.
	for i := reader; i != nil; i = i.parent {
		if i.at.Parent == other.at.Parent && i.at.Branch == other.at.Branch {
			switch {
			case i.module == other.module: // the loop or branch that the reader is in
				return later
			case other.at.Index < i.at.Index:
				return reached
			}
			return later
		}
		if i.at.Parent == nil {
			break
		}
	}
	return elsewhere
}
