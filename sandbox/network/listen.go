package network

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Sockets are those that wait inside of a slot's namespace for who serves the slot from outside.
type Sockets struct {
	API *os.File // a TCP listener
	// DNS and DNSStream are the resolver's, for UDP and TCP; nil where nothing can be resolved.
	DNS, DNSStream *os.File
}

// Close closes them.
func (s Sockets) Close() {
	for _, f := range []*os.File{s.API, s.DNS, s.DNSStream} {
		if f != nil {
			_ = f.Close()
		}
	}
}

// DNSAddress is where a slot finds its resolver.
var DNSAddress = netip.MustParseAddrPort("127.0.0.1:53")

// backlog of connections that wait to be accepted.
const backlog = 256

// Listen opens sockets in a namespace whose loopback is up. What comes through one can only come from that namespace.
func Listen(namespace *os.File, api netip.AddrPort, dns bool) (Sockets, error) {
	type made struct {
		sockets Sockets
		err     error
	}
	done := make(chan made)
	go func() {
		runtime.LockOSThread() // and never unlocked: a thread in a slot's namespace must not run anything else
		if err := unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- made{err: fmt.Errorf("enter the slot's network: %w", err)}
			return
		}
		var s Sockets
		var errs [3]error
		s.API, errs[0] = socket(unix.SOCK_STREAM, api)
		if dns {
			s.DNS, errs[1] = socket(unix.SOCK_DGRAM, DNSAddress)
			s.DNSStream, errs[2] = socket(unix.SOCK_STREAM, DNSAddress)
		}
		err := errors.Join(errs[:]...)
		if err != nil {
			s.Close()
			s = Sockets{}
		}
		done <- made{s, err}
	}()
	m := <-done
	return m.sockets, m.err
}

func socket(kind int, at netip.AddrPort) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("socket in the slot: %w", err)
	}
	f := os.NewFile(uintptr(fd), "slot-"+at.String())
	if kind == unix.SOCK_STREAM { // connections of a namespace's last slot may linger
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	}
	err = errors.Join(err, unix.Bind(fd, &unix.SockaddrInet4{Addr: at.Addr().As4(), Port: int(at.Port())}))
	if err == nil && kind == unix.SOCK_STREAM {
		err = unix.Listen(fd, backlog)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen on %s in the slot: %w", at, err), f.Close())
	}
	return f, nil
}
