// Package ledger keeps what a process was told by the system under test in a file of its own, outside of that system. A
// record is written to the file before its owner asks for the next thing, with one write each, so a killed process leaves
// whole records; an unfinished last line is of nobody who went on.
//
// A line is a kind and its fields, separated by blanks:
//
//	W worker t                          registered under this number
//	I id                                about to push
//	P id t                              the push was acknowledged
//	E id code message                   the push was refused
//	C id worker attempt t               an attempt is in this process's hands
//	F id worker attempt t0 t1 result    its outcome was acknowledged (asked at t0, answered at t1)
//	R id worker attempt t0 t1           its outcome was refused
//	A id t result                       a client was answered with the job's result
//
// Times are nanoseconds of the host's monotonic clock, which all processes share and nobody can set.
package ledger

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"
)

// Kind is the kind of a record, the first letter of its line.
type Kind byte

// The kinds.
const (
	Worker   Kind = 'W'
	Intent   Kind = 'I'
	Pushed   Kind = 'P'
	Error    Kind = 'E'
	Claimed  Kind = 'C'
	Finished Kind = 'F'
	Refused  Kind = 'R'
	Answered Kind = 'A'
)

// Record is one line. Fields that its kind does not have are zero.
type Record struct {
	Kind    Kind
	ID      uuid.UUID
	Worker  int32
	Attempt int32
	Asked   int64  // t0
	At      int64  // t, t1
	Text    string // result, or code and message
}

// Now is the host's monotonic clock.
func Now() int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		panic(err) // every Linux has it
	}
	return t.Nano()
}

// Writer appends records. It is safe for concurrent use; each record is one write.
type Writer struct{ f *os.File }

// Open makes the file, or goes on at its end.
func Open(path string) (*Writer, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	return &Writer{f: f}, nil
}

// Close closes the file.
func (w *Writer) Close() error { return w.f.Close() }

// Add writes r. A ledger that cannot be written makes the whole run worthless.
func (w *Writer) Add(r Record) error {
	b := make([]byte, 0, 128)
	b = append(b, byte(r.Kind))
	number := func(n int64) { b = strconv.AppendInt(append(b, ' '), n, 10) }
	if r.Kind != Worker {
		b = append(append(b, ' '), r.ID.String()...)
	}
	switch r.Kind {
	case Worker:
		number(int64(r.Worker))
		number(r.At)
	case Pushed, Answered:
		number(r.At)
	case Claimed:
		number(int64(r.Worker))
		number(int64(r.Attempt))
		number(r.At)
	case Finished, Refused:
		number(int64(r.Worker))
		number(int64(r.Attempt))
		number(r.Asked)
		number(r.At)
	}
	if r.Kind == Finished || r.Kind == Error || r.Kind == Answered {
		b = append(append(b, ' '), strings.ReplaceAll(r.Text, "\n", " ")...)
	}
	if _, err := w.f.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("write ledger: %w", err)
	}
	return nil
}

// Read calls each for every whole record of a file, in order.
func Read(path string, each func(Record)) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("read ledger: %w", err)
	}
	defer f.Close()
	in := bufio.NewReaderSize(f, 1<<20)
	for n := 1; ; n++ {
		line, err := in.ReadSlice('\n')
		if err != nil { // the end, or a line that was never finished
			return nil
		}
		r, ok := parse(string(bytes.TrimSuffix(line, []byte("\n"))))
		if !ok {
			return fmt.Errorf("read ledger: %s:%d is no record", path, n)
		}
		each(r)
	}
}

func parse(line string) (r Record, ok bool) {
	kind, rest, _ := strings.Cut(line, " ")
	if len(kind) != 1 {
		return r, false
	}
	r.Kind, ok = Kind(kind[0]), true
	word := func() (w string) {
		w, rest, _ = strings.Cut(rest, " ")
		return w
	}
	number := func(bits int) int64 {
		n, err := strconv.ParseInt(word(), 10, bits)
		ok = ok && err == nil
		return n
	}
	if r.Kind != Worker {
		id, err := uuid.Parse(word())
		if err != nil {
			return r, false
		}
		r.ID = id
	}
	switch r.Kind {
	case Worker:
		r.Worker, r.At = int32(number(32)), number(64)
	case Intent:
	case Pushed:
		r.At = number(64)
	case Answered:
		r.At, r.Text = number(64), rest
	case Error:
		r.Text = rest
	case Claimed:
		r.Worker, r.Attempt, r.At = int32(number(32)), int32(number(32)), number(64)
	case Finished, Refused:
		r.Worker, r.Attempt, r.Asked, r.At, r.Text = int32(number(32)), int32(number(32)), number(64), number(64), rest
	default:
		return r, false
	}
	return r, ok
}
