package frame

import (
	"encoding/binary"
	"encoding/json"
	"fmt"

	"github.com/millrace/millrace/runtimes"
)

// Run is one call of a process that was told to Share.
type Run struct {
	Number uint64
	Before runtimes.Env // of the run before, as it was sent; nil: there was none
	Env    runtimes.Env
	Args   json.RawMessage // empty: {}
	Replay bool            // it was begun before: History
}

// AppendTo appends the frames of r; of the environment only what differs from the run before.
func (r *Run) AppendTo(dst []byte) ([]byte, error) {
	if len(r.Args) > MaxPayload {
		return dst, ErrTooLarge
	}
	dst = AppendNumber(dst, r.Number)
	start := len(dst)
	dst = AppendHeader(dst, Env, 0)
	sep := byte('{')
	for i, v := range r.Env {
		if !has(r.Before, i, v) {
			dst = appendPair(dst, sep, v.Name, v.Value)
			sep = ','
		}
	}
	for i, old := range r.Before {
		if r.Env.At(i, old.Name) {
			continue
		}
		if _, ok := r.Env.Get(old.Name); !ok {
			dst = append(appendQuoted(append(dst, sep), old.Name), ":null"...)
			sep = ','
		}
	}
	if sep == '{' {
		dst = dst[:start]
	} else {
		var err error
		if dst, err = endEnv(append(dst, '}'), start); err != nil {
			return dst, err
		}
	}
	if r.Replay {
		dst = Append(dst, History, "")
	}
	if len(r.Args) == 0 {
		return Append(dst, Args, "{}"), nil
	}
	return Append(dst, Args, r.Args), nil
}

// has says whether e has v, most likely as the i-th.
func has(e runtimes.Env, i int, v runtimes.Variable) bool {
	if e.At(i, v.Name) {
		return e[i].Value == v.Value
	}
	value, ok := e.Get(v.Name)
	return ok && value == v.Value
}

// AppendNumber appends the frame that says to which run the next ones belong.
func AppendNumber(dst []byte, n uint64) []byte {
	return binary.LittleEndian.AppendUint64(AppendHeader(dst, Number, 8), n)
}

// ReadRun reads one call: the job's side of the protocol, for processes written in Go. env is that of the run before, and is
// brought up to date; the Run's own stays empty.
func ReadRun(r *Reader, env map[string]string) (Run, error) {
	var q Run
	for {
		t, p, err := r.Next()
		if err != nil {
			return q, err
		}
		switch {
		case t == Number && len(p) == 8:
			q.Number = binary.LittleEndian.Uint64(p)
		case t == Env:
			var changes map[string]*string
			if err := json.Unmarshal(p, &changes); err != nil {
				return q, fmt.Errorf("frame: environment: %w", err)
			}
			for k, v := range changes {
				if v == nil {
					delete(env, k)
				} else {
					env[k] = *v
				}
			}
		case t == History:
			q.Replay = true
		case t == Args:
			q.Args = append(json.RawMessage(nil), p...)
			return q, nil
		default:
			return q, fmt.Errorf("%w: %q", ErrType, byte(t))
		}
	}
}
