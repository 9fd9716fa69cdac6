package forker

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/millrace/millrace/sandbox"
)

// Sizes and codes of the protocol; csrc/forker.h has the same ones.
const (
	wireVersion = 1
	headerSize  = 40
	maxInline   = 64 << 10 // a larger body travels in a file
	maxBody     = 64 << 20
	maxStrings  = 256 << 10 // argv and environment together
	maxText     = 200
	maxReply    = headerSize + maxText
)

// Op is the kind of a message.
type Op uint8

// The server sends OpStart and OpKill, the forker the others.
const (
	OpStart   Op = 1
	OpKill    Op = 2
	OpHello   Op = 0x81
	OpStarted Op = 0x82
	OpExit    Op = 0x83
	OpRefused Op = 0x84
)

const (
	flagInit = 1 << iota
	flagRootless
	flagExec
	flagPayload
	flagCollect
	flagHold
)

// Request is a message to the forker. OpKill uses ID only.
type Request struct {
	Op       Op
	ID       uint32 // the caller's name for the job; not 0
	UID, GID uint32
	Rootless bool
	Procs    uint32 // RLIMIT_NPROC; 0: as it is
	Hold     bool   // confine a child that gets its Spec later, but for the limits
	Spec     sandbox.Spec
}

// Reply is a message from the forker.
type Reply struct {
	Op                    Op
	ID                    uint32
	Value                 int32  // a pid, or for OpExit a wait status
	UserMicros, SysMicros uint64 // OpExit
	MaxRSS                uint64 // OpExit, bytes
	Text                  string // OpExit, OpRefused: what failed
}

var errMalformed = errors.New("malformed message")

// Encode returns the header and the body of a request; the caller decides how the body travels.
func Encode(r Request) (head [headerSize]byte, body []byte, err error) {
	le := binary.LittleEndian
	head[0], head[1] = byte(r.Op), wireVersion
	le.PutUint32(head[4:], r.ID)
	if r.Op == OpKill {
		return head, nil, nil
	}
	s := r.Spec
	l := s.Limits.WithDefaults()
	if err := check(s); err != nil {
		return head, nil, err
	}
	le.PutUint32(head[8:], r.UID)
	le.PutUint32(head[12:], r.GID)
	le.PutUint32(head[16:], uint32(max(l.OpenFiles, 8)))
	le.PutUint32(head[20:], r.Procs)
	le.PutUint64(head[24:], uint64(l.WorkSize))
	le.PutUint32(head[32:], uint32(min(max(l.WorkSize>>12, 1024), 1<<20)))
	if !r.Hold {
		body = appendBody(nil, s)
	}
	if len(body) > maxBody {
		return head, nil, fmt.Errorf("files, arguments and environment take %d bytes, more than %d", len(body), maxBody)
	}
	le.PutUint32(head[36:], uint32(len(body)))
	var flags uint16
	for _, f := range []struct {
		on  bool
		bit uint16
	}{
		{s.Init, flagInit}, {r.Rootless, flagRootless}, {s.Exec != nil, flagExec},
		{len(body) > maxInline, flagPayload}, {s.Collect != "", flagCollect}, {r.Hold, flagHold},
	} {
		if f.on {
			flags |= f.bit
		}
	}
	le.PutUint16(head[2:], flags)
	return head, body, nil
}

func appendBody(b []byte, s sandbox.Spec) []byte {
	le := binary.LittleEndian
	str := func(v string) {
		b = le.AppendUint32(b, uint32(len(v)))
		b = append(append(b, v...), 0)
	}
	env := s.Env
	if len(s.Argv) == 0 {
		env = nil
	}
	for _, list := range [][]string{s.Argv, env} {
		b = le.AppendUint32(b, uint32(len(list)))
		for _, v := range list {
			str(v)
		}
	}
	b = le.AppendUint32(b, uint32(len(s.Files)))
	for _, f := range s.Files {
		mode := f.Mode.Perm()
		if mode == 0 {
			mode = 0o644
		}
		b = le.AppendUint32(b, uint32(mode))
		str(f.Name)
		b = le.AppendUint32(b, uint32(len(f.Data)))
		b = append(append(b, f.Data...), 0)
	}
	str(s.Collect)
	return b
}

// check refuses what the forker would refuse, in better words.
func check(s sandbox.Spec) error {
	total := 0
	for _, v := range append(append([]string{}, s.Argv...), s.Env...) {
		if strings.IndexByte(v, 0) >= 0 {
			return errors.New("argument or environment variable contains a zero byte")
		}
		total += len(v) + 1
	}
	switch {
	case total > maxStrings:
		return fmt.Errorf("arguments and environment take %d bytes, more than %d", total, maxStrings)
	case len(s.Argv) == 0 && (s.Init || s.Exec != nil):
		return errors.New("a program needs an argv")
	case s.Collect != "" && !s.Init:
		return errors.New("collect needs init")
	case s.Collect != "" && !local(s.Collect):
		return fmt.Errorf("collect %q is not inside the work folder", s.Collect)
	}
	for _, f := range s.Files {
		if !local(f.Name) {
			return fmt.Errorf("file %q is not inside the work folder", f.Name)
		}
	}
	return nil
}

func local(name string) bool {
	return name != "" && !path.IsAbs(name) && path.Clean(name) == name && name != "." && name != ".." &&
		!strings.HasPrefix(name, "../") && strings.IndexByte(name, 0) < 0
}

// Decode reads a message of the forker. It accepts exactly what an honest forker sends: the sender may be hostile.
func Decode(b []byte) (Reply, error) {
	le := binary.LittleEndian
	if len(b) < headerSize || len(b) > maxReply || b[1] != wireVersion {
		return Reply{}, errMalformed
	}
	r := Reply{
		Op: Op(b[0]), ID: le.Uint32(b[4:]), Value: int32(le.Uint32(b[8:])),
		UserMicros: le.Uint64(b[16:]), SysMicros: le.Uint64(b[24:]), MaxRSS: le.Uint64(b[32:]),
	}
	text := b[headerSize:]
	if int(le.Uint16(b[2:])) != len(text) || (r.Op == OpHello) != (r.ID == 0) {
		return Reply{}, errMalformed
	}
	// A year of CPU time and 2^53 bytes are beyond any job; larger values would overflow what they become.
	if r.UserMicros > 1<<45 || r.SysMicros > 1<<45 || r.MaxRSS > 1<<53 {
		return Reply{}, errMalformed
	}
	switch r.Op {
	case OpHello, OpStarted:
		if r.Value <= 0 || len(text) > 0 {
			return Reply{}, errMalformed
		}
	case OpExit, OpRefused:
		r.Text = printable(text)
	default:
		return Reply{}, errMalformed
	}
	return r, nil
}

// printable makes text of unknown origin fit for logs and JSON.
func printable(b []byte) string {
	b = bytes.ToValidUTF8(b, []byte("?"))
	return strings.Map(func(c rune) rune {
		if c == utf8.RuneError || !unicode.IsPrint(c) {
			return '?'
		}
		return c
	}, string(b))
}
