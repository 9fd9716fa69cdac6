package batches

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/millrace/millrace/engine"
)

// row is one row on its way into the queue.
type row struct {
	args  json.RawMessage
	where string      // "line 7", for messages; made only when needed
	line  int64       // likewise, when where is empty
	job   *engine.Job // what it runs, when that is not what the whole batch runs
}

func (r row) place() string {
	if r.where != "" {
		return r.where
	}
	return fmt.Sprintf("line %d", r.line)
}

// source gives rows, io.EOF after the last. Any other error is a rowError, or says that reading failed.
type source interface {
	next() (row, error)
}

// rowError is a row that cannot be: the batch fails with it.
type rowError struct{ text string }

func (e *rowError) Error() string { return e.text }

func wrong(place, format string, args ...any) error {
	return &rowError{place + ": " + fmt.Sprintf(format, args...)}
}

// meter bounds what a decoder may hold of one row, and remembers why reading ended.
type meter struct {
	r    io.Reader
	max  int
	left int
	err  error // of r, other than io.EOF
	some bool  // something was read
}

var errLongRow = errors.New("too long")

func (m *meter) Read(p []byte) (int, error) {
	if m.left <= 0 {
		return 0, errLongRow
	}
	n, err := m.r.Read(p[:min(len(p), m.left)])
	m.left -= n
	m.some = m.some || n > 0
	if err != nil && !errors.Is(err, io.EOF) {
		m.err = err
	}
	return n, err
}

// again begins a row.
func (m *meter) again() { m.left = m.max }

// fault is what a decoder's error means: that reading failed, that a row is too long, or that it is wrong.
func (m *meter) fault(place string, err error) error {
	switch {
	case m.err != nil:
		return m.err
	case errors.Is(err, errLongRow):
		return wrong(place, "a row may have %d bytes", m.max)
	}
	var e *rowError
	if errors.As(err, &e) {
		return err
	}
	return wrong(place, "%v", err)
}

// lookAhead is how much a decoder may read beyond a row.
const lookAhead = 64 << 10

// newSource returns the decoder of a format; schema types the cells of CSV.
func newSource(f engine.BatchFormat, r io.Reader, schema json.RawMessage, maxRow int) (source, error) {
	m := &meter{r: r, max: maxRow + lookAhead, left: maxRow + lookAhead}
	switch f {
	case engine.BatchNDJSON:
		return &lines{in: m, r: bufio.NewReaderSize(m, lookAhead), max: maxRow}, nil
	case engine.BatchArray:
		return &array{in: m, d: json.NewDecoder(m)}, nil
	case engine.BatchCSV:
		return newTable(m, schema)
	}
	return nil, engine.Errorf(engine.Invalid, "batch.receive", "%q is not a format of rows: ndjson, csv and json are", f)
}

var mark = []byte("\ufeff") // that some programs put before UTF-8

// lines reads a JSON object a line; empty lines are skipped.
type lines struct {
	in   *meter
	r    *bufio.Reader
	max  int
	line int64
}

func (l *lines) next() (row, error) {
	for {
		l.in.again()
		text, err := l.read()
		if len(text) == 0 && errors.Is(err, io.EOF) {
			return row{}, l.end()
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return row{}, l.in.fault(fmt.Sprintf("line %d", l.line+1), err)
		}
		if l.line++; l.line == 1 {
			text = bytes.TrimPrefix(text, mark)
		}
		text = bytes.TrimSpace(text)
		if len(text) == 0 {
			continue
		}
		r := row{args: bytes.Clone(text), line: l.line}
		return r, checkObject(r)
	}
}

// read returns a line, valid until the next one; io.EOF may come with the last.
func (l *lines) read() ([]byte, error) {
	text, err := l.r.ReadSlice('\n')
	if !errors.Is(err, bufio.ErrBufferFull) {
		return text, err
	}
	long := bytes.Clone(text)
	for errors.Is(err, bufio.ErrBufferFull) {
		text, err = l.r.ReadSlice('\n')
		if long = append(long, text...); len(long) > l.max {
			return nil, errLongRow
		}
	}
	return long, err
}

func (l *lines) end() error {
	if !l.in.some {
		return &rowError{"there are no rows: the body is empty"}
	}
	return io.EOF
}

// checkObject verifies that a row is a JSON object.
func checkObject(r row) error {
	switch {
	case r.args[0] != '{' && json.Valid(r.args):
		return wrong(r.place(), "%s is not a JSON object of arguments", short(r.args))
	case !json.Valid(r.args):
		return wrong(r.place(), "not valid JSON: %v", json.Unmarshal(r.args, new(any)))
	case !utf8.Valid(r.args):
		return wrong(r.place(), "not valid UTF-8")
	}
	return nil
}

func short(b []byte) string {
	if s := []rune(string(b)); len(s) > 40 {
		return string(s[:40]) + "..."
	}
	return string(b)
}

// array reads the elements of one JSON array.
type array struct {
	in    *meter
	d     *json.Decoder
	count int64
	begun bool
	over  bool
}

func (a *array) next() (row, error) {
	a.in.again()
	place := fmt.Sprintf("element %d", a.count+1)
	if a.over {
		return row{}, io.EOF
	}
	if !a.begun {
		t, err := a.d.Token()
		if errors.Is(err, io.EOF) && !a.in.some {
			return row{}, &rowError{"there are no rows: the body is empty"}
		}
		if err != nil {
			return row{}, a.in.fault("the body", err)
		}
		if t != json.Delim('[') {
			return row{}, &rowError{"the body is not a JSON array of objects; send rows of their own lines as application/x-ndjson"}
		}
		a.begun = true
	}
	if !a.d.More() {
		return row{}, a.close()
	}
	var raw json.RawMessage
	if err := a.d.Decode(&raw); err != nil {
		return row{}, a.in.fault(place, err)
	}
	a.count++
	r := row{args: raw, where: place}
	return r, checkObject(r)
}

// close reads the array's end, after which nothing may follow.
func (a *array) close() error {
	if _, err := a.d.Token(); err != nil {
		if errors.Is(err, io.EOF) {
			err = errors.New("the array does not end")
		}
		return a.in.fault(fmt.Sprintf("after element %d", a.count), err)
	}
	if _, err := a.d.Token(); !errors.Is(err, io.EOF) {
		if err == nil {
			err = errors.New("something follows the array")
		}
		return a.in.fault(fmt.Sprintf("after element %d", a.count), err)
	}
	a.over = true
	return io.EOF
}
