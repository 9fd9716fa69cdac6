package engine

import (
	"errors"
	"fmt"
)

// Code classifies an Error; web maps it to a status in one place.
type Code string

// The codes.
const (
	NotFound     Code = "not_found"
	Invalid      Code = "invalid"
	Conflict     Code = "conflict"
	Unauthorized Code = "unauthorized"
	Forbidden    Code = "forbidden"
	TooLarge     Code = "too_large"
	TooMany      Code = "too_many"
	Unavailable  Code = "unavailable"
	Internal     Code = "internal"
)

// ErrDrained is the cause of the end of a wait for a job's result in a daemon that stops, when nothing that runs here could bring that
// result any more.
var ErrDrained = errors.New("nothing runs here any more")

// Error is what every engine entry point returns when it fails: what was wrong, where, and what to do.
type Error struct {
	Code Code
	Op   string // "script.get"
	Path string // the thing it was about, if any
	Msg  string // what was wrong, in a few words
	Hint string // what to do, if there is something
	Err  error  // cause, not shown to clients when Code is Internal
}

func (e *Error) Error() string {
	s := e.Op
	if e.Path != "" {
		s += " " + e.Path
	}
	if e.Msg != "" {
		s += ": " + e.Msg
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	if e.Hint != "" {
		s += " (" + e.Hint + ")"
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

// CodeOf returns the code of the first *Error in err's chain, Internal for other errors and "" for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return Internal
}

// Errorf builds an *Error with a formatted message.
func Errorf(code Code, op, format string, args ...any) *Error {
	return &Error{Code: code, Op: op, Msg: fmt.Sprintf(format, args...)}
}
