package network_test

import (
	"bufio"
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/rs/zerolog"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/sandbox"
	"github.com/millrace/millrace/sandbox/network"
	"github.com/millrace/millrace/sandbox/told"
)

func openEgress(t *testing.T, c network.Config) *network.Egress {
	t.Helper()
	c.Forward, c.Log = true, zerolog.New(zerolog.NewTestWriter(t))
	e, err := network.Open(c)
	must(t, err)
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

func take(t *testing.T, e *network.Egress, allow ...string) *network.Place {
	t.Helper()
	var list []sandbox.Allow
	if allow != nil {
		var err error
		list, err = sandbox.ParseAllows(allow)
		must(t, err)
	}
	p, err := e.Take(list)
	must(t, err)
	return p
}

func give(t *testing.T, e *network.Egress, p *network.Place) {
	t.Helper()
	must(t, e.Give(p))
}

func refused(t *testing.T, p *network.Place, what, address string) {
	t.Helper()
	for _, network := range []string{"tcp4", "udp4"} {
		if seen, err := ask(t, p.Namespace(), network, address); !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("%s %s over %s: seen as %q, error %v, want a refusal", what, address, network, seen, err)
		}
	}
}

func reached(t *testing.T, p *network.Place, what, address string) {
	t.Helper()
	for _, network := range []string{"tcp4", "udp4"} {
		if seen, err := ask(t, p.Namespace(), network, address); err != nil || seen != hostAddress {
			t.Errorf("%s %s over %s: seen as %q, error %v, want the host's address %s", what, address, network, seen, err, hostAddress)
		}
	}
}

func TestForwardingIsTheAdministratorsDecision(t *testing.T) {
	connectWorld(t)
	const file = "/proc/sys/net/ipv4/ip_forward"
	must(t, os.WriteFile(file, []byte("0\n"), 0o644))
	_, err := network.Open(network.Config{})
	var no *network.Impossible
	if !errors.As(err, &no) || !strings.Contains(no.Fix, "ip_forward") {
		t.Fatalf("opened without forwarding: %v", err)
	}
	if tables := ourTables(t); len(tables) != 0 {
		t.Errorf("left behind: %v", tables)
	}
	openEgress(t, network.Config{})
	if b, err := os.ReadFile(file); err != nil || strings.TrimSpace(string(b)) != "1" {
		t.Errorf("ip_forward is %q, %v", b, err)
	}
}

func TestEgress(t *testing.T) {
	connectWorld(t)
	e := openEgress(t, network.Config{})
	a, b := take(t, e), take(t, e)
	reached(t, a, "public", at("203.0.113.5"))
	reached(t, b, "public", at("203.0.113.6"))
	must(t, inside(t, b.Namespace(), func() error { return answer(t, "0.0.0.0") }))
	gateway := netip.AddrFrom4(func() [4]byte { x := a.Address.As4(); x[3]--; return x }())
	for what, address := range map[string]string{
		"the metadata service": at("169.254.169.254"), "a private network": at("10.9.9.9"), "another private network": at("192.168.7.7"),
		"the carriers' range": at("100.127.0.9"), "the host": at(hostAddress), "the host's end of the link": at(gateway.String()),
		"another slot": at(b.Address.String()), "its own loopback": at("127.0.0.1"),
	} {
		refused(t, a, what, address)
	}
	if seen, err := ask(t, a.Namespace(), "tcp6", "[2001:db8::1]:8080"); err == nil {
		t.Errorf("IPv6 works: seen as %q", seen)
	}
	give(t, e, a)
	give(t, e, b)
}

func TestPermittedRange(t *testing.T) {
	connectWorld(t)
	e := openEgress(t, network.Config{Permit: []netip.Prefix{netip.MustParsePrefix("10.9.9.0/24")}})
	p := take(t, e)
	reached(t, p, "permitted", at("10.9.9.9"))
	refused(t, p, "still private", at("192.168.7.7"))
	give(t, e, p)
	for _, c := range []network.Config{
		{Permit: []netip.Prefix{netip.MustParsePrefix("169.254.0.0/16")}},
		{Permit: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}},
		{Range: netip.MustParsePrefix("100.64.0.0/30")},
		{Refuse: []netip.Prefix{netip.MustParsePrefix("fd00::/8")}},
	} {
		if e, err := network.Open(c); err == nil {
			t.Errorf("%+v was taken", c)
			_ = e.Close()
		}
	}
}

func TestAllowList(t *testing.T) {
	connectWorld(t)
	e := openEgress(t, network.Config{})
	p := take(t, e, "203.0.113.5:8080", "example.org:8080", "10.0.0.0/8:8080")
	reached(t, p, "listed", at("203.0.113.5"))
	refused(t, p, "another port", "203.0.113.5:8081")
	refused(t, p, "not listed", at("203.0.113.6"))
	refused(t, p, "listed but refused by the administrator", at("10.9.9.9"))

	must(t, p.Permit(sandbox.Permit{Address: ip("203.0.113.6"), Port: 8080}, time.Second))
	reached(t, p, "named", at("203.0.113.6"))
	must(t, p.Permit(sandbox.Permit{Address: ip("203.0.113.6"), Port: 8080}, time.Hour)) // renewed
	reached(t, p, "renewed", at("203.0.113.6"))
	must(t, p.Permit(sandbox.Permit{Address: ip("10.9.9.9")}, time.Minute))
	refused(t, p, "a name that leads to a private address", at("10.9.9.9"))
	give(t, e, p)

	link := p.Link
	free := take(t, e)
	if free.Link != link {
		t.Errorf("link %d was not used again, but %d", link, free.Link)
	}
	reached(t, free, "without a list", at("203.0.113.6"))
	give(t, e, free)
	empty, err := e.Take([]sandbox.Allow{})
	must(t, err)
	refused(t, empty, "an empty list", at("203.0.113.5"))
	give(t, e, empty)
}

// A conversation of a slot must not pass the filter of the next one in the same place.
func TestConversationsEndWithTheSlot(t *testing.T) {
	connectWorld(t)
	e := openEgress(t, network.Config{})
	p := take(t, e)
	from := netip.AddrPortFrom(p.Address, 4567)
	say := func() error {
		return inside(t, p.Namespace(), func() error {
			c, err := net.DialUDP("udp4", net.UDPAddrFromAddrPort(from), &net.UDPAddr{IP: net.ParseIP("203.0.113.5"), Port: port})
			if err != nil {
				return err
			}
			defer func() { _ = c.Close() }()
			_ = c.SetDeadline(time.Now().Add(longEnough))
			if _, err := c.Write([]byte("hello")); err != nil {
				return err
			}
			_, err = c.Read(make([]byte, 64))
			return err
		})
	}
	must(t, say())
	give(t, e, p)
	p = take(t, e, "203.0.113.6")
	if err := say(); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("the same conversation goes on: %v", err)
	}
	give(t, e, p)
}

func TestWatch(t *testing.T) {
	connectWorld(t)
	e := openEgress(t, network.Config{})
	w, err := e.Watch()
	must(t, err)
	defer func() { _ = w.Close() }()
	p := take(t, e)
	reached(t, p, "public", at("203.0.113.5"))
	refused(t, p, "private", at("10.9.9.9"))
	got := map[told.Message]int{}
	_ = w.SetReadDeadline(time.Now().Add(longEnough))
	buf := make([]byte, 64<<10)
	for len(got) < 4 {
		n, err := w.Read(buf)
		must(t, err)
		told.Parse(buf[:n], func(m told.Message) { got[m]++ })
	}
	for _, protocol := range []string{"tcp", "udp"} {
		for address, no := range map[string]bool{"203.0.113.5": false, "10.9.9.9": true} {
			m := told.Message{Link: p.Link, Address: ip(address), Port: port, Protocol: protocol, Refused: no}
			if got[m] != 1 {
				t.Errorf("%+v was told %d times, of %v", m, got[m], got)
			}
		}
	}
	give(t, e, p)
}

func TestListen(t *testing.T) {
	connectWorld(t)
	e := openEgress(t, network.Config{})
	p := take(t, e)
	api := netip.MustParseAddrPort("127.0.0.1:8000")
	for range 2 { // a namespace's next slot gets the same
		s, err := network.Listen(p.Namespace(), api, true)
		must(t, err)
		l, err := net.FileListener(s.API)
		must(t, err)
		met := make(chan error, 1)
		go func() {
			c, err := l.Accept()
			if err == nil {
				err = c.Close()
			}
			met <- err
		}()
		must(t, inside(t, p.Namespace(), func() error {
			c, err := net.DialTimeout("tcp4", api.String(), longEnough)
			if err == nil {
				err = c.Close()
			}
			return err
		}))
		must(t, <-met)
		if c, err := net.Dial("tcp4", api.String()); !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("the host reaches a slot's listener: %v %v", c, err)
		}
		must(t, l.Close())
		s.Close()
	}
	give(t, e, p)
}

func ourTables(t *testing.T) (names []string) {
	t.Helper()
	c, err := nftables.New()
	must(t, err)
	tables, err := c.ListTables()
	must(t, err)
	for _, x := range tables {
		if strings.HasPrefix(x.Name, "millrace-") {
			names = append(names, x.Name)
		}
	}
	return names
}

const childEnv = "MILLRACE_TEST_HELPER"

// TestHelperChild is the helper that TestLeftovers kills.
func TestHelperChild(t *testing.T) {
	if os.Getenv(childEnv) == "" {
		t.Skip("only as a child of TestLeftovers")
	}
	e, err := network.Open(network.Config{Forward: true})
	must(t, err)
	take(t, e)
	take(t, e, "203.0.113.5")
	_, _ = os.Stdout.WriteString("ready\n")
	select {}
}

func TestLeftovers(t *testing.T) {
	connectWorld(t)
	updates, stop := make(chan netlink.LinkUpdate, 64), make(chan struct{})
	must(t, netlink.LinkSubscribe(updates, stop))
	defer close(stop)
	child := exec.Command("/proc/self/exe", "-test.run=^TestHelperChild$", "-test.v")
	child.Env = append(os.Environ(), childEnv+"=1")
	out, err := child.StdoutPipe()
	must(t, err)
	must(t, child.Start())
	lines := bufio.NewScanner(out)
	for lines.Scan() && lines.Text() != "ready" {
	}
	if names := ourTables(t); len(names) != 1 {
		t.Fatalf("the child has %v", names)
	}
	other, err := network.Open(network.Config{Forward: true})
	must(t, err)
	if names := ourTables(t); len(names) != 2 {
		t.Errorf("two helpers have %v", names)
	}
	must(t, other.Close())
	must(t, child.Process.Kill())
	_ = child.Wait()
	gone := 0
	for deadline := time.After(longEnough); gone < 2; {
		select {
		case u := <-updates:
			if u.Header.Type == unix.RTM_DELLINK && strings.HasPrefix(u.Attrs().Name, "mill0-") {
				gone++
			}
		case <-deadline:
			t.Fatal("links of a killed helper stay")
		}
	}
	e, err := network.Open(network.Config{Forward: true})
	must(t, err)
	p := take(t, e)
	reached(t, p, "public", at("203.0.113.5"))
	give(t, e, p)
	must(t, e.Close())
	if names := ourTables(t); len(names) != 0 {
		t.Errorf("left behind: %v", names)
	}
}
