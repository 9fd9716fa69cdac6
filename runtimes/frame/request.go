package frame

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/millrace/millrace/runtimes"
)

// Request is what a job's process needs to run once.
type Request struct {
	Source []byte          // not sent when empty
	Path   string          // not sent when empty
	Entry  string          // not sent when empty
	Env    runtimes.Env    // not sent when empty
	Args   json.RawMessage // empty: {}
	Learn  bool            // say which modules the run imports
	Replay bool            // it was begun before: History
	// Compiled is what an earlier run compiled of Source; Compile: say it.
	Compiled []byte
	Compile  bool
	// Share: the process runs many calls of this script, which follow as Runs. Env and Args are not sent.
	Share bool
}

// AppendTo appends the frames of r. It allocates only to grow dst.
func (r *Request) AppendTo(dst []byte) ([]byte, error) {
	if len(r.Source) > MaxPayload || len(r.Args) > MaxPayload || len(r.Path) > MaxPayload || len(r.Entry) > MaxPayload {
		return dst, ErrTooLarge
	}
	if len(r.Source) > 0 {
		dst = Append(dst, Source, r.Source)
	}
	if r.Path != "" {
		dst = Append(dst, Path, r.Path)
	}
	if r.Entry != "" {
		dst = Append(dst, Entry, r.Entry)
	}
	if r.Share {
		return Append(dst, Share, ""), nil
	}
	if r.Compile || len(r.Compiled) > 0 {
		dst = Append(dst, Compiled, r.Compiled)
	}
	if r.Learn {
		dst = Append(dst, Modules, "")
	}
	if r.Replay {
		dst = Append(dst, History, "")
	}
	if len(r.Env) > 0 {
		var err error
		if dst, err = appendEnv(dst, r.Env); err != nil {
			return dst, err
		}
	}
	if len(r.Args) == 0 {
		return Append(dst, Args, "{}"), nil
	}
	return Append(dst, Args, r.Args), nil
}

// appendEnv appends the variables as a process keeps them, name=value and a zero byte each. One that no process can have, because
// its name is empty or has a = or a zero byte, or its value has one, is left out.
func appendEnv(dst []byte, env runtimes.Env) ([]byte, error) {
	start := len(dst)
	dst = AppendHeader(dst, Env, 0)
	for _, v := range env {
		if v.Name == "" || strings.ContainsAny(v.Name, "=\x00") || strings.IndexByte(v.Value, 0) >= 0 {
			continue
		}
		dst = append(appendText(dst, v.Name), '=')
		dst = append(appendText(dst, v.Value), 0)
	}
	return endEnv(dst, start)
}

// appendText appends s. Bytes that are not UTF-8 become U+FFFD.
func appendText(dst []byte, s string) []byte {
	if utf8.ValidString(s) {
		return append(dst, s...)
	}
	for _, r := range s {
		dst = utf8.AppendRune(dst, r)
	}
	return dst
}

func readEnv(p []byte) (runtimes.Env, error) {
	var env runtimes.Env
	for entry := range strings.SplitSeq(string(p), "\x00") {
		if entry == "" {
			continue
		}
		name, value, ok := strings.Cut(entry, "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("frame: environment: %q is no variable", name)
		}
		env = append(env, runtimes.Variable{Name: name, Value: value})
	}
	return env, nil
}

// endEnv fills in the size of the frame that begins at start.
func endEnv(dst []byte, start int) ([]byte, error) {
	size := len(dst) - start - HeaderSize
	if size > MaxPayload {
		return dst[:start], ErrTooLarge
	}
	AppendHeader(dst[:start], Env, size) // in place: the room is there
	return dst, nil
}

func appendPair(dst []byte, sep byte, k, v string) []byte {
	dst = append(dst, sep)
	dst = appendQuoted(dst, k)
	dst = append(dst, ':')
	return appendQuoted(dst, v)
}

// appendQuoted appends s as a JSON string. Bytes that are not UTF-8 become U+FFFD.
func appendQuoted(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c < ' ':
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		case c < utf8.RuneSelf:
			dst = append(dst, c)
		default:
			r, size := utf8.DecodeRuneInString(s[i:])
			dst = utf8.AppendRune(dst, r)
			i += size
			continue
		}
		i++
	}
	return append(dst, '"')
}

// ReadRequest reads frames up to the args: the job's side of the protocol, for processes written in Go.
func ReadRequest(r *Reader) (Request, error) {
	var q Request
	for {
		t, p, err := r.Next()
		if err != nil {
			return q, err
		}
		switch t {
		case Source:
			q.Source = append([]byte(nil), p...)
		case Path:
			q.Path = string(p)
		case Entry:
			q.Entry = string(p)
		case Env:
			if q.Env, err = readEnv(p); err != nil {
				return q, err
			}
		case Compiled:
			q.Compiled, q.Compile = append([]byte(nil), p...), len(p) == 0
		case Modules:
			q.Learn = true
		case History:
			q.Replay = true
		case Share:
			q.Share = true
			return q, nil
		case Args:
			q.Args = append(json.RawMessage(nil), p...)
			return q, nil
		default:
			return q, fmt.Errorf("%w: %q", ErrType, byte(t))
		}
	}
}
