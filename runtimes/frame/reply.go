package frame

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/millrace/millrace/runtimes"
	"github.com/millrace/millrace/runtimes/jsontext"
)

// Reply is one frame from a job.
type Reply struct {
	Type    Type              // Ready, Chunk, Result, Failure, Number, Modules, Compiled, Ask, Leave, Abreast, Output or Drop
	Data    []byte            // of a Chunk, a Result, Modules, Compiled, an Ask or Output; belongs to the caller
	Number  uint64            // of a Number
	Failure *runtimes.Failure // of a Failure
}

// Reply reads the next frame from a job. A result that is no JSON, or no UTF-8, is returned as the failure InvalidResult, and
// a failure that cannot be read still is a failure: a caller that sees no error can store what it got.
func (r *Reader) Reply() (Reply, error) {
	t, p, err := r.Next()
	if err != nil {
		return Reply{}, err
	}
	switch t {
	case Ready, Leave, Abreast, Drop:
		return Reply{Type: t}, nil
	case Chunk, Modules, Compiled, Ask, Output:
		return Reply{Type: t, Data: r.take()}, nil
	case Number:
		if len(p) != 8 {
			return Reply{}, fmt.Errorf("%w: a number of %d bytes", ErrType, len(p))
		}
		return Reply{Type: Number, Number: binary.LittleEndian.Uint64(p)}, nil
	case Result:
		if f := CheckResult(p); f != nil {
			return Reply{Type: Failure, Failure: f}, nil
		}
		return Reply{Type: Result, Data: r.take()}, nil
	case Failure:
		return Reply{Type: Failure, Failure: decodeFailure(p)}, nil
	}
	return Reply{}, fmt.Errorf("%w: %q", ErrType, byte(t))
}

// CheckResult says what is wrong with a result that a job gave; nil when it is JSON in UTF-8.
func CheckResult(p []byte) *runtimes.Failure {
	if !utf8.Valid(p) || !jsontext.Valid(p) {
		return &runtimes.Failure{Name: "InvalidResult", Message: "the result is not valid JSON: " + excerpt(p)}
	}
	return nil
}

func decodeFailure(p []byte) *runtimes.Failure {
	f := new(runtimes.Failure)
	if err := json.Unmarshal(p, f); err != nil {
		return &runtimes.Failure{Name: "Error", Message: "the job sent an error that cannot be read: " + excerpt(p)}
	}
	if f.Name == "" {
		f.Name = "Error"
	}
	if bytes.Equal(f.Extra, []byte("null")) {
		f.Extra = nil
	}
	return f
}

// excerpt quotes the beginning of p for a message.
func excerpt(p []byte) string {
	const most = 80
	s := strings.ToValidUTF8(string(p[:min(len(p), most)]), "\uFFFD")
	if len(p) > most {
		s += "..."
	}
	return fmt.Sprintf("%q", s)
}

// AppendFailure appends a failure frame.
func AppendFailure(dst []byte, f *runtimes.Failure) []byte {
	p, err := json.Marshal(f)
	if err != nil { // Extra is no JSON; everything else always encodes
		plain := *f
		plain.Extra = nil
		p, _ = json.Marshal(plain)
	}
	return Append(dst, Failure, p)
}
