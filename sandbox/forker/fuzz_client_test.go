package forker_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/sandbox"
	"github.com/millrace/millrace/sandbox/forker"
)

// hostile is the other end of a control socket: it reads requests, closes what came with them, and sends what script says.
type hostile struct {
	conn   *net.UnixConn
	script []byte
}

// read takes one request, its descriptors included, and returns the job's id; 0 when nothing came.
func (h *hostile) read() uint32 {
	buf, oob := make([]byte, 128<<10), make([]byte, 256)
	n, oobn, _, _, err := h.conn.ReadMsgUnix(buf, oob)
	messages, _ := unix.ParseSocketControlMessage(oob[:oobn])
	for i := range messages {
		fds, _ := unix.ParseUnixRights(&messages[i])
		for _, fd := range fds {
			_ = unix.Close(fd)
		}
	}
	if err != nil || n < 8 {
		return 0
	}
	return uint32(buf[4]) | uint32(buf[5])<<8 | uint32(buf[6])<<16 | uint32(buf[7])<<24
}

// talk plays the script: each byte is a message, a piece of one, or an act.
func (h *hostile) talk() {
	defer h.conn.Close()
	var id uint32
	for len(h.script) > 0 {
		op := h.script[0]
		h.script = h.script[1:]
		var message []byte
		var rights []byte
		switch op % 16 {
		case 0:
			if id = h.read(); id == 0 {
				return
			}
			continue
		case 1:
			message = reply(forker.OpHello, 0, 2, "")
		case 2:
			message = reply(forker.OpStarted, id, 7, "")
		case 3:
			message = reply(forker.OpExit, id, int32(op), "")
		case 4:
			message = reply(forker.OpRefused, id, 0, "no\x00\xff\x1b[31m")
		case 5:
			message = reply(forker.OpExit, id+1, 0, "")
		case 6:
			message = reply(forker.OpStarted, id, -1, "")
		case 7: // more descriptors than fit
			message, rights = reply(forker.OpStarted, id, 7, ""), unix.UnixRights(make([]int, 200)...)
		case 8:
			message = make([]byte, 100<<10)
		case 9:
			message = []byte{}
		case 10: // a flood
			for range 500 {
				if _, err := h.conn.Write(reply(forker.OpStarted, id, 7, "")); err != nil {
					return
				}
			}
			continue
		case 11:
			return
		default:
			n := min(len(h.script), int(op))
			message, h.script = h.script[:n], h.script[n:]
		}
		if _, _, err := h.conn.WriteMsgUnix(message, rights, nil); err != nil {
			return
		}
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// FuzzClient: whatever comes out of a slot, in whatever order, every call of the daemon's side returns, what a job is told to have
// done stays within bounds, and no descriptor is left.
func FuzzClient(f *testing.F) {
	for _, script := range []string{"\x01\x00\x02\x03", "\x01\x00\x02\x03\x00\x02\x13", "\x01\x00\x04\x00\x02\x0b", "\x01\x00\x02\x0a", "\x01\x00\x07\x03",
		"\x01\x00\x02\x05", "\x01\x00\x08", "\x01\x00\x09", "\x02", "\x0b", "\x01", "\x01\x00", "\x01\x00\x06", "\x01\x00\x02\x00\x00",
		"\x01\x00\x02\xfc" + string(reply(forker.OpExit, 1, 0x0100, "lost")), "\x01\x01"} {
		f.Add([]byte(script))
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		before := openFiles(t)
		near, far := seqpacket(t)
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			(&hostile{conn: far, script: script}).talk()
		}()
		daemon(t, near)
		_ = far.Close()
		<-gone
		if after := openFiles(t); after != before {
			t.Errorf("%d descriptors before, %d after", before, after)
		}
	})
}

// daemon runs two jobs, one after the other, as far as the slot lets it.
func daemon(t *testing.T, near *net.UnixConn) {
	c, err := forker.New(near, forker.Options{UID: 1, GID: 1, HelloTimeout: 50 * time.Millisecond})
	if err != nil {
		return
	}
	defer c.Close()
	for range 2 {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Millisecond) // a slot that never answers is given up
		p, err := c.Start(ctx, sandbox.Spec{Argv: []string{"/x"}, Env: []string{"A=b"}})
		if err == nil {
			end(ctx, t, p)
		} else if errors.Is(err, forker.ErrBroken) {
			<-c.Done()
		}
		cancel()
	}
}

func end(ctx context.Context, t *testing.T, p sandbox.Process) {
	e, err := p.Wait(ctx)
	if err == nil && (e.Code < 0 || e.Code > 255 || e.Usage.CPUUser < 0 || e.Usage.MemoryPeak < 0 || len(e.Error) > 1000) {
		t.Errorf("a job ended so: %+v", e)
	}
	_ = p.Kill()
	_ = p.Close()
	if n, err := p.Output().Read(make([]byte, 1)); n > 0 || err == nil {
		t.Errorf("output after the end: %d %v", n, err)
	}
	if _, err := p.Conn().Read(make([]byte, 1)); err == nil || errors.Is(err, io.ErrNoProgress) {
		t.Errorf("read after the end: %v", err)
	}
}
