// Package network gives slots a way out that leads nowhere else: it makes the network namespaces of slots with
// sandbox.NetworkEgress, their link to the host, and the rules that hold for what comes over it. It needs root, and runs in the
// helper only.
//
//	Open(Config)          takes a number that no other helper in this network namespace has, sweeps what killed ones left, makes the
//	                      ruleset
//	Egress.Take(allow)    a place: a namespace with an address, a route and a filter; kept ones are used again
//	Egress.Give(place)    takes it back, when nothing runs in it any more
//	Egress.Watch          tells what is contacted: a socket that a process without privileges can read (see Message)
//
//	slot's namespace            host
//	eth0 100.64.0.2/30  <--->   mill0-0 100.64.0.1/30, forwarded and masqueraded
//
// The filter lies in the host's namespace, out of the reach of everything in the slot, and goes by the link that a packet came
// over, which nobody can forge: what is for the host itself, for another slot, for a refused range or IPv6 is rejected (not
// dropped: whoever tried learns of it at once), what an allow-list does not name likewise, and everything else goes out. Nothing
// is let in but answers. What an administrator refuses is refused whatever an allow-list says.
//
// The namespaces belong to the helper's user namespace, not to the slot's: nobody in a slot, its zygote included, can change an
// address, a route or a rule in there. They have no name and end with the helper; only the ruleset outlives a helper that is
// killed, and does no harm without links.
package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"

	"github.com/rs/zerolog"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Config describes the egress of a helper. Zero values mean the default.
type Config struct {
	// Range is where the addresses of links come from; 100.64.0.0/10. Each helper takes a share, each slot a /30 of it.
	Range netip.Prefix
	// Refuse are ranges that no slot reaches, in place of DefaultRefuse. Range, loopback, link-local addresses (the metadata
	// services of clouds among them) and multicast are always refused.
	Refuse []netip.Prefix
	// Permit are exceptions of Refuse: a database in a private network.
	Permit []netip.Prefix
	// Forward lets Open switch forwarding of IPv4 on if it is off. It stays on.
	Forward bool
	Log     zerolog.Logger
}

// DefaultRange is for carriers' own use and on no host's way to anywhere, except in some overlay networks.
var DefaultRange = netip.MustParsePrefix("100.64.0.0/10")

// DefaultRefuse are the private ranges.
var DefaultRefuse = prefixes("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "198.18.0.0/15")

// always are refused whatever is configured.
var always = prefixes("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "192.0.0.0/24", "224.0.0.0/3")

func prefixes(list ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(list))
	for i, s := range list {
		out[i] = netip.MustParsePrefix(s)
	}
	return out
}

const (
	maxHelpers = 64
	maxPlaces  = 4096
	linkPrefix = "mill" // of the names of links, of all helpers
	maxKept    = 64     // places that wait to be used again
)

// Impossible is why a host can not have egress, and what to do about it.
type Impossible struct{ Why, Fix string }

func (i *Impossible) Error() string { return i.Why }

// Egress is safe for concurrent use.
type Egress struct {
	config Config
	number int
	lock   net.Listener // holds the number
	rules  *rules

	mu    sync.Mutex
	free  []*Place
	taken map[int]bool // numbers of places
	next  int
}

// Open takes a number, removes what helpers that are gone left, and makes the ruleset. The error is an *Impossible where the
// host is to blame.
func Open(c Config) (*Egress, error) {
	if !c.Range.IsValid() {
		c.Range = DefaultRange
	}
	if c.Refuse == nil {
		c.Refuse = DefaultRefuse
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	if err := forwarding(c.Forward); err != nil {
		return nil, err
	}
	e := &Egress{config: c, taken: map[int]bool{}}
	if err := e.takeNumber(); err != nil {
		return nil, err
	}
	e.rules = &rules{number: e.number}
	if err := e.rules.make(c); err != nil {
		return nil, errors.Join(&Impossible{
			Why: fmt.Sprintf("the kernel does not take the packet filter: %v", err),
			Fix: "load the modules nf_tables, nft_masq, nft_reject_inet, nft_log, nft_limit and nfnetlink_log, and let the helper have CAP_NET_ADMIN",
		}, e.lock.Close())
	}
	return e, nil
}

func (c Config) check() error {
	if !c.Range.Addr().Is4() || c.Range.Bits() > 24 || c.Range.Masked() != c.Range {
		return fmt.Errorf("egress range %s: give an IPv4 network of at least 256 addresses, such as %s", c.Range, DefaultRange)
	}
	for _, p := range append(append([]netip.Prefix{}, c.Refuse...), c.Permit...) {
		if !p.IsValid() || !p.Addr().Is4() || p.Masked() != p {
			return fmt.Errorf("egress rule for %s: give an IPv4 network such as 10.0.0.0/8", p)
		}
	}
	for _, p := range c.Permit {
		for _, a := range append(always, c.Range) {
			if p.Overlaps(a) {
				return fmt.Errorf("egress rule for %s: %s is always refused", p, a)
			}
		}
	}
	return nil
}

// forwardFile says whether the host passes packets on; writing it is the administrator's decision.
const forwardFile = "/proc/sys/net/ipv4/ip_forward"

func forwarding(allowed bool) error {
	b, err := os.ReadFile(forwardFile)
	if err != nil {
		return &Impossible{Why: fmt.Sprintf("whether the host forwards packets can not be read: %v", err), Fix: "mount /proc"}
	}
	if strings.TrimSpace(string(b)) != "0" {
		return nil
	}
	if allowed {
		if err := os.WriteFile(forwardFile, []byte("1\n"), 0o644); err == nil {
			return nil
		}
	}
	return &Impossible{Why: "the host does not forward packets (net.ipv4.ip_forward is 0)",
		Fix: "sysctl -w net.ipv4.ip_forward=1, for good in /etc/sysctl.d, or start the helper with --ip-forward"}
}

// takeNumber takes the least free number and removes the rulesets of all others that are free. A number is held by a socket whose
// name exists in this network namespace only, as do the rules, and which ends with the process.
func (e *Egress) takeNumber() error {
	e.number = -1
	for k := range maxHelpers {
		l, err := net.Listen("unix", fmt.Sprintf("@millrace/egress/%d", k))
		if err != nil {
			continue // somebody has it
		}
		if err := errors.Join((&rules{number: k}).remove(), removeLinks(k)); err != nil {
			return errors.Join(&Impossible{
				Why: fmt.Sprintf("the packet filter can not be changed: %v", err),
				Fix: "let the helper run as root with CAP_NET_ADMIN, on a kernel with nf_tables",
			}, l.Close())
		}
		if e.number >= 0 {
			_ = l.Close()
			continue
		}
		e.number, e.lock = k, l
	}
	if e.number < 0 {
		return &Impossible{Why: fmt.Sprintf("%d helpers have a ruleset in this network namespace already", maxHelpers), Fix: "stop some"}
	}
	return nil
}

// removeLinks removes links of a helper that is gone, where slots of it are still ending.
func removeLinks(number int) error {
	links, err := whole(netlink.LinkList)
	if err != nil {
		return fmt.Errorf("list links: %w", err)
	}
	for _, l := range links {
		if !strings.HasPrefix(l.Attrs().Name, linkName(number, "")) {
			continue
		}
		if err := netlink.LinkDel(l); err != nil && !errors.Is(err, unix.ENODEV) {
			return fmt.Errorf("remove the link %s: %w", l.Attrs().Name, err)
		}
	}
	return nil
}

// whole lists something of the kernel's again while others change it under the listing, which then may lack something.
func whole[T any](list func() ([]T, error)) (out []T, err error) {
	for range 20 {
		if out, err = list(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			return out, err
		}
	}
	return out, err
}

func linkName(helper int, place string) string {
	return fmt.Sprintf("%s%d-%s", linkPrefix, helper, place)
}

// Close removes the ruleset and the places that are free. Places still taken lose their way out.
func (e *Egress) Close() error {
	e.mu.Lock()
	free := e.free
	e.free = nil
	e.mu.Unlock()
	var errs []error
	for _, p := range free {
		errs = append(errs, p.namespace.Close()) // its last holder: the kernel removes the link
	}
	errs = append(errs, e.rules.remove(), e.lock.Close())
	return errors.Join(errs...)
}

// share is the part of the range that place n of helper k has.
func (e *Egress) share(n int) (gateway, address netip.Addr, err error) {
	size := 1 << (32 - e.config.Range.Bits())
	places := min(size/4/maxHelpers, maxPlaces)
	if n >= places {
		return gateway, address, fmt.Errorf("the range %s has no more addresses for slots: %d are in use", e.config.Range, places)
	}
	base := e.config.Range.Addr().As4()
	at := uint32(base[0])<<24 | uint32(base[1])<<16 | uint32(base[2])<<8 | uint32(base[3])
	at += uint32(4 * (e.number*places + n))
	four := func(v uint32) netip.Addr {
		return netip.AddrFrom4([4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)})
	}
	return four(at + 1), four(at + 2), nil
}
