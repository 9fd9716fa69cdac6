package format

import (
	"fmt"
	"strings"
)

// Pos is a place in a text, counted from 1; the zero value means that there is no text, as for a flow built in Go.
type Pos struct {
	Line, Column int
}

func (p Pos) String() string {
	if p.Line == 0 {
		return ""
	}
	return fmt.Sprintf("%d:%d", p.Line, p.Column)
}

// Problem is one thing that is wrong with a text that should be a flow.
type Problem struct {
	Module string // id of the module it is in, "" outside of modules
	Field  string // path of the field within the module, or within the flow: "value.iterator.expr"
	Pos    Pos
	Msg    string
	Hint   string // what to do, if there is something
}

func (p Problem) Error() string {
	var b strings.Builder
	if p.Pos.Line != 0 {
		fmt.Fprintf(&b, "line %d, column %d: ", p.Pos.Line, p.Pos.Column)
	}
	if p.Module != "" {
		fmt.Fprintf(&b, "module %q: ", p.Module)
	}
	if p.Field != "" {
		b.WriteString(p.Field + ": ")
	}
	b.WriteString(p.Msg)
	if p.Hint != "" {
		b.WriteString(" (" + p.Hint + ")")
	}
	return b.String()
}

// Problems is the error of the parsers: everything that was wrong, in the order of the text.
type Problems []Problem

func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i := range p {
		lines[i] = p[i].Error()
	}
	return strings.Join(lines, "\n")
}
