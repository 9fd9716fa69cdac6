package store

import (
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// blockingConn is a local connection read and written by plain system calls, past Go's poller: the answer of a flush comes
// some ten microseconds earlier and costs half the CPU when there is one client. It knows neither deadlines nor contexts, so
// only the writer uses it, whose watchdog breaks a connection that hangs.
type blockingConn struct {
	net.Conn // the addresses, and nothing else once it is taken over

	mu     sync.Mutex
	fd     int
	closed bool
}

// blocking takes over c when it can: a Unix socket or plain TCP. Otherwise, and after an error, the connection stays as it is.
func blocking(c *pgconn.PgConn) (*pgconn.PgConn, error) {
	if runtime.GOMAXPROCS(0) == 1 {
		return c, nil // nothing else would run until the runtime noticed, which may take a millisecond (sandbox/timerslack)
	}
	f, ok := c.Conn().(interface{ File() (*os.File, error) })
	if !ok {
		return c, nil // TLS
	}
	file, err := f.File() // a duplicate
	if err != nil {
		return c, nil //nolint:nilerr // as fast as the poller, then
	}
	defer file.Close() //nolint:errcheck // another duplicate is kept
	h, err := c.Hijack()
	if err != nil {
		return nil, err
	}
	fd, err := syscall.Dup(int(file.Fd()))
	if err == nil {
		syscall.CloseOnExec(fd)
		err = syscall.SetNonblock(fd, false)
	}
	if err != nil {
		h.Conn.Close() //nolint:errcheck // already failing
		return nil, err
	}
	old := h.Conn
	h.Conn = &blockingConn{Conn: old, fd: fd}
	old.Close() //nolint:errcheck // its descriptor; the connection lives on in fd
	return pgconn.Construct(h)
}

func (c *blockingConn) Read(b []byte) (int, error) {
	for {
		n, err := syscall.Read(c.fd, b)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return 0, os.NewSyscallError("read", err)
		case n == 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

func (c *blockingConn) Write(b []byte) (done int, err error) {
	for done < len(b) {
		n, err := syscall.Write(c.fd, b[done:])
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return done, os.NewSyscallError("write", err)
		default:
			done += n
		}
	}
	return done, nil
}

// Break ends the connection under whoever reads or writes, who gets an error; the descriptor stays theirs to close.
func (c *blockingConn) Break() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		syscall.Shutdown(c.fd, syscall.SHUT_RDWR) //nolint:errcheck // the reader sees what comes of it
	}
}

func (c *blockingConn) Close() error {
	c.Break()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	c.closed = true
	return os.NewSyscallError("close", syscall.Close(c.fd))
}

func (*blockingConn) SetDeadline(time.Time) error      { return nil }
func (*blockingConn) SetReadDeadline(time.Time) error  { return nil }
func (*blockingConn) SetWriteDeadline(time.Time) error { return nil }
