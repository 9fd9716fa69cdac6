package slot

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/millrace/millrace/sandbox"
	"github.com/millrace/millrace/sandbox/jail"
	"github.com/millrace/millrace/sandbox/resolver"
)

// services is what serves a slot on the sockets in its network namespace, and what it contacts. Parts that a slot does not have are
// nil.
type services struct {
	isolator *Isolator
	slot     string
	link     int
	allow    []sandbox.Allow // nil: everything
	door     *door
	names    *resolver.Server
	contacts contacts
}

// openServices takes over the sockets of o.
func (i *Isolator) openServices(t sandbox.Template, o jail.Opened) (in *services, err error) {
	in = &services{isolator: i, slot: o.Slot, link: o.Link}
	defer func() {
		for _, f := range o.Inside { // those that nobody took
			_ = f.Close()
		}
		if err != nil {
			in.close()
		}
	}()
	if t.Allow != nil {
		if in.allow, err = sandbox.ParseAllows(t.Allow); err != nil {
			return nil, err
		}
	}
	if in.link != 0 && i.watch != nil {
		i.watch.sync() // what is told of the link's last slot is not this one's
		i.watch.add(in.link, &in.contacts)
	}
	if api := o.Inside["api"]; api != nil && i.options.API != nil {
		delete(o.Inside, "api")
		if in.door, err = openDoor(api, i.options.API); err != nil {
			return nil, fmt.Errorf("API in the slot: %w", err)
		}
	}
	if dns, stream := o.Inside["dns"], o.Inside["dns-stream"]; dns != nil && stream != nil {
		if err := in.serveNames(dns, stream); err != nil {
			return nil, fmt.Errorf("resolver in the slot: %w", err)
		}
	}
	return in, nil
}

func (in *services) serveNames(dns, stream *os.File) error {
	pc, err1 := net.FilePacketConn(dns)
	l, err2 := net.FileListener(stream)
	if err := errors.Join(err1, err2); err != nil {
		if pc != nil {
			_ = pc.Close()
		}
		if l != nil {
			_ = l.Close()
		}
		return err
	}
	in.names = in.isolator.resolver.Serve(pc, l, in)
	return nil
}

func (in *services) close() {
	if in == nil {
		return
	}
	if in.door != nil {
		in.door.close()
	}
	if in.names != nil {
		in.names.Close()
	}
	if in.link != 0 && in.isolator.watch != nil {
		in.isolator.watch.remove(in.link, &in.contacts)
	}
}

// May implements resolver.Slot.
func (in *services) May(name string) bool {
	if in.allow == nil {
		return true
	}
	for _, a := range in.allow {
		if a.Covers(name) {
			return true
		}
	}
	return false
}

// Asked implements resolver.Slot.
func (in *services) Asked(name string, refused bool) { in.contacts.asked(name, refused) }

// maxAnswer is how many addresses of one name are let through.
const maxAnswer = 16

// Answered implements resolver.Slot: what an allowed name resolves to is let through before the slot knows it.
func (in *services) Answered(ctx context.Context, name string, list []netip.Addr, ttl time.Duration) error {
	in.contacts.answered(name, list)
	if in.allow == nil {
		return nil
	}
	var permits []sandbox.Permit
	for _, a := range in.allow {
		if !a.Covers(name) {
			continue
		}
		for _, address := range list[:min(len(list), maxAnswer)] {
			permits = append(permits, sandbox.Permit{Address: address, Port: a.Port})
		}
	}
	for len(permits) > 0 {
		n := min(len(permits), maxAnswer)
		if err := in.isolator.client.Permit(ctx, in.slot, permits[:n], ttl); err != nil {
			return err
		}
		permits = permits[n:]
	}
	return nil
}

// Begin implements sandbox.Networked. What was contacted on nobody's behalf, such as by an import that was done ahead, is forgotten.
func (s *Slot) Begin(visitor any) {
	s.contacted()
	if s.services.door != nil {
		s.services.door.begin(visitor)
	}
}

// End implements sandbox.Networked.
func (s *Slot) End() []sandbox.Contact {
	if s.services.door != nil {
		s.services.door.end()
	}
	return s.contacted()
}

func (s *Slot) contacted() []sandbox.Contact {
	if s.services.link == 0 {
		return nil
	}
	if s.isolator.watch != nil {
		s.isolator.watch.sync()
	}
	return s.services.contacts.take()
}

// API is where slots without the host's network find the API; not valid: they do not.
func (i *Isolator) API() netip.AddrPort {
	if i.options.API == nil {
		return netip.AddrPort{}
	}
	return i.client.API()
}
