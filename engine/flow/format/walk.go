package format

import (
	"slices"
	"strconv"
)

// Place is where a module stands in its flow.
type Place struct {
	Parent *Module   // the loop or branches that it is in; nil at the top, and for the failure and preprocessor modules
	Branch int       // which branch of Parent, Default for the default of a BranchOne; 0 in loops
	Index  int       // position among Siblings
	List   []*Module // the modules that run one after the other, this one among them
	Depth  int       // 0 at the top
}

// Default is the Branch of modules that run when no other branch is taken.
const Default = -1

// Bodies are the lists of modules inside of a module: one for a loop, one for each branch, the default of a BranchOne last.
func (m *Module) Bodies() []Place {
	var out []Place
	branches := func(all []*Branch) {
		for i, b := range all {
			out = append(out, Place{Parent: m, Branch: i, List: b.Modules})
		}
	}
	switch b := m.Value.(type) {
	case *ForLoop:
		out = append(out, Place{Parent: m, List: b.Modules})
	case *WhileLoop:
		out = append(out, Place{Parent: m, List: b.Modules})
	case *BranchOne:
		branches(b.Branches)
		out = append(out, Place{Parent: m, Branch: Default, List: b.Default})
	case *BranchAll:
		branches(b.Branches)
	}
	return out
}

// Walk calls fn for every module, those inside of a module after it, in the order of the text; the preprocessor comes first
// and the failure module last. What is inside of a module for which fn returns false is left out.
func (v *Value) Walk(fn func(m *Module, at Place) bool) {
	single := func(m *Module) {
		if m != nil {
			walk(Place{List: []*Module{m}}, fn)
		}
	}
	single(v.PreprocessorModule)
	walk(Place{List: v.Modules}, fn)
	single(v.FailureModule)
}

func walk(at Place, fn func(*Module, Place) bool) {
	for i, m := range at.List {
		at.Index = i
		if !fn(m, at) {
			continue
		}
		for _, inner := range m.Bodies() {
			inner.Depth = at.Depth + 1
			walk(inner, fn)
		}
	}
}

// Inputs are the arguments that a module gives to what it runs; nil for modules that contain others.
func (m *Module) Inputs() Inputs {
	switch b := m.Value.(type) {
	case *RawScript:
		return b.Inputs
	case *Script:
		return b.Inputs
	case *SubFlow:
		return b.Inputs
	case *Agent:
		return b.Inputs
	case *Decision:
		return b.Inputs
	}
	return nil
}

// Ids that modules of a special place have.
const (
	FailureID      = "failure"
	PreprocessorID = "preprocessor"
)

// Reserved are ids that no ordinary module may have: they have a meaning of their own in expressions or in the editor.
var Reserved = []string{FailureID, PreprocessorID, "Input", "Result", "Trigger", "do", "bg", "ctx", "state", "if", "else", "for",
	"delete", "while", "new", "in", "as"}

// FillIDs gives the modules without an id one: a, b, ... z, aa, ab, ... as far as they are free.
func (v *Value) FillIDs() {
	taken := map[string]bool{}
	for _, id := range Reserved {
		taken[id] = true
	}
	v.Walk(func(m *Module, _ Place) bool {
		taken[m.ID] = true
		return true
	})
	if v.PreprocessorModule != nil && v.PreprocessorModule.ID == "" {
		v.PreprocessorModule.ID = PreprocessorID
	}
	if v.FailureModule != nil && v.FailureModule.ID == "" {
		v.FailureModule.ID = FailureID
	}
	next := 0
	v.Walk(func(m *Module, _ Place) bool {
		for m.ID == "" {
			if id := letters(next); !taken[id] {
				m.ID = id
			}
			next++
		}
		return true
	})
}

// letters counts a, b, ... z, aa, ab, ...
func letters(n int) string {
	s := ""
	for ; n >= 0; n = n/26 - 1 {
		s = string(rune('a'+n%26)) + s
	}
	return s
}

// EndsWithWait tells whether the last module waits or sleeps, so that something must come after it to wait for; the engine
// then acts as if an Identity with the id of VirtualID followed.
func (v *Value) EndsWithWait() (last *Module, ok bool) {
	if len(v.Modules) == 0 {
		return nil, false
	}
	last = v.Modules[len(v.Modules)-1]
	return last, last.Suspend.Gate() || last.Sleep != nil
}

// VirtualID is the id of the module that follows a last module that waits.
func VirtualID(last string) string { return last + "-v" }

// Find returns the module with an id, nil when there is none.
func (v *Value) Find(id string) *Module {
	var found *Module
	v.Walk(func(m *Module, _ Place) bool {
		if m.ID == id && found == nil {
			found = m
		}
		return found == nil
	})
	return found
}

// BranchName is what a branch is called in messages.
func BranchName(i int) string {
	if i == Default {
		return "default"
	}
	return strconv.Itoa(i)
}

// IsReserved tells whether an ordinary module may not have this id.
func IsReserved(id string) bool { return slices.Contains(Reserved, id) }
