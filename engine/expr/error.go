package expr

import (
	"fmt"
	"strings"
)

// Pos is a place in an expression, counted from 1.
type Pos struct {
	Line, Column int
}

// Reason is why an expression has no value.
type Reason string

// The reasons.
const (
	Syntax    Reason = "syntax"    // it is not JavaScript
	Thrown    Reason = "thrown"    // it threw
	TooLong   Reason = "too_long"  // it ran longer than it may
	TooMuch   Reason = "too_much"  // it took more memory than it may, or gave a result that is too large
	NotGiven  Reason = "not_given" // what it asked the scope for could not be had
	Unsettled Reason = "unsettled" // it waits for a promise that nothing will settle
	Engine    Reason = "engine"    // the engine itself gave up
)

// Error is an expression that has no value: which one, where in it, and why.
type Error struct {
	Reason Reason
	Expr   string
	Pos    Pos // zero when no place is known
	Msg    string
	Err    error // cause, of NotGiven
}

func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "expression `%s`", clip(e.Expr))
	if e.Pos.Line > 1 {
		fmt.Fprintf(&b, " line %d", e.Pos.Line)
	}
	if e.Pos.Line > 0 && e.Pos.Column > 0 {
		fmt.Fprintf(&b, " column %d", e.Pos.Column)
	}
	b.WriteString(": " + e.Msg)
	return b.String()
}

func (e *Error) Unwrap() error { return e.Err }

// clip shortens an expression for a message.
func clip(s string) string {
	const most = 120
	s = strings.TrimSpace(s)
	line, _, more := strings.Cut(s, "\n")
	if r := []rune(line); len(r) > most {
		line, more = string(r[:most]), true
	}
	if more {
		line += " ..."
	}
	return line
}
