package network_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// The tests run in a network namespace of their own, which plays the host; a second one plays the internet. Nothing of the
// machine's own network is touched.
//
//	place 100.64.0.2 --- 100.64.0.1 host 198.51.100.1 --- 198.51.100.254 internet (203.0.113.5, 10.9.9.9, 169.254.169.254, ...)

const aloneEnv = "MILLRACE_TEST_NETNS"

func TestMain(m *testing.M) {
	if os.Getenv(aloneEnv) != "" || os.Geteuid() != 0 {
		os.Exit(m.Run()) //nolint:forbidigo // the end of a test binary
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), aloneEnv+"=1")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		os.Exit(exit.ExitCode()) //nolint:forbidigo // the end of a test binary
	case err != nil:
		fmt.Fprintf(os.Stderr, "network namespaces are not possible here: %v\n", err)
		os.Exit(1) //nolint:forbidigo // the end of a test binary
	}
}

// addresses of the internet.
var internet = []string{"203.0.113.5/32", "203.0.113.6/32", "10.9.9.9/32", "192.168.7.7/32", "169.254.169.254/32", "100.127.0.9/32"}

const (
	hostAddress = "198.51.100.1"
	port        = 8080
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// inside runs f on a thread in a namespace.
func inside(t *testing.T, ns *os.File, f func() error) error {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- err
			return
		}
		done <- f()
	}()
	return <-done
}

// connectWorld joins the host to a new internet.
func connectWorld(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	made := make(chan *os.File)
	go func() {
		runtime.LockOSThread()
		if unix.Unshare(unix.CLONE_NEWNET) != nil {
			made <- nil
			return
		}
		f, _ := os.Open("/proc/thread-self/ns/net")
		made <- f
	}()
	world := <-made
	if world == nil {
		t.Fatal("no network namespace")
	}
	t.Cleanup(func() { _ = world.Close() })
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "up0"
	must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "down0", PeerNamespace: netlink.NsFd(int(world.Fd()))}))
	up, err := netlink.LinkByName("up0")
	must(t, err)
	t.Cleanup(func() { _ = netlink.LinkDel(up) })
	lo, err := netlink.LinkByName("lo")
	must(t, err)
	must(t, netlink.LinkSetUp(lo))
	parse := func(s string) *netlink.Addr {
		a, err := netlink.ParseAddr(s)
		must(t, err)
		return a
	}
	must(t, netlink.AddrAdd(up, parse(hostAddress+"/24")))
	must(t, netlink.LinkSetUp(up))
	must(t, netlink.RouteAdd(&netlink.Route{LinkIndex: up.Attrs().Index, Gw: net.ParseIP("198.51.100.254")}))
	h, err := netlink.NewHandleAt(netns.NsHandle(world.Fd()))
	must(t, err)
	defer h.Close()
	down, err := h.LinkByName("down0")
	must(t, err)
	wlo, err := h.LinkByName("lo")
	must(t, err)
	must(t, h.AddrAdd(down, parse("198.51.100.254/24")))
	must(t, h.LinkSetUp(down))
	must(t, h.LinkSetUp(wlo))
	for _, a := range internet {
		must(t, h.AddrAdd(wlo, parse(a)))
	}
	must(t, inside(t, world, func() error {
		for _, a := range internet {
			if err := answer(t, strings.TrimSuffix(a, "/32")); err != nil {
				return err
			}
		}
		return nil
	}))
	must(t, answer(t, "0.0.0.0")) // the host has services too
	// The kernel answers only a few refused datagrams a second; the tests want every answer.
	must(t, os.WriteFile("/proc/sys/net/ipv4/icmp_ratelimit", []byte("0"), 0o644))
}

// answer serves: over TCP and UDP everybody is told the address that they are seen with.
func answer(t *testing.T, address string) error {
	t.Helper()
	l, err := net.Listen("tcp4", net.JoinHostPort(address, fmt.Sprint(port)))
	if err != nil {
		return err
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
			_, _ = io.WriteString(c, host)
			_ = c.Close()
		}
	}()
	u, err := net.ListenPacket("udp4", net.JoinHostPort(address, fmt.Sprint(port)))
	if err != nil {
		return err
	}
	t.Cleanup(func() { _ = u.Close() })
	go func() {
		buf := make([]byte, 64)
		for {
			_, from, err := u.ReadFrom(buf)
			if err != nil {
				return
			}
			host, _, _ := net.SplitHostPort(from.String())
			_, _ = u.WriteTo([]byte(host), from)
		}
	}()
	return nil
}

// longEnough ends what hangs; nothing in these tests should.
const longEnough = 10 * time.Second

// ask contacts an address and returns as whom it was seen.
func ask(t *testing.T, ns *os.File, network, address string) (seen string, err error) {
	t.Helper()
	err = inside(t, ns, func() error {
		c, err := net.DialTimeout(network, address, longEnough)
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }()
		_ = c.SetDeadline(time.Now().Add(longEnough))
		if network == "udp4" {
			if _, err := c.Write([]byte("who am I")); err != nil {
				return err
			}
		}
		buf := make([]byte, 64)
		n, err := c.Read(buf)
		seen = string(buf[:n])
		return err
	})
	return seen, err
}

func at(host string) string { return net.JoinHostPort(host, fmt.Sprint(port)) }

func ip(s string) netip.Addr { return netip.MustParseAddr(s) }
