package jail

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/sandbox"
)

// fakeHost makes places of pipes.
type fakeHost struct {
	t    *testing.T
	gate chan struct{} // when set, Open waits for it

	mu      sync.Mutex
	n       int
	open    map[string]*fakePlace
	limits  []float64
	removed []string
	folders map[string]int64
}

type fakePlace struct {
	h     *fakeHost
	id    string
	files [4]*os.File
	far   [4]*os.File
}

func (h *fakeHost) Strength() sandbox.Strength {
	return sandbox.Strength{Mode: "full", Lacks: []sandbox.Lack{{What: "w"}}}
}

func (h *fakeHost) Open(_ context.Context, t sandbox.Template, _ sandbox.Limits) (Place, error) {
	if h.gate != nil {
		<-h.gate
	}
	if t.Name == "fail" {
		return nil, errors.New("no such luck")
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.n++
	p := &fakePlace{h: h, id: strconv.Itoa(h.n)}
	for i := range p.files {
		if i == 2 && t.Name == "nopeak" {
			continue
		}
		r, w, err := os.Pipe()
		if err != nil {
			h.t.Error(err)
		}
		p.files[i], p.far[i] = r, w
		if _, err := w.WriteString(strconv.Itoa(i)); err != nil {
			h.t.Error(err)
		}
	}
	h.open[p.id] = p
	return p, nil
}

func (h *fakeHost) Share(name string, size int64) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.folders == nil {
		h.folders = map[string]int64{}
	}
	h.folders[name] = size
	return nil
}

func (h *fakeHost) Unshare(name string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.folders, name)
	return nil
}

func (h *fakeHost) Remove(path string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.removed = append(h.removed, path)
	return nil
}

func (h *fakeHost) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.open)
}

// seen are the limits that were set and the paths that were removed.
func (h *fakeHost) seen() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return fmt.Sprint(h.limits, h.removed)
}

func (p *fakePlace) ID() string        { return p.id }
func (p *fakePlace) Users() (int, int) { return 1000, 1001 }
func (p *fakePlace) Files() (control, log *os.File, meters map[string]*os.File) {
	meters = map[string]*os.File{"events": p.files[3]}
	if p.files[2] != nil {
		meters["peak"] = p.files[2]
	}
	return p.files[0], p.files[1], meters
}

func (p *fakePlace) LastKill() (sandbox.Kill, bool) {
	return sandbox.Kill{Command: "glutton", Memory: 7}, p.id == "1"
}

func (p *fakePlace) SetLimits(l sandbox.Limits) error {
	p.h.mu.Lock()
	defer p.h.mu.Unlock()
	p.h.limits = append(p.h.limits, l.CPU)
	return nil
}
func (p *fakePlace) Kill() error { return nil }
func (p *fakePlace) Close() error {
	p.h.mu.Lock()
	defer p.h.mu.Unlock()
	if p.h.open[p.id] != p {
		p.h.t.Errorf("slot %s closed twice", p.id)
	}
	delete(p.h.open, p.id)
	closeAll(p.far[:])
	return nil
}

// serveFake returns our end of a served connection and a channel that tells how serving ended.
func serveFake(t *testing.T, h *fakeHost) (*net.UnixConn, <-chan error) {
	t.Helper()
	h.t, h.open = t, map[string]*fakePlace{}
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
	t.Cleanup(func() { _ = ours.Close() })
	return ours, ended
}

func dial(t *testing.T, h *fakeHost) (*Client, <-chan error) {
	t.Helper()
	conn, ended := serveFake(t, h)
	c, err := Dial(context.Background(), conn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c, ended
}

var tmpl = sandbox.Template{Name: "exec", Network: sandbox.NetworkNone}

func wait(t *testing.T, ended <-chan error) error {
	t.Helper()
	select {
	case err := <-ended:
		return err
	case <-time.After(10 * time.Second):
		t.Fatal("the server does not end")
		return nil
	}
}

func TestConversation(t *testing.T) {
	h := &fakeHost{}
	c, ended := dial(t, h)
	ctx := context.Background()
	if s := c.Strength(); s.Mode != "full" || len(s.Lacks) != 1 {
		t.Errorf("%+v", s)
	}
	o, err := c.Open(ctx, tmpl, sandbox.Limits{Memory: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	if o.UID != 1000 || o.GID != 1001 {
		t.Errorf("%+v", o)
	}
	for i, f := range []*os.File{o.Control, o.Log, o.Meters["peak"], o.Meters["events"]} {
		buf := make([]byte, 8)
		if n, err := f.Read(buf); err != nil || string(buf[:n]) != strconv.Itoa(i) {
			t.Errorf("descriptor %d: %q %v", i, buf[:n], err)
		}
	}
	o.Close()
	without := tmpl
	without.Name = "nopeak"
	o2, err := c.Open(ctx, without, sandbox.Limits{})
	if err != nil || o2.Meters["peak"] != nil || o2.Meters["events"] == nil {
		t.Errorf("%+v %v", o2, err)
	}
	o2.Close()
	if k, err := c.Killed(ctx, o.Slot); err != nil || k == nil || *k != (sandbox.Kill{Command: "glutton", Memory: 7}) {
		t.Errorf("killed in the first slot: %+v %v", k, err)
	}
	if k, err := c.Killed(ctx, o2.Slot); err != nil || k != nil {
		t.Errorf("killed in the second slot: %+v %v", k, err)
	}
	if err := c.SetLimits(ctx, o.Slot, sandbox.Limits{CPU: 0.5}); err != nil || h.seen() != "[0.5] []" {
		t.Errorf("%v %s", err, h.seen())
	}
	if err := c.Kill(ctx, o.Slot); err != nil {
		t.Error(err)
	}
	if err := c.Remove(ctx, "/cache/x"); err != nil || h.seen() != "[0.5] [/cache/x]" {
		t.Errorf("%v %s", err, h.seen())
	}
	if err := c.CloseSlot(ctx, o.Slot); err != nil {
		t.Error(err)
	}
	for _, err := range []error{c.CloseSlot(ctx, o.Slot), c.Kill(ctx, "77"), c.Kill(ctx, "../x"), c.SetLimits(ctx, o2.Slot, sandbox.Limits{Memory: -1})} {
		if err == nil {
			t.Error("bad request accepted")
		}
	}
	bad := tmpl
	bad.Name = "fail"
	if _, err := c.Open(ctx, bad, sandbox.Limits{}); err == nil || !strings.Contains(err.Error(), "no such luck") {
		t.Errorf("%v", err)
	}
	if h.count() != 1 {
		t.Errorf("%d slots open", h.count())
	}
	_ = c.Close()
	if err := wait(t, ended); err != nil {
		t.Error(err)
	}
	if h.count() != 0 {
		t.Error("slots survive their client")
	}
	if err := c.Kill(ctx, "1"); !errors.Is(err, ErrGone) {
		t.Errorf("%v", err)
	}
}

func TestGivenUpOpen(t *testing.T) {
	h := &fakeHost{gate: make(chan struct{})}
	c, _ := dial(t, h)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := c.Open(ctx, tmpl, sandbox.Limits{}); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	close(h.gate)
	o, err := c.Open(context.Background(), tmpl, sandbox.Limits{}) // answered after the slot that nobody wanted
	if err != nil {
		t.Fatal(err)
	}
	o.Close()
	for end := time.Now().Add(10 * time.Second); h.count() != 1; { // the close of the first is on its way
		if time.Now().After(end) {
			t.Fatalf("%d slots open", h.count())
		}
		if err := c.Kill(context.Background(), o.Slot); err != nil {
			t.Fatal(err)
		}
	}
}

func TestConcurrentClients(t *testing.T) {
	h := &fakeHost{}
	c, _ := dial(t, h)
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			o, err := c.Open(context.Background(), tmpl, sandbox.Limits{})
			if err != nil {
				t.Error(err)
				return
			}
			o.Close()
			if err := c.CloseSlot(context.Background(), o.Slot); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if h.count() != 0 {
		t.Errorf("%d slots open", h.count())
	}
}

// TestMalformed: who does not speak the protocol is hung up on, and its slots go.
func TestMalformed(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	for name, m := range map[string]struct {
		data   []byte
		rights []byte
	}{
		"not json":      {data: []byte("hello")},
		"unknown field": {data: []byte(`{"id":1,"op":"hello","shell":"/bin/sh"}`)},
		"two objects":   {data: []byte(`{"id":1,"op":"hello"}{}`)},
		"too long":      {data: []byte(`{"id":1,"op":"` + strings.Repeat("x", maxMessage) + `"}`)},
		"descriptors":   {data: []byte(`{"id":1,"op":"hello"}`), rights: unix.UnixRights(int(r.Fd()), int(w.Fd()))},
		"many of them":  {data: []byte(`{"id":1,"op":"hello"}`), rights: unix.UnixRights(0, 1, 2, 0, 1, 2, 0, 1, 2)},
	} {
		t.Run(name, func(t *testing.T) {
			h := &fakeHost{}
			conn, ended := serveFake(t, h)
			open, err := json.Marshal(request{ID: 9, Op: opOpen, Template: &tmpl, Limits: &sandbox.Limits{}})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Write(open); err != nil {
				t.Fatal(err)
			}
			if _, files, err := (packet{conn}).receive(make([]byte, maxMessage)); err != nil || len(files) != 4 {
				t.Fatal(err)
			} else {
				closeAll(files)
			}
			if _, _, err := conn.WriteMsgUnix(m.data, m.rights, nil); err != nil {
				t.Fatal(err)
			}
			if err := wait(t, ended); !errors.Is(err, errMalformed) {
				t.Errorf("%v", err)
			}
			if h.count() != 0 {
				t.Error("its slot survives")
			}
			if _, err := io.ReadAll(conn); err != nil && !errors.Is(err, unix.ECONNRESET) {
				t.Error(err)
			}
		})
	}
}

func TestCheckRefuses(t *testing.T) {
	long := strings.Repeat("x", maxPath+1)
	l := &sandbox.Limits{}
	with := func(f func(*sandbox.Template)) request {
		c := tmpl
		f(&c)
		return request{Op: opOpen, Template: &c, Limits: l}
	}
	for name, r := range map[string]request{
		"no op": {}, "unknown op": {Op: "chown"}, "open nothing": {Op: opOpen}, "open without limits": {Op: opOpen, Template: &tmpl},
		"limits of nothing": {Op: opLimits, Slot: "1"}, "slot with path": {Op: opClose, Slot: "../1"}, "no path": {Op: opRemove},
		"long path":       {Op: opRemove, Path: long},
		"negative memory": {Op: opLimits, Slot: "1", Limits: &sandbox.Limits{Memory: -1}},
		"tiny memory":     {Op: opLimits, Slot: "1", Limits: &sandbox.Limits{Memory: 4096}},
		"many pids":       {Op: opLimits, Slot: "1", Limits: &sandbox.Limits{Pids: 1 << 30}},
		"negative swap":   {Op: opLimits, Slot: "1", Limits: &sandbox.Limits{Swap: -1}},
		"endless swap":    {Op: opLimits, Slot: "1", Limits: &sandbox.Limits{Swap: 1 << 62}},
		"negative I/O":    {Op: opLimits, Slot: "1", Limits: &sandbox.Limits{IO: -1}},
		"killed nowhere":  {Op: opOOM},
		"negative cpu":    {Op: opLimits, Slot: "1", Limits: &sandbox.Limits{CPU: -1}},
		"name":            with(func(t *sandbox.Template) { t.Name = "a/b" }),
		"network":         with(func(t *sandbox.Template) { t.Network = "bridge" }),
		"zygote path":     with(func(t *sandbox.Template) { t.Zygote = []string{"python3"} }),
		"zygote NUL":      with(func(t *sandbox.Template) { t.Zygote = []string{"/a", "b\x00c"} }),
		"zygote args":     with(func(t *sandbox.Template) { t.Zygote = make([]string, maxArgs+1) }),
		"variable":        with(func(t *sandbox.Template) { t.ZygoteEnv = []string{"NOVALUE"} }),
		"variable NUL":    with(func(t *sandbox.Template) { t.ZygoteEnv = []string{"A=\x00"} }),
		"their variable":  with(func(t *sandbox.Template) { t.ZygoteEnv = []string{"_LIBCONTAINER_INITPIPE=3"} }),
		"device path":     with(func(t *sandbox.Template) { t.Devices = []string{"/dev/mem"} }),
		"device twice":    with(func(t *sandbox.Template) { t.Devices = []string{"0000:17:00.0", "0000:17:00.0"} }),
		"long bind":       with(func(t *sandbox.Template) { t.Binds = []sandbox.Bind{{Source: long}} }),
	} {
		if err := r.check(); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if err := with(func(t *sandbox.Template) { t.Zygote, t.ZygoteEnv = []string{"/usr/bin/python3", "-I"}, []string{"A=b"} }).check(); err != nil {
		t.Error(err)
	}
}

func TestConnRefuses(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if _, err := Conn(r); err == nil {
		t.Error("took a pipe for a socket")
	}
}

func FuzzRequest(f *testing.F) {
	for _, r := range []request{
		{ID: 1, Op: opHello}, {ID: 2, Op: opOpen, Template: &tmpl, Limits: &sandbox.Limits{Memory: 1 << 30, CPU: 0.5}},
		{ID: 3, Op: opLimits, Slot: "12", Limits: &sandbox.Limits{}}, {ID: 4, Op: opRemove, Path: "/x/y"}, {ID: 5, Op: opClose, Slot: "1"}, {ID: 7, Op: opOOM, Slot: "1"},
		{ID: 6, Op: opOpen, Limits: &sandbox.Limits{}, Template: &sandbox.Template{Name: "p", Network: "host", Zygote: []string{"/a"},
			ZygoteEnv: []string{"A=b"}, Binds: []sandbox.Bind{{Source: "/a", Target: "/deps", Writable: true}}, Build: true, Tenant: "t"}},
	} {
		data, err := json.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"id":-1,"op":"open","template":null}`))
	f.Add([]byte(`{"op":"limits","slot":"1","limits":{"CPU":1e400}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := decodeRequest(data)
		if err != nil {
			if !errors.Is(err, errMalformed) {
				t.Errorf("%v", err)
			}
			return
		}
		if r.check() != nil {
			return
		}
		// What passed is safe to act on.
		if r.Slot != "" && r.Op != opOpen && r.Op != opHello && r.Op != opRemove && strings.ContainsAny(r.Slot, "/.\x00") {
			t.Errorf("slot %q", r.Slot)
		}
		if r.Op == opOpen {
			if strings.ContainsAny(r.Template.Name, "/\x00") || r.Template.Name[0] == '.' {
				t.Errorf("name %q", r.Template.Name)
			}
			for _, s := range append(r.Template.Zygote, r.Template.ZygoteEnv...) {
				if strings.ContainsRune(s, 0) {
					t.Errorf("NUL in %q", s)
				}
			}
		}
		if _, err := json.Marshal(r); err != nil {
			t.Errorf("does not encode again: %v", err)
		}
	})
}
