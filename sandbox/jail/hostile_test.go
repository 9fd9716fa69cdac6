package jail

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"testing"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/sandbox"
)

// strictHost counts its places and complains when one is used after its end, or by two at a time.
type strictHost struct {
	t *testing.T

	mu     sync.Mutex
	n      int
	places map[string]*strictPlace
}

type strictPlace struct {
	h       *strictHost
	id      string
	control *os.File
	log     *os.File
	busy    bool
	closed  bool
}

func (h *strictHost) Strength() sandbox.Strength { return sandbox.Strength{Mode: "full"} }
func (h *strictHost) Remove(string) error        { return errors.New("not below the cache") }
func (h *strictHost) Share(string, int64) error  { return nil }
func (h *strictHost) Unshare(string) error       { return nil }

func (h *strictHost) Open(context.Context, sandbox.Template, sandbox.Limits) (Place, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.n++
	p := &strictPlace{h: h, id: strconv.Itoa(h.n), control: r, log: w}
	h.places[p.id] = p
	return p, nil
}

// use marks the place as in use until the function it returns is called.
func (p *strictPlace) use(what string) func() {
	p.h.mu.Lock()
	defer p.h.mu.Unlock()
	if p.closed || p.busy {
		p.h.t.Errorf("%s of slot %s: closed %v, in use %v", what, p.id, p.closed, p.busy)
	}
	p.busy = true
	return func() {
		p.h.mu.Lock()
		defer p.h.mu.Unlock()
		p.busy = false
	}
}

func (p *strictPlace) ID() string        { return p.id }
func (p *strictPlace) Users() (int, int) { return 1000, 1000 }
func (p *strictPlace) Files() (control, log *os.File, meters map[string]*os.File) {
	return p.control, p.log, nil
}

func (p *strictPlace) LastKill() (sandbox.Kill, bool) {
	defer p.use("question after the last kill")()
	return sandbox.Kill{}, false
}

func (p *strictPlace) SetLimits(sandbox.Limits) error {
	defer p.use("limits")()
	return nil
}

func (p *strictPlace) Kill() error {
	defer p.use("kill")()
	return nil
}

func (p *strictPlace) Close() error {
	defer p.use("close")()
	p.h.mu.Lock()
	defer p.h.mu.Unlock()
	p.closed = true
	delete(p.h.places, p.id)
	return nil
}

func (h *strictHost) left() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.places)
}

func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// serveStrict runs talk as the daemon and returns when the server has ended, with everything given back.
func serveStrict(t *testing.T, talk func(packet)) {
	t.Helper()
	before := descriptors(t)
	h := &strictHost{t: t, places: map[string]*strictPlace{}}
	ours, f, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := Conn(f)
	if err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	ended := make(chan error, 1)
	go func() { ended <- Serve(context.Background(), theirs, h, zerolog.Nop()) }()
	drained := make(chan struct{})
	go func() { // a daemon that does not read at all is hung up on after a time
		defer close(drained)
		buf := make([]byte, maxMessage+1)
		for {
			data, files, err := packet{ours}.receive(buf)
			closeAll(files)
			if err != nil {
				return
			}
			var r reply
			if err := decode(data, &r); err != nil {
				t.Errorf("the server said %q: %v", data, err)
			}
		}
	}()
	talk(packet{ours})
	_ = ours.CloseWrite()
	err = wait(t, ended)
	_ = ours.Close()
	<-drained
	if err != nil && !errors.Is(err, errMalformed) {
		t.Errorf("serve: %v", err)
	}
	if h.left() > 0 {
		t.Errorf("%d slots survive their daemon", h.left())
	}
	if after := descriptors(t); after != before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

// FuzzServer: a daemon that says anything, in any order, with or without descriptors, gets its slots destroyed once each and
// leaves nothing behind.
func FuzzServer(f *testing.F) {
	f.Add([]byte{1, 1, 2, 1, 2, 1, 0, 3, 1, 4, 1, 6, 1, 2, 1})
	f.Add([]byte{1, 1, 1, 1, 2, 4, 2, 4, 3, 4, 4, 4, 2, 4, 5, 5, 5})
	f.Add([]byte("\x07{\"id\":1,\"op\":\"open\",\"template\":{}}"))
	f.Add([]byte{1, 8, 3, 1, 1})
	f.Add([]byte{0, 9, 0})
	f.Add([]byte{1, 10, 10, 2, 1, 10})
	f.Fuzz(func(t *testing.T, script []byte) {
		if len(script) > 256 {
			return
		}
		serveStrict(t, func(p packet) {
			for id := uint64(1); len(script) > 0; id++ {
				op := script[0]
				script = script[1:]
				slot, rest := "1", script
				if op >= 2 && op <= 6 && len(script) > 0 {
					slot, rest = strconv.Itoa(int(script[0])), script[1:]
				}
				r := request{ID: id, Slot: slot, Template: &tmpl, Limits: &sandbox.Limits{}}
				var data []byte
				var rights []byte
				switch op {
				case 0:
					r.Op = opHello
				case 1:
					r.Op = opOpen
				case 2:
					r.Op = opClose
				case 3:
					r.Op = opKill
				case 4:
					r.Op = opLimits
				case 5:
					r.Op = opOOM
				case 6:
					r.Op, r.Path = opRemove, "/"+slot
				case 7:
					data, rest = script, nil // whatever it is
				case 8:
					rights = unix.UnixRights(0, 1, 2)
					r.Op = opHello
				case 9:
					data = make([]byte, maxMessage+1)
				case 10:
					r.Op, r.Permits = opPermit, &permits{List: []sandbox.Permit{{}, {}}, TTL: -1}
				default:
					r.Op, r.Slot = string(script), string(script)
					rest = nil
				}
				script = rest
				if data == nil {
					data, _ = json.Marshal(r)
				}
				if _, _, err := p.conn.WriteMsgUnix(data, rights, nil); err != nil {
					return // it has hung up
				}
			}
		})
	})
}

// TestRacesOnOneSlot: limits, kills and closes of the same slot come in a row, however they arrive, and none after its end.
func TestRacesOnOneSlot(t *testing.T) {
	serveStrict(t, func(p packet) {
		if err := p.send(request{ID: 1, Op: opOpen, Template: &tmpl, Limits: &sandbox.Limits{}}); err != nil {
			t.Fatal(err)
		}
		for id := uint64(2); id < 2000; id++ {
			r := request{ID: id, Slot: "1", Limits: &sandbox.Limits{}}
			r.Op = []string{opLimits, opKill, opOOM, opLimits}[id%4]
			if id%500 == 0 {
				r.Op = opClose
			}
			if id%300 == 0 { // another slot under way
				r = request{ID: id, Op: opOpen, Template: &tmpl, Limits: &sandbox.Limits{}}
			}
			if err := p.send(r); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestTooManySlots: a daemon can not have more slots than the helper grants one.
func TestTooManySlots(t *testing.T) {
	s := &server{slots: map[string]*held{}}
	for i := range maxSlots {
		s.slots[fmt.Sprint("held-", i)] = &held{}
	}
	if err := s.room(); err == nil {
		t.Error("there was room for one more")
	}
	delete(s.slots, "held-0")
	if err := s.room(); err != nil {
		t.Error(err)
	}
	if err := s.room(); err == nil {
		t.Error("one that is being opened was not counted")
	}
}
