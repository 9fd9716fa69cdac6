package check

import (
	"fmt"
	"slices"
	"strings"

	"github.com/millrace/millrace/engine/expr"
	"github.com/millrace/millrace/engine/flow/format"
)

// targetOf returns what is known of what a module runs; nil when nothing is.
func (c *checker) targetOf(i *info) *Target {
	if i.asked || c.err != nil {
		return i.target
	}
	i.asked = true
	m := i.module
	switch b := m.Value.(type) {
	case *format.RawScript:
		if c.lookup.Source != nil {
			t, err := c.lookup.Source(b.Language, b.Content)
			if err != nil {
				c.wrong(m, b.At("content"), "value.content", err.Error(), "")
			}
			i.target = t
		}
	case *format.Script:
		if c.lookup.Script != nil && b.Path != "" {
			t, err := c.script(b.Path, b.Hash)
			c.note(err, m)
			if i.target = t; t == nil && err == nil {
				c.missing(m, b.Source, "script", b.Path, b.Hash)
			}
		}
	case *format.SubFlow:
		if c.lookup.Flow != nil && b.Path != "" && b.Path != c.lookup.Path {
			f, err := c.flowAt(b.Path)
			c.note(err, m)
			if f != nil {
				i.target = &Target{Inputs: f.Schema}
			} else if err == nil {
				c.missing(m, b.Source, "flow", b.Path, "")
			}
		}
	}
	return i.target
}

// script asks for a script once.
func (c *checker) script(path, hash string) (*Target, error) {
	k := [2]string{path, hash}
	if t, ok := c.scripts[k]; ok {
		return t, nil
	}
	t, err := c.lookup.Script(c.ctx, path, hash)
	if err == nil {
		c.scripts[k] = t
	}
	return t, err
}

// flowAt asks for a flow once.
func (c *checker) flowAt(path string) (*format.Flow, error) {
	if f, ok := c.flows[path]; ok {
		return f, nil
	}
	f, err := c.lookup.Flow(c.ctx, path)
	if err == nil {
		c.flows[path] = f
	}
	return f, err
}

// note keeps the first error of a lookup.
func (c *checker) note(err error, m *format.Module) {
	if err != nil && c.err == nil {
		c.err = fmt.Errorf("check flow: module %s: %w", m.ID, err)
	}
}

func (c *checker) missing(m *format.Module, s format.Source, kind, path, hash string) {
	what := fmt.Sprintf("there is no %s %s", kind, path)
	if hash != "" {
		what += " with the hash " + hash
	}
	c.wrong(m, s.At("path"), "value.path", what, "deploy it first")
}

// calls judges the arguments of what a module runs.
func (c *checker) calls(i *info) {
	target := c.targetOf(i)
	var inputs *shape
	if target != nil {
		inputs = parseShape(target.Inputs)
	}
	given := i.module.Inputs()
	for _, name := range keys(given) {
		field := "value.input_transforms." + name
		var want *shape
		if inputs != nil && inputs.properties != nil {
			var ok bool
			if want, ok = inputs.properties[name]; !ok && inputs.closed || !ok && len(inputs.properties) > 0 {
				c.doubtful(i.module, given[name].Pos(), field, "is not an input of what the step runs", nearest(name, keys(inputs.properties)))
			}
		}
		if _, agent := i.module.Value.(*format.Agent); agent {
			continue // refused as a whole
		}
		c.input(i, field, given[name], false, want)
	}
	if inputs == nil || i.module == c.flow.Value.PreprocessorModule || i.module == c.flow.Value.FailureModule {
		return
	}
	for _, name := range inputs.required {
		p := inputs.properties[name]
		if given[name] == nil && (p == nil || !p.fallback) {
			c.doubtful(i.module, i.module.At("value"), "value.input_transforms", fmt.Sprintf("the input %q is required and not given", name), "")
		}
	}
}

// typed judges the value of an expression that is a plain path, where it is known what lies there.
func (c *checker) typed(p *place, program *expr.Program, want *shape) {
	if program == nil || !program.Plain() {
		return
	}
	var got *shape
	if reads := program.Reads(); len(reads) == 1 {
		got = c.shapeAt(p, reads[0])
	} else if len(reads) == 0 { // a literal
		got = literal(program)
	}
	if want.clashes(got) {
		c.doubtful(p.module, p.pos, p.field, fmt.Sprintf("%s is %s, %s is expected", strings.TrimSpace(program.Source()), got, want), "")
	}
}

func literal(p *expr.Program) *shape {
	text := strings.TrimSpace(p.Source())
	if strings.HasPrefix(text, "'") {
		text = `"`
	}
	if text == "undefined" {
		text = "null"
	}
	return shapeOfValue([]byte(text))
}

// shapeAt is the shape of what a path reads.
func (c *checker) shapeAt(p *place, r expr.Read) *shape {
	var s *shape
	path := r.Path
	switch r.Name {
	case "flow_input":
		s = c.inputs
		if s != nil && (len(path) == 0 || path[0] == "iter") {
			return nil
		}
	case expr.Results:
		if len(path) == 0 {
			return nil
		}
		s = c.resultOf(c.modules[path[0]])
		path = path[1:]
	default:
		return nil
	}
	for n, name := range path {
		inner, missing := s.at(name)
		if missing {
			c.doubtful(p.module, p.pos, p.field, fmt.Sprintf("%s has no %q", strings.Join(append([]string{r.Name}, r.Path[:len(r.Path)-len(path)+n]...), "."), name),
				nearest(name, keys(s.properties)))
			return nil
		}
		s = inner
	}
	return s
}

// resultOf is the shape of a module's result.
func (c *checker) resultOf(i *info) *shape {
	if i == nil || i.module.ContinueOnError { // may be an error
		return nil
	}
	switch b := i.module.Value.(type) {
	case *format.RawScript, *format.Script:
		if t := c.targetOf(i); t != nil {
			return parseShape(t.Result).declared()
		}
	case *format.ForLoop:
		if b.SkipFailures() { // an iteration's result may be its error
			return lists
		}
		return &shape{kinds: []string{"array"}, items: c.last(b.Modules)}
	case *format.WhileLoop, *format.BranchAll:
		return lists
	}
	return nil
}

func (c *checker) last(list []*format.Module) *shape {
	if len(list) == 0 {
		return nil
	}
	return c.resultOf(c.modules[list[len(list)-1].ID])
}

// cycles looks for flows that run themselves, directly or through others.
func (c *checker) cycles() {
	if c.lookup.Flow == nil || c.lookup.Path == "" {
		return
	}
	clean := map[string]bool{} // flows from which this one is not reached
	c.flow.Value.Walk(func(m *format.Module, at format.Place) bool {
		b, ok := m.Value.(*format.SubFlow)
		if !ok || c.err != nil {
			return true
		}
		if way, err := c.wayBack(b.Path, []string{c.lookup.Path}, clean); err != nil {
			c.note(err, m)
		} else if way != nil {
			severity := Error
			if at.Depth > 0 || m.SkipIf != nil { // it may end
				severity = Warning
			}
			c.add(severity, m, "value.path", b.At("path"), "the flow runs itself: "+strings.Join(way, " -> "), "use a loop")
		}
		return true
	})
}

// wayBack returns the way from a flow to itself through path; nil when there is none.
func (c *checker) wayBack(path string, way []string, clean map[string]bool) ([]string, error) {
	way = append(slices.Clone(way), path)
	if path == way[0] || len(way) > maxCalls {
		return way, nil
	}
	if clean[path] || slices.Contains(way[:len(way)-1], path) { // the latter is the fault of another flow
		return nil, nil
	}
	f, err := c.flowAt(path)
	if err != nil || f == nil {
		return nil, err
	}
	var found []string
	f.Value.Walk(func(m *format.Module, _ format.Place) bool {
		b, ok := m.Value.(*format.SubFlow)
		if ok && found == nil && err == nil {
			found, err = c.wayBack(b.Path, way, clean)
		}
		return found == nil && err == nil
	})
	if found == nil && err == nil {
		clean[path] = true
	}
	return found, err
}
