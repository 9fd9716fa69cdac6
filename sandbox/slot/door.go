package slot

import (
	"errors"
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Visit is a connection that came from inside of a slot. Its visitor is for whom the slot worked when it was made; nil: nobody.
type Visit struct {
	net.Conn
	door    *door
	visitor any
}

// Visitor is what Begin was called with.
func (v *Visit) Visitor() any { return v.visitor }

// Close implements net.Conn.
func (v *Visit) Close() error {
	v.door.mu.Lock()
	delete(v.door.open, v)
	v.door.mu.Unlock()
	return v.Conn.Close()
}

// door accepts what processes of a slot connect to its API listener. A connection belongs to whom the slot worked for when it was
// made: accepting and the change of visitors exclude each other, and a change ends every connection, also those that wait.
type door struct {
	listener *os.File
	serve    func(net.Conn)
	done     sync.WaitGroup

	mu      sync.Mutex
	visitor any
	open    map[*Visit]struct{}
}

// openDoor owns the listener.
func openDoor(listener *os.File, serve func(net.Conn)) (*door, error) {
	d := &door{listener: listener, serve: serve, open: map[*Visit]struct{}{}}
	raw, err := listener.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	d.done.Go(func() {
		_ = raw.Read(func(fd uintptr) bool { // ends with the listener
			for {
				v, more := d.accept(int(fd))
				if v != nil {
					go d.serve(v)
				}
				if !more {
					return false
				}
			}
		})
	})
	return d, nil
}

// accept takes one connection; more is false when none waits.
func (d *door) accept(listener int) (v *Visit, more bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	fd, more := acceptOne(listener)
	if fd < 0 {
		return nil, more
	}
	f := os.NewFile(uintptr(fd), "visit")
	c, err := net.FileConn(f)
	_ = f.Close()
	if err != nil {
		return nil, true
	}
	v = &Visit{Conn: c, door: d, visitor: d.visitor}
	d.open[v] = struct{}{}
	return v, true
}

func acceptOne(listener int) (fd int, more bool) {
	fd, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
	switch {
	case err == nil:
		return fd, true
	case errors.Is(err, unix.EINTR), errors.Is(err, unix.ECONNABORTED):
		return -1, true
	}
	return -1, false // none waits; or too many files are open, and the next connection finds us again
}

// begin lets what comes from now on come from visitor.
func (d *door) begin(visitor any) {
	d.mu.Lock()
	d.visitor = visitor
	d.mu.Unlock()
}

// end cuts all connections. No process that could make further ones may be left.
func (d *door) end() {
	raw, err := d.listener.SyscallConn()
	d.mu.Lock()
	d.visitor = nil
	if err == nil {
		_ = raw.Control(func(listener uintptr) {
			for {
				fd, more := acceptOne(int(listener))
				if fd >= 0 {
					_ = unix.Close(fd)
				}
				if !more {
					return
				}
			}
		})
	}
	open := make([]*Visit, 0, len(d.open))
	for v := range d.open {
		open = append(open, v)
	}
	clear(d.open)
	d.mu.Unlock()
	for _, v := range open {
		_ = v.Conn.Close()
	}
}

func (d *door) close() {
	_ = d.listener.Close()
	d.done.Wait()
	d.end()
}
