package network_test

import (
	"bufio"
	"errors"
	"fmt"
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
	"github.com/millrace/millrace/sandbox/network/networktest"
	"github.com/millrace/millrace/sandbox/told"
)

func TestMain(m *testing.M) {
	if networktest.Alone() || os.Geteuid() != 0 {
		os.Exit(m.Run()) //nolint:forbidigo // the end of a test binary
	}
	status, err := networktest.Again(nil, os.Args[1:]...)
	if err != nil {
		fmt.Fprintf(os.Stderr, "network namespaces are not possible here: %v\n", err)
		status = 1
	}
	os.Exit(status) //nolint:forbidigo // the end of a test binary
}

func ip(s string) netip.Addr { return netip.MustParseAddr(s) }

func openEgress(t *testing.T, c network.Config) *network.Egress {
	t.Helper()
	c.Forward, c.Log = true, zerolog.New(zerolog.NewTestWriter(t))
	e, err := network.Open(c)
	networktest.Must(t, err)
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
		networktest.Must(t, err)
	}
	p, err := e.Take(list)
	networktest.Must(t, err)
	return p
}

func give(t *testing.T, e *network.Egress, p *network.Place) {
	t.Helper()
	networktest.Must(t, e.Give(p))
}

func refused(t *testing.T, p *network.Place, what, address string) {
	t.Helper()
	for _, kind := range []string{"tcp4", "udp4"} {
		if seen, err := networktest.Ask(p.Namespace(), kind, address); !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("%s %s over %s: seen as %q, error %v, want a refusal", what, address, kind, seen, err)
		}
	}
}

func reached(t *testing.T, p *network.Place, what, address string) {
	t.Helper()
	for _, kind := range []string{"tcp4", "udp4"} {
		if seen, err := networktest.Ask(p.Namespace(), kind, address); err != nil || seen != networktest.Host {
			t.Errorf("%s %s over %s: seen as %q, error %v, want the host's address %s", what, address, kind, seen, err, networktest.Host)
		}
	}
}

func TestForwardingIsTheAdministratorsDecision(t *testing.T) {
	networktest.Connect(t)
	const file = "/proc/sys/net/ipv4/ip_forward"
	networktest.Must(t, os.WriteFile(file, []byte("0\n"), 0o644))
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
	networktest.Connect(t)
	e := openEgress(t, network.Config{})
	a, b := take(t, e), take(t, e)
	reached(t, a, "public", networktest.At("203.0.113.5"))
	reached(t, b, "public", networktest.At("203.0.113.6"))
	networktest.Must(t, networktest.Inside(b.Namespace(), func() error { return networktest.Answer(t, "0.0.0.0") }))
	gateway := netip.AddrFrom4(func() [4]byte { x := a.Address.As4(); x[3]--; return x }())
	for what, address := range map[string]string{
		"the metadata service": networktest.At("169.254.169.254"), "a private network": networktest.At("10.9.9.9"), "another private network": networktest.At("192.168.7.7"),
		"the carriers' range": networktest.At("100.127.0.9"), "the host": networktest.At(networktest.Host), "the host's end of the link": networktest.At(gateway.String()),
		"another slot": networktest.At(b.Address.String()), "its own loopback": networktest.At("127.0.0.1"),
	} {
		refused(t, a, what, address)
	}
	if seen, err := networktest.Ask(a.Namespace(), "tcp6", "[2001:db8::1]:8080"); err == nil {
		t.Errorf("IPv6 works: seen as %q", seen)
	}
	give(t, e, a)
	give(t, e, b)
}

func TestPermittedRange(t *testing.T) {
	networktest.Connect(t)
	e := openEgress(t, network.Config{Permit: []netip.Prefix{netip.MustParsePrefix("10.9.9.0/24")}})
	p := take(t, e)
	reached(t, p, "permitted", networktest.At("10.9.9.9"))
	refused(t, p, "still private", networktest.At("192.168.7.7"))
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
	networktest.Connect(t)
	e := openEgress(t, network.Config{})
	p := take(t, e, "203.0.113.5:8080", "example.org:8080", "10.0.0.0/8:8080")
	reached(t, p, "listed", networktest.At("203.0.113.5"))
	refused(t, p, "another port", "203.0.113.5:8081")
	refused(t, p, "not listed", networktest.At("203.0.113.6"))
	refused(t, p, "listed but refused by the administrator", networktest.At("10.9.9.9"))

	networktest.Must(t, p.Permit(sandbox.Permit{Address: ip("203.0.113.6"), Port: 8080}, time.Second))
	reached(t, p, "named", networktest.At("203.0.113.6"))
	networktest.Must(t, p.Permit(sandbox.Permit{Address: ip("203.0.113.6"), Port: 8080}, time.Hour)) // renewed
	reached(t, p, "renewed", networktest.At("203.0.113.6"))
	networktest.Must(t, p.Permit(sandbox.Permit{Address: ip("10.9.9.9")}, time.Minute))
	refused(t, p, "a name that leads to a private address", networktest.At("10.9.9.9"))
	give(t, e, p)

	link := p.Link
	free := take(t, e)
	if free.Link != link {
		t.Errorf("link %d was not used again, but %d", link, free.Link)
	}
	reached(t, free, "without a list", networktest.At("203.0.113.6"))
	give(t, e, free)
	empty, err := e.Take([]sandbox.Allow{})
	networktest.Must(t, err)
	refused(t, empty, "an empty list", networktest.At("203.0.113.5"))
	give(t, e, empty)
}

// A conversation of a slot must not pass the filter of the next one in the same place.
func TestConversationsEndWithTheSlot(t *testing.T) {
	networktest.Connect(t)
	e := openEgress(t, network.Config{})
	p := take(t, e)
	from := netip.AddrPortFrom(p.Address, 4567)
	say := func() error {
		return networktest.Inside(p.Namespace(), func() error {
			c, err := net.DialUDP("udp4", net.UDPAddrFromAddrPort(from), &net.UDPAddr{IP: net.ParseIP("203.0.113.5"), Port: networktest.Port})
			if err != nil {
				return err
			}
			defer func() { _ = c.Close() }()
			_ = c.SetDeadline(time.Now().Add(networktest.LongEnough))
			if _, err := c.Write([]byte("hello")); err != nil {
				return err
			}
			_, err = c.Read(make([]byte, 64))
			return err
		})
	}
	networktest.Must(t, say())
	give(t, e, p)
	p = take(t, e, "203.0.113.6")
	if err := say(); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("the same conversation goes on: %v", err)
	}
	give(t, e, p)
}

func TestWatch(t *testing.T) {
	networktest.Connect(t)
	e := openEgress(t, network.Config{})
	w, err := e.Watch()
	networktest.Must(t, err)
	defer func() { _ = w.Close() }()
	p := take(t, e)
	reached(t, p, "public", networktest.At("203.0.113.5"))
	refused(t, p, "private", networktest.At("10.9.9.9"))
	got := map[told.Message]int{}
	_ = w.SetReadDeadline(time.Now().Add(networktest.LongEnough))
	buf := make([]byte, 64<<10)
	for len(got) < 4 {
		n, err := w.Read(buf)
		networktest.Must(t, err)
		told.Parse(buf[:n], func(m told.Message) { got[m]++ })
	}
	for _, protocol := range []string{"tcp", "udp"} {
		for address, no := range map[string]bool{"203.0.113.5": false, "10.9.9.9": true} {
			m := told.Message{Link: p.Link, Address: ip(address), Port: networktest.Port, Protocol: protocol, Refused: no}
			if got[m] != 1 {
				t.Errorf("%+v was told %d times, of %v", m, got[m], got)
			}
		}
	}
	give(t, e, p)
}

func TestListen(t *testing.T) {
	networktest.Connect(t)
	e := openEgress(t, network.Config{})
	p := take(t, e)
	api := netip.MustParseAddrPort("127.0.0.1:8000")
	for range 2 { // a namespace's next slot gets the same
		s, err := network.Listen(p.Namespace(), api, true)
		networktest.Must(t, err)
		l, err := net.FileListener(s.API)
		networktest.Must(t, err)
		met := make(chan error, 1)
		go func() {
			c, err := l.Accept()
			if err == nil {
				err = c.Close()
			}
			met <- err
		}()
		networktest.Must(t, networktest.Inside(p.Namespace(), func() error {
			c, err := net.DialTimeout("tcp4", api.String(), networktest.LongEnough)
			if err == nil {
				err = c.Close()
			}
			return err
		}))
		networktest.Must(t, <-met)
		if c, err := net.Dial("tcp4", api.String()); !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("the host reaches a slot's listener: %v %v", c, err)
		}
		networktest.Must(t, l.Close())
		s.Close()
	}
	give(t, e, p)
}

func ourTables(t *testing.T) (names []string) {
	t.Helper()
	c, err := nftables.New()
	networktest.Must(t, err)
	tables, err := c.ListTables()
	networktest.Must(t, err)
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
	networktest.Must(t, err)
	take(t, e)
	take(t, e, "203.0.113.5")
	_, _ = os.Stdout.WriteString("ready\n")
	select {}
}

func TestLeftovers(t *testing.T) {
	networktest.Connect(t)
	updates, stop := make(chan netlink.LinkUpdate, 64), make(chan struct{})
	networktest.Must(t, netlink.LinkSubscribe(updates, stop))
	defer close(stop)
	child := exec.Command("/proc/self/exe", "-test.run=^TestHelperChild$", "-test.v")
	child.Env = append(os.Environ(), childEnv+"=1")
	out, err := child.StdoutPipe()
	networktest.Must(t, err)
	networktest.Must(t, child.Start())
	lines := bufio.NewScanner(out)
	for lines.Scan() && lines.Text() != "ready" {
	}
	if names := ourTables(t); len(names) != 1 {
		t.Fatalf("the child has %v", names)
	}
	other, err := network.Open(network.Config{Forward: true})
	networktest.Must(t, err)
	if names := ourTables(t); len(names) != 2 {
		t.Errorf("two helpers have %v", names)
	}
	networktest.Must(t, other.Close())
	networktest.Must(t, child.Process.Kill())
	_ = child.Wait()
	gone := 0
	for deadline := time.After(networktest.LongEnough); gone < 2; {
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
	networktest.Must(t, err)
	p := take(t, e)
	reached(t, p, "public", networktest.At("203.0.113.5"))
	give(t, e, p)
	networktest.Must(t, e.Close())
	if names := ourTables(t); len(names) != 0 {
		t.Errorf("left behind: %v", names)
	}
}
