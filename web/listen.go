package web

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/engine"
)

// conn is one accepted connection. It knows who is at the other end of a Unix socket, and it can close in a way that
// lets the client read the last answer although it is still sending.
type conn struct {
	net.Conn
	uid   uint32
	known bool
	// visitor is the job in the slot that the connection comes from, if visits.
	visitor engine.Visitor
	visits  bool
	linger  bool // set by the connection's own goroutine before it closes
	all     *connections
	once    sync.Once
}

// PeerUID implements session.Peer.
func (c *conn) PeerUID() (uint32, bool) { return c.uid, c.known }

// lingerFor and lingerBytes bound how long a refused body is swallowed.
const (
	lingerFor   = 5 * time.Second
	lingerBytes = 256 << 20
)

func (c *conn) Close() error {
	c.once.Do(func() {
		if half, ok := c.Conn.(interface{ CloseWrite() error }); ok && c.linger {
			// Closing with unread input makes the kernel send a reset, and the client loses the answer.
			if half.CloseWrite() == nil && c.SetReadDeadline(time.Now().Add(lingerFor)) == nil {
				_, _ = io.CopyN(io.Discard, c.Conn, lingerBytes)
			}
		}
		c.all.remove(c)
	})
	return c.Conn.Close()
}

// connections are the open connections of a server.
type connections struct {
	mu   sync.Mutex
	open map[*conn]struct{}
}

func (s *connections) add(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open[c] = struct{}{}
}

func (s *connections) remove(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, c)
}

// cut ends all connections at once.
func (s *connections) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.open {
		_ = c.Conn.Close() // its own goroutine sees the error
	}
}

// listener wraps accepted connections. It may be closed twice: by us and by fasthttp.
type listener struct {
	net.Listener
	all  *connections
	once sync.Once
	err  error
}

func (l *listener) Close() error {
	l.once.Do(func() { l.err = l.Listener.Close() })
	return l.err
}

func (l *listener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: nc, all: l.all}
	if u, ok := nc.(*net.UnixConn); ok {
		c.uid, c.known = peerUID(u)
	}
	l.all.add(c)
	return c, nil
}

// peerUID asks the kernel who opened the other end.
func peerUID(u *net.UnixConn) (uint32, bool) {
	raw, err := u.SyscallConn()
	if err != nil {
		return 0, false
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil || credErr != nil {
		return 0, false
	}
	return cred.Uid, true
}

// socketLock holds a Unix socket's path for one daemon.
type socketLock struct{ f *os.File }

func (l *socketLock) release() {
	if l != nil {
		_ = l.f.Close() // closing ends the lock; the file stays, removing it would race with a waiting daemon
	}
}

// listenUnix listens on path with mode 0666: peers are known by their credentials, not by file modes. What a dead
// daemon left behind is replaced; a living one is left alone.
func listenUnix(path string) (net.Listener, *socketLock, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, nil, fmt.Errorf("socket folder: %w", err)
	}
	f, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("socket lock: %w", err)
	}
	lock := &socketLock{f}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.release()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, nil, fmt.Errorf("another daemon serves %s; stop it or choose another socket", path)
		}
		return nil, nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	ln, err := bindUnix(path)
	if err != nil {
		lock.release()
		return nil, nil, err
	}
	return ln, lock, nil
}

func bindUnix(path string) (net.Listener, error) {
	if err := clearStale(path); err != nil {
		return nil, err
	}
	ln, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	if err := os.Chmod(path, 0o666); err != nil {
		return nil, errors.Join(fmt.Errorf("open the socket to all users: %w", err), ln.Close())
	}
	return ln, nil
}

// clearStale removes a socket that nobody serves.
func clearStale(path string) error {
	st, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at socket: %w", err)
	}
	if st.Mode()&os.ModeSocket == 0 {
		return fmt.Errorf("%s exists and is not a socket; move it away or choose another path", path)
	}
	if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
		_ = c.Close()
		return fmt.Errorf("somebody serves %s already; stop it or choose another socket", path)
	} else if !errors.Is(err, unix.ECONNREFUSED) {
		return fmt.Errorf("%s exists and its state is unclear: %w", path, err)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("remove stale socket: %w", err)
	}
	return nil
}
