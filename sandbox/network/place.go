package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/sandbox"
)

// Place is a network namespace with a way out. It serves one slot at a time.
type Place struct {
	Address netip.Addr // of the slot
	Link    int        // index of the host's end, by which messages of Watch name the slot

	egress     *Egress
	number     int
	name       string // of the host's end
	namespace  *os.File
	restricted bool // written by Take and Give

	mu    sync.Mutex
	known map[sandbox.Permit]time.Time // what was let through because of a name, and until when
}

// Namespace is the network namespace; it stays the place's.
func (p *Place) Namespace() *os.File { return p.namespace }

// Path names the namespace, for processes that still see the host's /proc.
func (p *Place) Path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), p.namespace.Fd()) }

// Take returns a place. With allow, not nil, nothing can be contacted but what it names by address; names come with Permit.
func (e *Egress) Take(allow []sandbox.Allow) (*Place, error) {
	p, err := e.pick()
	if err != nil {
		return nil, fmt.Errorf("egress: %w", err)
	}
	if allow == nil {
		return p, nil
	}
	if err := e.rules.restrict(p, allow); err != nil {
		e.drop(p)
		return nil, fmt.Errorf("egress: make the allow-list: %w", err)
	}
	p.restricted = true
	return p, nil
}

// pick uses a free place or makes one. A link is dear to remove, and a namespace too: the kernel waits for all processors.
func (e *Egress) pick() (*Place, error) {
	e.mu.Lock()
	if n := len(e.free); n > 0 {
		p := e.free[n-1]
		e.free = e.free[:n-1]
		e.mu.Unlock()
		return p, nil
	}
	number := -1
	for range maxPlaces {
		if !e.taken[e.next] {
			number = e.next
		}
		e.next = (e.next + 1) % maxPlaces
		if _, _, err := e.share(e.next); err != nil {
			e.next = 0
		}
		if number >= 0 {
			break
		}
	}
	if number >= 0 {
		e.taken[number] = true
	}
	e.mu.Unlock()
	if number < 0 {
		return nil, errors.New("all addresses are in use")
	}
	p, err := e.build(number)
	if err != nil {
		e.release(number)
	}
	return p, err
}

func (e *Egress) release(number int) {
	e.mu.Lock()
	delete(e.taken, number)
	e.mu.Unlock()
}

// drop gives a place up; the kernel removes the link when the namespace's last holder is gone.
func (e *Egress) drop(p *Place) {
	if link, err := netlink.LinkByIndex(p.Link); err == nil {
		_ = netlink.LinkDel(link) // at once, so that its name and number are free
	}
	_ = p.namespace.Close()
	e.release(p.number)
}

// Give takes a place back. Nothing may run in its namespace any more, and nobody hold a socket in it.
func (e *Egress) Give(p *Place) error {
	var err error
	if p.restricted {
		err = e.rules.release(p)
		p.restricted = false
		p.known = nil
	}
	if err == nil {
		// An open conversation of the last slot would pass the filter of the next one.
		err = forgetConversations(p.Address)
	}
	e.mu.Lock()
	if err == nil && len(e.free) < maxKept {
		e.free = append(e.free, p)
		e.mu.Unlock()
		return nil
	}
	e.mu.Unlock()
	e.drop(p)
	if err != nil {
		return fmt.Errorf("egress: take a place back: %w", err)
	}
	return nil
}

func forgetConversations(a netip.Addr) error {
	filter := &netlink.ConntrackFilter{}
	if err := filter.AddIP(netlink.ConntrackOrigSrcIP, net.IP(a.AsSlice())); err != nil {
		return err
	}
	_, err := netlink.ConntrackDeleteFilters(netlink.ConntrackTable, unix.AF_INET, filter)
	return err
}

// build makes the namespace and the link.
func (e *Egress) build(number int) (*Place, error) {
	gateway, address, err := e.share(number)
	if err != nil {
		return nil, err
	}
	p := &Place{egress: e, number: number, Address: address, name: linkName(e.number, strconv.Itoa(number))}
	if p.namespace, err = newNamespace(); err != nil {
		return nil, err
	}
	if err := p.connect(gateway); err != nil {
		if link, lerr := netlink.LinkByName(p.name); lerr == nil {
			_ = netlink.LinkDel(link)
		}
		return nil, errors.Join(err, p.namespace.Close())
	}
	return p, nil
}

func (p *Place) connect(gateway netip.Addr) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = p.name
	attrs.MTU = uplinkMTU()
	fd := int(p.namespace.Fd())
	veth := &netlink.Veth{LinkAttrs: attrs, PeerName: "eth0", PeerNamespace: netlink.NsFd(fd), PeerMTU: uint32(attrs.MTU)}
	if err := netlink.LinkAdd(veth); err != nil {
		return fmt.Errorf("make the link: %w", err)
	}
	host, err := netlink.LinkByName(p.name)
	if err != nil {
		return fmt.Errorf("find the link: %w", err)
	}
	p.Link = host.Attrs().Index
	for name, value := range map[string]string{"ipv6/conf/" + p.name + "/disable_ipv6": "1", "ipv4/conf/" + p.name + "/rp_filter": "1"} {
		// A host without IPv6 has no file for it; and the filter rejects IPv6 and strangers' addresses go unanswered anyway.
		_ = os.WriteFile("/proc/sys/net/"+name, []byte(value), 0o644)
	}
	inside, err := netlink.NewHandleAt(netns.NsHandle(fd), unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("enter the namespace: %w", err)
	}
	defer inside.Close()
	lo, err1 := inside.LinkByName("lo")
	eth, err2 := inside.LinkByName("eth0")
	if err := errors.Join(err1, err2); err != nil {
		return fmt.Errorf("find the link: %w", err)
	}
	if err := errors.Join(
		netlink.AddrAdd(host, addr(gateway)), netlink.LinkSetUp(host),
		inside.LinkSetUp(lo), inside.AddrAdd(eth, addr(p.Address)), inside.LinkSetUp(eth),
		inside.RouteAdd(&netlink.Route{LinkIndex: eth.Attrs().Index, Gw: net.IP(gateway.AsSlice())}),
	); err != nil {
		return fmt.Errorf("set the link up: %w", err)
	}
	return nil
}

func addr(a netip.Addr) *netlink.Addr {
	return &netlink.Addr{IPNet: &net.IPNet{IP: net.IP(a.AsSlice()), Mask: net.CIDRMask(30, 32)}}
}

// uplinkMTU is that of the link to the default route: a larger one would lose packets where fragments are. 0: the kernel's choice.
func uplinkMTU() int {
	routes, err := whole(func() ([]netlink.Route, error) { return netlink.RouteList(nil, unix.AF_INET) })
	if err != nil {
		return 0
	}
	for _, r := range routes {
		if r.Dst != nil && r.Dst.IP != nil && !r.Dst.IP.IsUnspecified() {
			continue
		}
		if link, err := netlink.LinkByIndex(r.LinkIndex); err == nil {
			return link.Attrs().MTU
		}
	}
	return 0
}

// newNamespace makes an empty network namespace without IPv6.
func newNamespace() (*os.File, error) {
	type made struct {
		file *os.File
		err  error
	}
	done := make(chan made)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			done <- made{err: fmt.Errorf("make a network namespace: %w", err)}
			return
		}
		for _, which := range []string{"all", "default"} {
			// /proc/sys shows the namespace of the thread that looks.
			_ = os.WriteFile("/proc/sys/net/ipv6/conf/"+which+"/disable_ipv6", []byte("1"), 0o644)
		}
		f, err := os.Open("/proc/thread-self/ns/net")
		done <- made{f, err}
	}()
	m := <-done
	return m.file, m.err
}
