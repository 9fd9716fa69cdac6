// Package networktest gives tests of what slots contact a world of their own: a network namespace that plays the host, in which the
// test itself runs, and one that plays the internet. Nothing of the machine's own network is touched.
//
//	place 100.64.0.2 --- 100.64.0.1 host 198.51.100.1 --- 198.51.100.254 internet (203.0.113.5, 10.9.9.9, 169.254.169.254, ...)
package networktest

import (
	"errors"
	"fmt"
	"io"
	"net"
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

const aloneEnv = "MILLRACE_TEST_NETNS"

// Alone tells whether this process has a network namespace of its own.
func Alone() bool { return os.Getenv(aloneEnv) != "" }

// Again runs this test binary once more with the given arguments, in a network namespace of its own.
func Again(env []string, args ...string) (status int, err error) {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(append(os.Environ(), env...), aloneEnv+"=1")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode(), nil
	}
	return 0, err
}

// Internet are the addresses at which the internet answers.
var Internet = []string{"203.0.113.5/32", "203.0.113.6/32", "10.9.9.9/32", "192.168.7.7/32", "169.254.169.254/32", "100.127.0.9/32"}

const (
	// Host is the host's address towards the internet.
	Host = "198.51.100.1"
	// Port is where everybody answers, over TCP and UDP, with the address that they see.
	Port = 8080
)

// Must ends a test that can not go on.
func Must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Inside runs f on a thread in a namespace.
func Inside(ns *os.File, f func() error) error {
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

// Connect joins the host to a new internet.
func Connect(t *testing.T) {
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
	Must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "down0", PeerNamespace: netlink.NsFd(int(world.Fd()))}))
	up, err := netlink.LinkByName("up0")
	Must(t, err)
	t.Cleanup(func() { _ = netlink.LinkDel(up) })
	lo, err := netlink.LinkByName("lo")
	Must(t, err)
	Must(t, netlink.LinkSetUp(lo))
	parse := func(s string) *netlink.Addr {
		a, err := netlink.ParseAddr(s)
		Must(t, err)
		return a
	}
	Must(t, netlink.AddrAdd(up, parse(Host+"/24")))
	Must(t, netlink.LinkSetUp(up))
	Must(t, netlink.RouteAdd(&netlink.Route{LinkIndex: up.Attrs().Index, Gw: net.ParseIP("198.51.100.254")}))
	h, err := netlink.NewHandleAt(netns.NsHandle(world.Fd()))
	Must(t, err)
	defer h.Close()
	down, err := h.LinkByName("down0")
	Must(t, err)
	wlo, err := h.LinkByName("lo")
	Must(t, err)
	Must(t, h.AddrAdd(down, parse("198.51.100.254/24")))
	Must(t, h.LinkSetUp(down))
	Must(t, h.LinkSetUp(wlo))
	for _, a := range Internet {
		Must(t, h.AddrAdd(wlo, parse(a)))
	}
	Must(t, Inside(world, func() error {
		for _, a := range Internet {
			if err := Answer(t, strings.TrimSuffix(a, "/32")); err != nil {
				return err
			}
		}
		return nil
	}))
	Must(t, Answer(t, "0.0.0.0")) // the host has services too
	// The kernel answers only a few refused datagrams a second; the tests want every answer.
	Must(t, os.WriteFile("/proc/sys/net/ipv4/icmp_ratelimit", []byte("0"), 0o644))
}

// Answer serves: over TCP, UDP and HTTP everybody is told the address that they are seen with.
func Answer(t *testing.T, address string) error {
	t.Helper()
	l, err := net.Listen("tcp4", net.JoinHostPort(address, fmt.Sprint(Port)))
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
	u, err := net.ListenPacket("udp4", net.JoinHostPort(address, fmt.Sprint(Port)))
	if err != nil {
		return err
	}
	t.Cleanup(func() { _ = u.Close() })
	if err := web(t, address); err != nil {
		return err
	}
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

// LongEnough ends what hangs; nothing in these tests should.
const LongEnough = 10 * time.Second

// Ask contacts an address and returns as whom it was seen.
func Ask(ns *os.File, network, address string) (seen string, err error) {
	err = Inside(ns, func() error {
		c, err := net.DialTimeout(network, address, LongEnough)
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }()
		_ = c.SetDeadline(time.Now().Add(LongEnough))
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

// At is a place where somebody answers.
func At(host string) string { return net.JoinHostPort(host, fmt.Sprint(Port)) }
