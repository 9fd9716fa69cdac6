package forker_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/sandbox"
	"github.com/millrace/millrace/sandbox/forker"
)

// reply builds a message as a forker, honest or not, would send it.
func reply(op forker.Op, id uint32, value int32, text string) []byte {
	b := make([]byte, 40, 40+len(text))
	b[0], b[1] = byte(op), 1
	binary.LittleEndian.PutUint16(b[2:], uint16(len(text)))
	binary.LittleEndian.PutUint32(b[4:], id)
	binary.LittleEndian.PutUint32(b[8:], uint32(value))
	return append(b, text...)
}

// serveFake says hello and then sends what answer makes of each request. Descriptors that come along are kept open, as a
// hostile zygote would.
func serveFake(far *net.UnixConn, answer func(op byte, id uint32) [][]byte) {
	_, _ = far.Write(reply(forker.OpHello, 0, 2, ""))
	buf, oob := make([]byte, 1<<17), make([]byte, 1024)
	for {
		n, _, _, _, err := far.ReadMsgUnix(buf, oob)
		if err != nil || n < 8 {
			return
		}
		for _, m := range answer(buf[0], binary.LittleEndian.Uint32(buf[4:])) {
			_, _ = far.Write(m)
		}
	}
}

// TestHostileForker: whatever comes out of the control socket, the client ends the slot and hangs nowhere.
func TestHostileForker(t *testing.T) {
	started := func(id uint32) []byte { return reply(forker.OpStarted, id, 5, "") }
	for name, answer := range map[string]func(byte, uint32) [][]byte{
		"exit before start":  func(_ byte, id uint32) [][]byte { return [][]byte{reply(forker.OpExit, id, 0, "")} },
		"started twice":      func(_ byte, id uint32) [][]byte { return [][]byte{started(id), started(id)} },
		"refused when alive": func(_ byte, id uint32) [][]byte { return [][]byte{started(id), reply(forker.OpRefused, id, 0, "x")} },
		"another's id":       func(_ byte, id uint32) [][]byte { return [][]byte{started(id), reply(forker.OpExit, id+1, 0, "")} },
		"hello again":        func(_ byte, id uint32) [][]byte { return [][]byte{started(id), reply(forker.OpHello, 0, 2, "")} },
		"garbage":            func(_ byte, id uint32) [][]byte { return [][]byte{started(id), []byte("garbage")} },
		"empty":              func(_ byte, id uint32) [][]byte { return [][]byte{started(id), {}} },
		"huge":               func(_ byte, id uint32) [][]byte { return [][]byte{started(id), make([]byte, 60000)} },
		"truncated":          func(_ byte, id uint32) [][]byte { return [][]byte{started(id), reply(forker.OpExit, id, 0, "")[:39]} },
		"text too long": func(_ byte, id uint32) [][]byte {
			return [][]byte{started(id), reply(forker.OpExit, id, 0, string(make([]byte, 201)))}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // each waits for stdio.Grace
			near, far := seqpacket(t)
			go serveFake(far, answer)
			c, err := forker.New(near, forker.Options{UID: 1, GID: 1})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			p, err := c.Start(context.Background(), sandbox.Spec{Argv: []string{"/x"}, Init: true, Collect: "r"})
			if err == nil {
				defer p.Close()
				if _, err = p.Wait(context.Background()); err == nil {
					t.Error("wait succeeded")
				}
				_, _ = io.ReadAll(p.Conn()) // both end although the other side keeps its copies
				_, _ = io.ReadAll(p.Output())
				if err := p.Kill(); err != nil {
					t.Errorf("kill: %v", err)
				}
			}
			if !errors.Is(err, forker.ErrBroken) {
				t.Errorf("error %v, want ErrBroken", err)
			}
			<-c.Done()
			if _, err := c.Start(context.Background(), sandbox.Spec{Argv: []string{"/x"}}); !errors.Is(err, forker.ErrBroken) {
				t.Errorf("start after the end: %v", err)
			}
		})
	}
}

func TestHello(t *testing.T) {
	near, _ := seqpacket(t)
	begin := time.Now()
	if _, err := forker.New(near, forker.Options{UID: 1, GID: 1, HelloTimeout: 20 * time.Millisecond}); err == nil {
		t.Error("a silent forker was accepted")
	}
	if d := time.Since(begin); d > 10*time.Second {
		t.Errorf("took %v", d)
	}
	near, far := seqpacket(t)
	_, _ = far.Write(reply(forker.OpStarted, 1, 1, ""))
	if _, err := forker.New(near, forker.Options{UID: 1, GID: 1}); err == nil {
		t.Error("a forker without hello was accepted")
	}
	near, _ = seqpacket(t)
	if _, err := forker.New(near, forker.Options{}); err == nil {
		t.Error("jobs with uid 0 were accepted")
	}
}

// TestRefused: a refusal is an error of Start and leaves the slot usable.
func TestRefused(t *testing.T) {
	near, far := seqpacket(t)
	go serveFake(far, func(_ byte, id uint32) [][]byte {
		return [][]byte{reply(forker.OpRefused, id, 0, "clone: \x1bno")}
	})
	c, err := forker.New(near, forker.Options{UID: 1, GID: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 2 {
		if _, err := c.Start(context.Background(), sandbox.Spec{Argv: []string{"/x"}}); err == nil || err.Error() != "start process: clone: ?no" {
			t.Errorf("start: %v", err)
		}
	}
}

// TestForkerSurvivesGarbage: requests that this client would never send are refused or end the slot; nothing runs as root.
func TestForkerSurvivesGarbage(t *testing.T) {
	needRoot(t)
	valid, body, err := forker.Encode(forker.Request{
		Op: forker.OpStart, ID: 1, UID: 1000, GID: 1000, Spec: sandbox.Spec{Argv: []string{"/bin/true"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	message := append(valid[:], body...)
	mutate := func(at int, v byte) []byte {
		m := append([]byte{}, message...)
		m[at] = v
		return m
	}
	for name, c := range map[string]struct {
		message []byte
		fds     int
		want    forker.Op // 0: the slot ends
		failed  bool      // the exit tells an error
	}{
		"honest":              {message, 2, forker.OpStarted, false},
		"no descriptors":      {message, 0, forker.OpRefused, false},
		"one too many":        {message, 3, forker.OpRefused, false},
		"id 0":                {mutate(4, 0), 2, forker.OpRefused, false},
		"unknown flag":        {mutate(3, 0x80), 2, forker.OpRefused, false},
		"other version":       {mutate(1, 9), 2, 0, false},
		"unknown op":          {mutate(0, 7), 2, 0, false},
		"body too short":      {message[:len(message)-1], 2, forker.OpRefused, false},
		"header only":         {message[:20], 2, 0, false},
		"argc too large":      {mutate(42, 0xff), 2, forker.OpStarted, true},
		"string too long":     {mutate(46, 0xff), 2, forker.OpStarted, true},
		"zero in a string":    {mutate(50, 0), 2, forker.OpStarted, true},
		"trailing bytes":      {withBody(message, 3), 2, forker.OpStarted, true},
		"root job":            {asRoot(message), 2, forker.OpRefused, false},
		"kill of nobody":      {append([]byte{2, 1, 0, 0, 99, 0, 0, 0}, make([]byte, 32)...), 0, 1, false},
		"oversized":           {append(append([]byte{}, message...), make([]byte, 90<<10)...), 2, 0, false},
		"payload flag, no fd": {mutate(2, 8), 2, forker.OpRefused, false},
	} {
		t.Run(name, func(t *testing.T) { garbage(t, c.message, c.fds, c.want, c.failed) })
	}
}

func asRoot(m []byte) []byte {
	m = append([]byte{}, m...)
	copy(m[8:16], make([]byte, 8))
	return m
}

func withBody(m []byte, extra int) []byte {
	m = append(append([]byte{}, m...), make([]byte, extra)...)
	binary.LittleEndian.PutUint32(m[36:], uint32(len(m)-40))
	return m
}

func garbage(t *testing.T, message []byte, fds int, want forker.Op, failed bool) {
	conn := rawSlot(t)
	devnull, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(devnull)
	var rights []byte
	if fds > 0 {
		list := make([]int, fds)
		for i := range list {
			list[i] = devnull
		}
		rights = unix.UnixRights(list...)
	}
	if _, _, err := conn.WriteMsgUnix(message, rights, nil); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 300)
	next := func() (forker.Reply, error) {
		_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
		n, err := conn.Read(buf)
		if err != nil {
			return forker.Reply{}, err
		}
		return forker.Decode(buf[:n])
	}
	if want == 1 { // nothing comes; the slot must still work
		message, _, _ := forker.Encode(forker.Request{Op: forker.OpStart, ID: 5, UID: 1000, GID: 1000})
		if _, err := conn.Write(message[:]); err != nil {
			t.Fatal(err)
		}
		want = forker.OpRefused
	}
	r, err := next()
	if want == 0 {
		if !errors.Is(err, io.EOF) {
			t.Errorf("the slot did not end: %+v %v", r, err)
		}
		return
	}
	if idless := want == forker.OpRefused && err != nil && !errors.Is(err, io.EOF); idless {
		return // a refusal of id 0 is not a message that Decode accepts
	}
	if err != nil || r.Op != want {
		t.Fatalf("%+v %v, want op %x", r, err, want)
	}
	if want == forker.OpStarted {
		if r, err = next(); err != nil || r.Op != forker.OpExit || (r.Text != "") != failed {
			t.Errorf("end %+v %v", r, err)
		}
	}
}

// TestOverlap: the forker keeps several children apart by id, which starting one ahead needs.
func TestOverlap(t *testing.T) {
	needRoot(t)
	conn := rawSlot(t)
	devnull, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(devnull)
	send := func(r forker.Request) forker.Reply {
		t.Helper()
		r.UID, r.GID = 1000, 1000
		head, body, err := forker.Encode(r)
		if err != nil {
			t.Fatal(err)
		}
		var rights []byte
		if r.Op == forker.OpStart {
			rights = unix.UnixRights(devnull, devnull)
		}
		if _, _, err := conn.WriteMsgUnix(append(head[:], body...), rights, nil); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 300)
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		reply, err := forker.Decode(buf[:n])
		if err != nil {
			t.Fatal(err)
		}
		return reply
	}
	sleeper := sandbox.Spec{Argv: []string{"/bin/sleep", "600"}}
	for id := uint32(1); id <= 16; id++ {
		if r := send(forker.Request{Op: forker.OpStart, ID: id, Spec: sleeper}); r.Op != forker.OpStarted || r.ID != id {
			t.Fatalf("start %d: %+v", id, r)
		}
	}
	if r := send(forker.Request{Op: forker.OpStart, ID: 3, Spec: sleeper}); r.Op != forker.OpRefused || r.ID != 3 {
		t.Errorf("an id in use: %+v", r)
	}
	if r := send(forker.Request{Op: forker.OpStart, ID: 17, Spec: sleeper}); r.Op != forker.OpRefused {
		t.Errorf("one too many: %+v", r)
	}
	for _, id := range []uint32{7, 1, 16} {
		if r := send(forker.Request{Op: forker.OpKill, ID: id}); r.Op != forker.OpExit || r.ID != id || r.Value != 9 {
			t.Errorf("kill %d: %+v", id, r)
		}
	}
	if r := send(forker.Request{Op: forker.OpStart, ID: 18, Spec: sleeper}); r.Op != forker.OpStarted {
		t.Errorf("after room was made: %+v", r)
	}
}
