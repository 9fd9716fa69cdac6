package jail

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/semaphore"

	"github.com/millrace/millrace/sandbox"
)

// Host is what the server needs of the machine.
type Host interface {
	Strength() sandbox.Strength
	// Open makes a slot; its template has passed the checks of this package, its binds have not been checked.
	Open(context.Context, sandbox.Template, sandbox.Limits) (Place, error)
	Remove(path string) error
	// Share makes a folder that slots can be opened with, Unshare takes it away; names have passed the checks of this package.
	Share(name string, size int64) error
	Unshare(name string) error
	// API is where slots without the host's network find the API, not valid where they can not; Watch tells what slots contact,
	// nil where they can contact nothing.
	API() netip.AddrPort
	Watch() *os.File
}

// Place is an open slot.
type Place interface {
	ID() string
	// Users are the uid and gid of jobs as seen inside.
	Users() (uid, gid int)
	// Files are what the daemon gets, meters by their names (see sandbox/cgroup). The server closes its copies after sending them.
	Files() (control, log *os.File, meters map[string]*os.File)
	// LastKill is the process of the slot that was last killed for lack of memory since it was asked; false: not known.
	LastKill() (sandbox.Kill, bool)
	// Inside are sockets that wait inside of the slot, by name ("api", "dns", "dns-stream"), and the link that Watch names it by.
	// The server closes its copies.
	Inside() (sockets map[string]*os.File, link int)
	Permit(list []sandbox.Permit, ttl time.Duration) error
	SetLimits(sandbox.Limits) error
	Kill() error
	Close() error
}

// Bounds of what one daemon can have the helper do at the same time. Opening takes tens of milliseconds of CPU time.
const (
	maxOpening = 4
	maxWorking = 64
	maxSlots   = 1024
	maxFolders = 1024
)

// Serve answers requests on conn until it ends, then destroys every slot. It returns nil when the client hung up.
func Serve(ctx context.Context, conn *net.UnixConn, host Host, log zerolog.Logger) error {
	s := &server{conn: packet{conn}, host: host, log: log, slots: map[string]*held{}, folders: map[string]bool{},
		opening: semaphore.NewWeighted(maxOpening), working: semaphore.NewWeighted(maxWorking)}
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	err := s.read(ctx)
	stop()
	cancel()
	_ = conn.Close()
	s.requests.Wait()
	return errors.Join(err, s.destroyAll(), s.unshareAll())
}

type server struct {
	conn     packet
	host     Host
	log      zerolog.Logger
	opening  *semaphore.Weighted
	working  *semaphore.Weighted
	requests sync.WaitGroup

	sendMu sync.Mutex // one reply at a time, so that a write deadline belongs to one

	mu       sync.Mutex
	slots    map[string]*held
	folders  map[string]bool // that are shared
	underway int             // slots that are being opened
}

// held is a slot of this client. Its mutex puts requests for the slot in a row.
type held struct {
	mu    sync.Mutex
	place Place
}

func (s *server) read(ctx context.Context) error {
	buf := make([]byte, maxMessage+1)
	for {
		data, files, err := s.conn.receive(buf)
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
				return nil
			}
			return err
		}
		if len(files) > 0 { // a client never sends any
			closeAll(files)
			return fmt.Errorf("%w: unexpected descriptors", errMalformed)
		}
		r, err := decodeRequest(data)
		if err != nil {
			return err
		}
		if err := s.working.Acquire(ctx, 1); err != nil {
			return nil
		}
		s.requests.Go(func() {
			defer s.working.Release(1)
			s.answer(ctx, r)
		})
	}
}

// answer does what r asks and sends exactly one reply.
func (s *server) answer(ctx context.Context, r request) {
	var files []*os.File
	out, err := reply{}, r.check()
	if err == nil {
		out, files, err = s.do(ctx, r)
	}
	out.ID = r.ID
	if err != nil {
		out = reply{ID: r.ID, Error: err.Error()}
		s.log.Warn().Err(err).Str("op", clip(r.Op)).Msg("request refused")
	}
	s.sendMu.Lock()
	defer s.sendMu.Unlock()
	defer closeAll(files)
	if err := s.conn.send(out, files...); err != nil && ctx.Err() == nil {
		s.log.Warn().Err(err).Msg("reply lost")
		_ = s.conn.conn.Close() // the client waits for it in vain, and its slots must not outlive it
	}
}

func (s *server) do(ctx context.Context, r request) (reply, []*os.File, error) {
	switch r.Op {
	case opHello:
		return s.hello()
	case opOpen:
		return s.open(ctx, r)
	case opLimits:
		return reply{}, nil, s.with(r.Slot, func(p Place) error { return p.SetLimits(*r.Limits) })
	case opKill:
		return reply{}, nil, s.with(r.Slot, func(p Place) error { return p.Kill() })
	case opClose:
		return reply{}, nil, s.close(r.Slot)
	case opPermit:
		return reply{}, nil, s.with(r.Slot, func(p Place) error { return p.Permit(r.Permits.List, r.Permits.TTL) })
	case opShare:
		return reply{}, nil, s.share(r.Folder, r.Size)
	case opUnshare:
		return reply{}, nil, s.unshare(r.Folder)
	case opOOM:
		var out reply
		err := s.with(r.Slot, func(p Place) error {
			if k, ok := p.LastKill(); ok {
				out.Killed = &k
			}
			return nil
		})
		return out, nil, err
	default: // opRemove: check has let no other pass
		return reply{}, nil, s.host.Remove(r.Path)
	}
}

func (s *server) open(ctx context.Context, r request) (reply, []*os.File, error) {
	if err := s.opening.Acquire(ctx, 1); err != nil {
		return reply{}, nil, err
	}
	defer s.opening.Release(1)
	if err := s.room(); err != nil {
		return reply{}, nil, err
	}
	p, err := s.host.Open(ctx, *r.Template, *r.Limits)
	s.mu.Lock()
	s.underway--
	if err == nil {
		s.slots[p.ID()] = &held{place: p}
	}
	s.mu.Unlock()
	if err != nil {
		return reply{}, nil, err
	}
	control, log, meters := p.Files()
	out := reply{Slot: p.ID()}
	out.UID, out.GID = p.Users()
	files := []*os.File{control, log}
	for _, name := range slices.Sorted(maps.Keys(meters)) {
		files, out.Meters = append(files, meters[name]), append(out.Meters, name)
	}
	inside, link := p.Inside()
	for _, name := range slices.Sorted(maps.Keys(inside)) {
		files, out.Inside = append(files, inside[name]), append(out.Inside, name)
	}
	out.Link = link
	return out, files, nil
}

// room counts a slot that is about to be opened.
func (s *server) room() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.slots)+s.underway >= maxSlots {
		return fmt.Errorf("one daemon can have no more than %d slots", maxSlots)
	}
	s.underway++
	return nil
}

// with calls f with the slot, alone.
func (s *server) with(slot string, f func(Place) error) error {
	s.mu.Lock()
	h := s.slots[slot]
	s.mu.Unlock()
	if h == nil {
		return fmt.Errorf("no slot %s", slot)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.place == nil {
		return fmt.Errorf("no slot %s", slot)
	}
	return f(h.place)
}

func (s *server) close(slot string) error {
	s.mu.Lock()
	h := s.slots[slot]
	delete(s.slots, slot)
	s.mu.Unlock()
	if h == nil {
		return fmt.Errorf("no slot %s", slot)
	}
	return h.destroy()
}

func (h *held) destroy() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.place
	h.place = nil
	if p == nil {
		return nil
	}
	return p.Close()
}

func (s *server) destroyAll() error {
	s.mu.Lock()
	left := s.slots
	s.slots = map[string]*held{}
	s.mu.Unlock()
	var wg sync.WaitGroup
	errs := make(chan error, len(left))
	for _, h := range left {
		wg.Go(func() { errs <- h.destroy() })
	}
	wg.Wait()
	close(errs)
	var all []error
	for err := range errs {
		all = append(all, err)
	}
	return errors.Join(all...)
}
