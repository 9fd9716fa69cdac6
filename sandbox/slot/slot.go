// Package slot is the isolator with walls: slots that the helper (sandbox/jail) builds and the forker in them (sandbox/forker)
// fills with one process after the other. The daemon that uses it needs no privilege at all.
//
// Opening a slot costs tens of milliseconds: a container, a control group, a forker that boots. Starting a process in it costs
// about one: a message to the forker, and to the helper only when the process's limits differ from those of the slot's last
// one. What a process used and whether it ran out of memory is read from the control group's own files, which the helper opened
// and handed over (meter.go).
//
// The helper also hands over sockets that it opened inside of the slot's network namespace: a door, behind which Options.API serves
// and knows by the slot who asks (door.go), and those on which names are answered (services.go). What the slot contacts, the kernel
// tells on one more socket, which is read here for all slots (watch.go, contacts.go).
package slot

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/millrace/millrace/sandbox"
	"github.com/millrace/millrace/sandbox/forker"
	"github.com/millrace/millrace/sandbox/jail"
	"github.com/millrace/millrace/sandbox/resolver"
)

// helperTimeout bounds what is asked of the helper where no caller's context reaches.
const helperTimeout = 30 * time.Second

// namingTimeout bounds what a job's end waits for a detail of its record.
const namingTimeout = time.Second

// Options of an isolator.
type Options struct {
	// HelloTimeout bounds the boot of a zygote. Zero: the forker's default.
	HelloTimeout time.Duration
	// API serves a connection, a *Visit, that a process in a slot has made to the API listener in there. Nil: nobody does.
	API func(net.Conn)
	// Names says whom slots' questions for names are forwarded to.
	Names resolver.Config
	Log   zerolog.Logger
}

// Isolator implements sandbox.Isolator. Its methods may be called from any goroutine.
type Isolator struct {
	client   *jail.Client
	options  Options
	resolver *resolver.Resolver
	watch    *watch       // nil: slots can contact nothing
	helper   <-chan error // tells once how a helper of our own ended; nil: it is not ours

	mu     sync.Mutex
	slots  map[*Slot]struct{}
	closed bool
	ended  sync.Once // the helper's end was waited for
}

var (
	_ sandbox.Isolator = (*Isolator)(nil)
	_ sandbox.Sharer   = (*Isolator)(nil)
)

// Connect greets the helper behind conn and returns an isolator that owns the connection.
func Connect(ctx context.Context, conn *net.UnixConn, o Options) (*Isolator, error) {
	client, err := jail.Dial(ctx, conn)
	if err != nil {
		return nil, err
	}
	return New(client, o), nil
}

// New returns an isolator that owns client.
func New(client *jail.Client, o Options) *Isolator {
	i := &Isolator{client: client, options: o, resolver: resolver.New(o.Names), slots: map[*Slot]struct{}{}}
	if f := client.Watch(); f != nil {
		i.watch = newWatch(f)
	}
	go func() {
		// Without the helper nobody limits the slots or cleans up after them: the forkers, which only we hold, must go.
		<-client.Done()
		for _, s := range i.all(false) {
			_ = s.forker.Close()
		}
	}()
	return i
}

// Strength implements sandbox.Isolator.
func (i *Isolator) Strength() sandbox.Strength { return i.client.Strength() }

// Done is closed when the helper is gone; no slot can be opened any more.
func (i *Isolator) Done() <-chan struct{} { return i.client.Done() }

// Remove removes a file or folder below the cache folder of the helper, also what a build wrote as another user.
func (i *Isolator) Remove(ctx context.Context, path string) error { return i.client.Remove(ctx, path) }

// Share implements sandbox.Sharer.
func (i *Isolator) Share(ctx context.Context, name string, size int64) error {
	return i.client.Share(ctx, name, size)
}

// Unshare implements sandbox.Sharer.
func (i *Isolator) Unshare(ctx context.Context, name string) error {
	return i.client.Unshare(ctx, name)
}

// Open implements sandbox.Isolator.
func (i *Isolator) Open(ctx context.Context, t sandbox.Template) (sandbox.Slot, error) {
	limits := sandbox.Limits{}.WithDefaults()
	o, err := i.client.Open(ctx, t, limits)
	if err != nil {
		return nil, err
	}
	s := &Slot{isolator: i, name: o.Slot, limits: limits, meter: newMeter(o.Meters)}
	s.tail = follow(o.Log, i.options.Log.With().Str("slot", o.Slot).Str("template", t.Name).Logger())
	if s.services, err = i.openServices(t, o); err != nil {
		_ = o.Control.Close()
		return nil, errors.Join(err, s.discard())
	}
	if err := s.greet(ctx, o); err != nil {
		err = fmt.Errorf("open slot %s: %w", t.Name, err)
		return nil, errors.Join(err, s.discard())
	}
	i.mu.Lock()
	i.slots[s] = struct{}{}
	closed := i.closed
	i.mu.Unlock()
	if closed {
		return nil, errors.Join(errors.New("open slot: the isolator is closed"), s.Close())
	}
	return s, nil
}

// all returns the open slots, and on request lets none be opened any more.
func (i *Isolator) all(close bool) []*Slot {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.closed = i.closed || close
	out := make([]*Slot, 0, len(i.slots))
	for s := range i.slots {
		out = append(out, s)
	}
	return out
}

// Close implements sandbox.Isolator: it closes all slots, hangs up, and waits for a helper of its own.
func (i *Isolator) Close() error {
	slots := i.all(true)
	errs := make([]error, len(slots))
	var wg sync.WaitGroup
	for n, s := range slots {
		wg.Go(func() { errs[n] = s.Close() })
	}
	wg.Wait()
	errs = append(errs, i.client.Close())
	if i.watch != nil {
		i.watch.close()
	}
	i.ended.Do(func() {
		if i.helper != nil {
			errs = append(errs, <-i.helper)
		}
	})
	return errors.Join(errs...)
}

// Slot implements sandbox.Slot.
type Slot struct {
	isolator *Isolator
	name     string
	forker   *forker.Client
	tail     *tail
	services *services

	limits sandbox.Limits // Start and the forker's AfterExit take turns with it: one process at a time
	meter  *meter

	closeOnce sync.Once
	closeErr  error
}

var (
	_ sandbox.Slot   = (*Slot)(nil)
	_ sandbox.Holder = (*Slot)(nil)

	_ sandbox.Networked = (*Slot)(nil)
)

// greet waits for the forker to be ready.
func (s *Slot) greet(ctx context.Context, o jail.Opened) error {
	c, err := net.FileConn(o.Control)
	_ = o.Control.Close()
	if err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	conn, ok := c.(*net.UnixConn)
	if !ok {
		return errors.Join(errors.New("control socket is not a Unix socket"), c.Close())
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	s.forker, err = forker.New(conn, forker.Options{
		UID: uint32(o.UID), GID: uint32(o.GID), Rootless: o.UID == 0, RlimitPids: len(o.Meters) == 0,
		HelloTimeout: s.isolator.options.HelloTimeout, BeforeStart: s.beforeStart, AfterExit: s.afterExit, UsageNow: s.usageNow,
	})
	return errors.Join(ctx.Err(), err)
}

func (s *Slot) beforeStart(l sandbox.Limits) error {
	s.meter.makeRoom(l.Memory)
	if kernel(l) != kernel(s.limits) {
		ctx, cancel := context.WithTimeout(context.Background(), helperTimeout)
		defer cancel()
		if err := s.isolator.client.SetLimits(ctx, s.name, l); err != nil {
			return err
		}
		s.limits = l
	}
	s.meter.start()
	return nil
}

// kernel is the part of l that the control group enforces.
func kernel(l sandbox.Limits) sandbox.Limits {
	return sandbox.Limits{Memory: l.Memory, Swap: l.Swap, Pids: l.Pids, CPU: l.CPU, IO: l.IO}
}

func (s *Slot) afterExit(e *sandbox.Exit) {
	e.Usage = s.named(s.meter.stop(e.Usage))
	e.OOM = e.Usage.OOMKills > 0
}

func (s *Slot) usageNow() sandbox.Usage { return s.named(s.meter.now()) }

// named asks the helper, which may read the kernel's log, for the process that was killed for lack of memory if one was.
func (s *Slot) named(u sandbox.Usage) sandbox.Usage {
	if u.OOMKills == 0 {
		return u
	}
	u.OOM = s.meter.killed(u.OOMKills, func() *sandbox.Kill {
		ctx, cancel := context.WithTimeout(context.Background(), namingTimeout)
		defer cancel()
		k, err := s.isolator.client.Killed(ctx, s.name)
		if err != nil {
			s.isolator.options.Log.Debug().Err(err).Str("slot", s.name).Msg("ask for what was killed")
		}
		return k
	})
	return u
}

// Start implements sandbox.Slot.
func (s *Slot) Start(ctx context.Context, spec sandbox.Spec) (sandbox.Process, error) {
	return s.forker.Start(ctx, spec)
}

// Hold implements sandbox.Holder.
func (s *Slot) Hold(ctx context.Context, l sandbox.Limits) (sandbox.Held, error) {
	return s.forker.Hold(ctx, l)
}

// Done implements sandbox.Slot.
func (s *Slot) Done() <-chan struct{} { return s.forker.Done() }

// Close implements sandbox.Slot.
func (s *Slot) Close() error {
	s.closeOnce.Do(func() {
		s.isolator.mu.Lock()
		delete(s.isolator.slots, s)
		s.isolator.mu.Unlock()
		s.closeErr = s.discard()
	})
	return s.closeErr
}

func (s *Slot) discard() error {
	var err error
	if s.forker != nil {
		err = s.forker.Close()
	}
	s.services.close() // the helper may use the namespace again, and finds no socket of ours in it
	ctx, cancel := context.WithTimeout(context.Background(), helperTimeout)
	defer cancel()
	cerr := s.isolator.client.CloseSlot(ctx, s.name)
	if errors.Is(cerr, jail.ErrGone) {
		cerr = nil // the helper destroys, or has destroyed, all slots
	}
	s.meter.close()
	err = errors.Join(err, cerr)
	if said := s.tail.wait(); s.forker == nil && said != "" {
		err = errors.Join(err, fmt.Errorf("the slot said: %s", said))
	}
	return err
}
