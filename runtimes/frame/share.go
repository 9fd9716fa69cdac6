package frame

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
)

// Run is one call of a process that was told to Share.
type Run struct {
	Number uint64
	Before map[string]string // environment of the run before, as it was sent; nil: there was none
	Env    map[string]string
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
	for k, v := range r.Env {
		if old, ok := r.Before[k]; !ok || old != v {
			dst = appendPair(dst, sep, k, v)
			sep = ','
		}
	}
	for k := range r.Before {
		if _, ok := r.Env[k]; !ok {
			dst = append(appendQuoted(append(dst, sep), k), ":null"...)
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

// AppendNumber appends the frame that says to which run the next ones belong.
func AppendNumber(dst []byte, n uint64) []byte {
	return binary.LittleEndian.AppendUint64(AppendHeader(dst, Number, 8), n)
}

// ReadRun reads one call: the job's side of the protocol, for processes written in Go. env is that of the run before, and is
// brought up to date.
func ReadRun(r *Reader, env map[string]string) (Run, error) {
	q := Run{Env: env}
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
