package jail

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/sandbox"
)

// Bounds of what is let through for one name.
const (
	maxPermits = 64
	maxTTL     = 24 * time.Hour
)

// permits is the part of a request that asks for addresses to be let through.
type permits struct {
	List []sandbox.Permit `json:"list"`
	TTL  time.Duration    `json:"ttl"`
}

func (p *permits) check() error {
	if p == nil || len(p.List) == 0 || len(p.List) > maxPermits || p.TTL < 0 || p.TTL > maxTTL {
		return errors.New("bad list of addresses")
	}
	for _, x := range p.List {
		if !x.Address.Is4() {
			return errors.New("not an IPv4 address")
		}
	}
	return nil
}

// checkNetwork refuses allow-lists where they would mean nothing.
func checkNetwork(t sandbox.Template) error {
	switch t.Network {
	case sandbox.NetworkNone, sandbox.NetworkHost:
		if t.Allow != nil {
			return fmt.Errorf("network %s has no allow-list", t.Network)
		}
		return nil
	case sandbox.NetworkEgress:
		_, err := sandbox.ParseAllows(t.Allow)
		return err
	}
	return fmt.Errorf("unknown network %q", clip(string(t.Network)))
}

// hello is the first answer: the strength of the walls, where slots find the API, and the socket that tells what they contact.
func (s *server) hello() (reply, []*os.File, error) {
	strength := s.host.Strength()
	out := reply{Strength: &strength}
	if api := s.host.API(); api.IsValid() {
		out.API = api.String()
	}
	w := s.host.Watch()
	if w == nil {
		return out, nil, nil
	}
	// A descriptor of our own, because what is sent is closed.
	f, err := duplicate(w)
	if err != nil {
		return reply{}, nil, err
	}
	return out, []*os.File{f}, nil
}

func duplicate(f *os.File) (*os.File, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("duplicate a descriptor: %w", err)
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

// greeted keeps what hello said.
func (c *Client) greeted(r reply, files []*os.File) error {
	if r.Strength == nil || len(files) > 1 {
		closeAll(files)
		return errMalformed
	}
	if r.API != "" {
		api, err := netip.ParseAddrPort(r.API)
		if err != nil {
			closeAll(files)
			return fmt.Errorf("%w: %w", errMalformed, err)
		}
		c.api = api
	}
	c.strength = *r.Strength
	if len(files) == 1 {
		c.watch = files[0]
	}
	return nil
}

// API is where slots without the host's network find the API: the listener among the sockets of each. Not valid: nowhere.
func (c *Client) API() netip.AddrPort { return c.api }

// Watch is the socket that tells what slots contact (see sandbox/told), nil when slots can contact nothing. It is the caller's.
func (c *Client) Watch() *os.File { return c.watch }

// Permit lets a slot with an allow-list contact addresses for some time.
func (c *Client) Permit(ctx context.Context, slot string, list []sandbox.Permit, ttl time.Duration) error {
	return c.ask(ctx, request{Op: opPermit, Slot: slot, Permits: &permits{List: list, TTL: min(max(ttl, 0), maxTTL)}})
}
