// Package frame speaks the protocol between the server and a job's process, on the process's descriptor 3.
//
// A frame is a type byte, the payload's length as uint32 little-endian, and the payload (at most MaxPayload bytes).
//
//	to the job    S source  P path  N entry  V env (JSON)  A args (JSON)     any order, A is the last and starts the run
//	              M: say which modules the run imports   H: it was begun before, see below
//	              B: what an earlier run compiled of the source, or, empty, say what this one compiles
//	from the job  Y ready   T chunk of a stream            R result (JSON)   or E failure (JSON); R or E is the last
//	              M modules (JSON), before the last        B what it compiled, before all else that is said after Y
//
// A workflow asks for steps while it runs: W from the job, K back to it, JSON objects both; any number, in any order, before the last.
// One that gets H has been begun before, and asks first what it did then.
//
// A process that runs many calls of one script is told so by D in the place of A. Then each call begins with I and its number:
//
//	to the job    S P N D, then for each run  I number  V changes of the environment (JSON, null removes)  H  A args
//	from the job  for each run, in the same order  any T  I number  R or E;  G when it will begin no further run
//
// Workflows do not go on one after the other but side by side. Their process says so with C before it says anything else, and every
// frame that belongs to a run has an I of its own before it:
//
//	to the job    I K, and I X: the run is not wanted any more
//	from the job  I W   I O what it prints   I X it does nothing any more   I R or E, in any order
//
// The other end is user code: nothing it sends is trusted. A Reader's memory grows with what has really arrived, never with
// what a header promises.
package frame

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Type is the first byte of a frame.
type Type byte

// The frames of the protocol.
const (
	Source Type = 'S' // source text
	Path   Type = 'P' // path of the program, for stack traces
	Entry  Type = 'N' // function to call
	Env    Type = 'V' // name=value and a zero byte for each variable; of a Run: a JSON object of the changes, null for what goes
	Args   Type = 'A' // JSON object; starts the run
	Share  Type = 'D' // in the place of Args: runs of this script follow

	Ready   Type = 'Y' // a warm process waits for its request
	Chunk   Type = 'T' // text of a result stream
	Result  Type = 'R' // JSON value
	Failure Type = 'E' // JSON object: name, message, stack, extra
	Leave   Type = 'G' // no further run begins in this process
	Abreast Type = 'C' // the runs of this process go on side by side
	Output  Type = 'O' // from a run of such a process: text that it prints
	Drop    Type = 'X' // both ways: a run of such a process that is not wanted any more, and does nothing any more
	History Type = 'H' // to the job, empty: the run was begun before

	Compiled Type = 'B' // both ways: the source in a form that only the language knows. To the job, empty: say it

	Number  Type = 'I' // both ways: number of the run that the next frames belong to, 8 bytes, little-endian
	Modules Type = 'M' // to the job, empty: say what is imported. From the job: runtimes.Imports as JSON

	Ask    Type = 'W' // from a workflow: what it wants, JSON
	Answer Type = 'K' // to a workflow, JSON
)

const (
	// HeaderSize is the size of a frame without its payload.
	HeaderSize = 5
	// MaxPayload is the most that one frame may carry.
	MaxPayload = 64 << 20
)

var (
	// ErrTooLarge says that a payload exceeds MaxPayload.
	ErrTooLarge = errors.New("frame: payload exceeds 64 MiB")
	// ErrType says that the other end sent a frame that has no business there.
	ErrType = errors.New("frame: unexpected type")
)

// AppendHeader appends the header of a frame with n bytes of payload, for callers that write the payload themselves.
func AppendHeader(dst []byte, t Type, n int) []byte {
	return binary.LittleEndian.AppendUint32(append(dst, byte(t)), uint32(n))
}

// Append appends a frame. The payload must not exceed MaxPayload.
func Append[T ~string | ~[]byte](dst []byte, t Type, payload T) []byte {
	return append(AppendHeader(dst, t, len(payload)), payload...)
}

// Reader reads frames from a stream. It is not safe for concurrent use.
type Reader struct {
	in  *bufio.Reader
	buf []byte // payload of the last frame, reused
}

// NewReader returns a Reader of r.
func NewReader(r io.Reader) *Reader { return &Reader{in: bufio.NewReaderSize(r, 4096)} }

// Reset makes r read from src and forgets what was buffered, so that Readers can be pooled. It keeps no large buffer.
func (r *Reader) Reset(src io.Reader) {
	r.in.Reset(src)
	if cap(r.buf) > 64<<10 {
		r.buf = nil
	}
}

// Next reads one frame; the payload is valid until the next call. io.EOF: the stream ended between two frames.
// io.ErrUnexpectedEOF: it ended inside one.
func (r *Reader) Next() (Type, []byte, error) {
	head, err := r.in.Peek(HeaderSize)
	if err != nil {
		if err == io.EOF && len(head) > 0 {
			err = io.ErrUnexpectedEOF
		}
		return 0, nil, err
	}
	t, size := Type(head[0]), binary.LittleEndian.Uint32(head[1:])
	if size > MaxPayload {
		return t, nil, fmt.Errorf("%w: %d bytes", ErrTooLarge, size)
	}
	if _, err := r.in.Discard(HeaderSize); err != nil {
		return 0, nil, err
	}
	if err := r.fill(int(size)); err != nil {
		return 0, nil, err
	}
	return t, r.buf, nil
}

// fill reads size bytes into buf, in steps that double, so that a header alone cannot make it allocate.
func (r *Reader) fill(size int) error {
	const first = 32 << 10
	r.buf = r.buf[:0]
	for len(r.buf) < size {
		have := len(r.buf)
		step := min(size-have, max(first, have))
		if free := cap(r.buf) - have; free < step {
			grown := make([]byte, have, have+step)
			copy(grown, r.buf)
			r.buf = grown
		}
		r.buf = r.buf[:have+step]
		if _, err := io.ReadFull(r.in, r.buf[have:]); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
	}
	return nil
}

// take gives the last payload away; the Reader will not reuse it.
func (r *Reader) take() []byte {
	out := r.buf
	r.buf = nil
	return out
}
