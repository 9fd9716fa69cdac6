package oci

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/millrace/millrace/sandbox"
	"github.com/millrace/millrace/sandbox/network"
)

// DefaultAPI is where a slot without the host's network finds the daemon's API, on its own loopback.
var DefaultAPI = netip.MustParseAddrPort("127.0.0.1:8000")

// openEgress makes slots with sandbox.NetworkEgress possible, or says why they are not.
func (h *Host) openEgress() error {
	no := func(why, fix string) {
		h.lacks = append(h.lacks, sandbox.Lack{What: sandbox.LackEgress, Why: why, Fix: fix})
	}
	if h.rootless {
		no("the helper does not run as root, and links and packet filters are root's", "start the daemon as root, or install the package")
		return nil
	}
	var err error
	if h.egress, err = network.Open(h.config.Egress); err == nil {
		h.watch, err = h.egress.Watch()
	}
	var impossible *network.Impossible
	switch {
	case errors.As(err, &impossible):
		no(impossible.Why, impossible.Fix)
	case err != nil && h.egress != nil:
		no(err.Error(), "use a kernel with nfnetlink_log")
		err = h.egress.Close()
		h.egress = nil
		return err
	case err != nil:
		return err // a wrong configuration
	}
	return nil
}

func (h *Host) closeEgress() error {
	var err error
	if h.watch != nil {
		err = h.watch.Close()
	}
	if h.egress != nil {
		err = errors.Join(err, h.egress.Close())
	}
	return err
}

// Watch is the socket that tells what slots contact (see network.Egress.Watch), nil without egress. It stays the host's.
func (h *Host) Watch() *os.File { return h.watch }

// API is where a slot without the host's network finds the daemon's API; not valid where the helper can not open it.
func (h *Host) API() netip.AddrPort {
	if h.rootless {
		return netip.AddrPort{}
	}
	return h.config.API
}

// takePlace gets the network of a slot with sandbox.NetworkEgress.
func (s *Slot) takePlace(t sandbox.Template) (path string, err error) {
	if t.Network != sandbox.NetworkEgress {
		return "", nil
	}
	if s.host.egress == nil {
		for _, l := range s.host.lacks {
			if l.What == sandbox.LackEgress {
				return "", fmt.Errorf("network egress is not possible on this host: %s (%s)", l.Why, l.Fix)
			}
		}
		return "", errors.New("network egress is not possible on this host")
	}
	var allow []sandbox.Allow
	if t.Allow != nil {
		if allow, err = sandbox.ParseAllows(t.Allow); err != nil {
			return "", fmt.Errorf("allow-list: %w", err)
		}
	}
	if s.place, err = s.host.egress.Take(allow); err != nil {
		return "", err
	}
	return s.place.Path(), nil
}

// listen opens the sockets inside of the slot. Its namespace is looked up by the init's number, which cannot be somebody else's
// while we have not reaped it; no descriptor of a namespace ever comes from the daemon.
func (s *Slot) listen(n sandbox.Network, pid int) error {
	if n == sandbox.NetworkHost || s.host.rootless || !s.host.config.API.IsValid() {
		return nil
	}
	namespace, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return fmt.Errorf("find the slot's network: %w", err)
	}
	defer namespace.Close()
	s.Sockets, err = network.Listen(namespace, s.host.config.API, n == sandbox.NetworkEgress)
	return err
}

// Inside are the sockets that wait in the slot, by name, and the link that messages of Watch name the slot by (0: none).
func (s *Slot) Inside() (sockets map[string]*os.File, link int) {
	sockets = map[string]*os.File{}
	for name, f := range map[string]*os.File{"api": s.Sockets.API, "dns": s.Sockets.DNS, "dns-stream": s.Sockets.DNSStream} {
		if f != nil {
			sockets[name] = f
		}
	}
	if s.place != nil {
		link = s.place.Link
	}
	return sockets, link
}

// Permit lets a slot with an allow-list contact addresses, because names of the list resolve to them.
func (s *Slot) Permit(list []sandbox.Permit, ttl time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.place == nil {
		return errors.New("the slot has no way out")
	}
	for _, p := range list {
		if err := s.place.Permit(p, ttl); err != nil {
			return err
		}
	}
	return nil
}

// givePlace gives the network back, when nothing runs in the slot any more.
func (s *Slot) givePlace() error {
	p := s.place
	s.place = nil
	if p == nil {
		return nil
	}
	return s.host.egress.Give(p)
}
