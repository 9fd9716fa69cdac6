package forker

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
	"unicode"

	"github.com/millrace/millrace/sandbox"
)

func message(op Op, id uint32, value int32, text string) []byte {
	b := make([]byte, headerSize)
	b[0], b[1] = byte(op), wireVersion
	binary.LittleEndian.PutUint16(b[2:], uint16(len(text)))
	binary.LittleEndian.PutUint32(b[4:], id)
	binary.LittleEndian.PutUint32(b[8:], uint32(value))
	binary.LittleEndian.PutUint64(b[16:], 1000)
	binary.LittleEndian.PutUint64(b[24:], 2000)
	binary.LittleEndian.PutUint64(b[32:], 1<<20)
	return append(b, text...)
}

func TestDecode(t *testing.T) {
	r, err := Decode(message(OpExit, 3, 9, "mount /work: \x00\xffno\nmemory"))
	want := Reply{OpExit, 3, 9, 1000, 2000, 1 << 20, "mount /work: ??no?memory"}
	if err != nil || r != want {
		t.Errorf("%+v %v, want %+v", r, err, want)
	}
	for name, m := range map[string][]byte{
		"empty":                nil,
		"short":                message(OpExit, 1, 0, "")[:39],
		"request":              message(OpStart, 1, 0, ""),
		"version":              append([]byte{byte(OpExit), 2}, message(OpExit, 1, 0, "")[2:]...),
		"text beyond the end":  message(OpExit, 1, 0, "abc")[:42],
		"bytes after the text": append(message(OpExit, 1, 0, "abc"), 'd'),
		"text too long":        message(OpExit, 1, 0, strings.Repeat("x", maxText+1)),
		"started with text":    message(OpStarted, 1, 5, "x"),
		"started without pid":  message(OpStarted, 1, 0, ""),
		"hello with an id":     message(OpHello, 1, 2, ""),
		"exit without an id":   message(OpExit, 0, 2, ""),
	} {
		if r, err := Decode(m); err == nil {
			t.Errorf("%s: accepted as %+v", name, r)
		}
	}
}

func TestEncodeLimits(t *testing.T) {
	long := strings.Repeat("x", maxStrings)
	for name, s := range map[string]sandbox.Spec{
		"long argument":    {Argv: []string{"/x", long}},
		"long environment": {Argv: []string{"/x"}, Env: []string{long}},
		"too many files":   {Argv: []string{"/x"}, Files: []sandbox.File{{Name: "a", Data: make([]byte, maxBody)}}},
		"collect, no init": {Argv: []string{"/x"}, Collect: "r"},
		"init, no program": {Init: true},
	} {
		if _, _, err := Encode(Request{Op: OpStart, ID: 1, UID: 1, GID: 1, Spec: s}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestEncodeZygoteChildHasNoEnvironment(t *testing.T) {
	s := sandbox.Spec{Env: []string{"SECRET=x"}}
	_, body, err := Encode(Request{Op: OpStart, ID: 1, UID: 1, GID: 1, Spec: s})
	if err != nil || bytes.Contains(body, []byte("SECRET")) {
		t.Errorf("%q %v", body, err)
	}
}

func FuzzDecode(f *testing.F) {
	for _, m := range [][]byte{
		message(OpHello, 0, 2, ""), message(OpStarted, 1, 77, ""), message(OpExit, 1, 0x0100, ""),
		message(OpExit, 0xffffffff, -1, "write big: No space left on device"), message(OpRefused, 2, 0, "clone: \xff\x00"),
		message(OpExit, 1, 0, "")[:12], bytes.Repeat([]byte{0x83}, maxReply+1),
	} {
		f.Add(m)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := Decode(b)
		if err != nil {
			if r != (Reply{}) {
				t.Errorf("an error came with %+v", r)
			}
			return
		}
		if len(r.Text) > 3*maxText || strings.IndexFunc(r.Text, func(c rune) bool { return !unicode.IsPrint(c) }) >= 0 {
			t.Errorf("text %q", r.Text)
		}
		if e := exitOf(r); e.Usage.CPUUser < 0 || e.Usage.CPUSystem < 0 || e.Usage.MemoryPeak < 0 || e.Code < 0 || e.Code > 255 {
			t.Errorf("%+v becomes %+v", r, e)
		}
	})
}
