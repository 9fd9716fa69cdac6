package pool

import (
	"errors"
	"io"
	"net"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/sandbox"
)

// tie keeps the two streams of a process in step, answers and output, so that each run gets the output that is its own.
//
// A process sends an answer only once its output pipe has been read empty. So when there is output to be read, it is that of the run
// whose answer comes next, once all answers that have been sent are known. The one who reads answers therefore holds mu from when
// it takes bytes until it has dealt with them all, and the one who reads output does so with mu and only while no bytes wait.
type tie struct {
	conn net.Conn
	raw  syscall.RawConn // nil: conn is no socket, in tests
	mu   sync.Mutex
	took sync.Cond // on mu: answers have been dealt with
	over bool      // nobody reads answers any more; guarded by mu
	held bool      // by Read; only the goroutine that reads answers
}

func newTie(conn net.Conn) *tie {
	t := &tie{conn: conn}
	t.took.L = &t.mu
	if c, ok := conn.(syscall.Conn); ok {
		t.raw, _ = c.SyscallConn() // an error: the connection is closed, and says so when it is read
	}
	return t
}

// Read takes bytes of answers. All that it gave before have been dealt with.
func (t *tie) Read(p []byte) (n int, err error) {
	t.release()
	if t.raw == nil {
		n, err = t.conn.Read(p)
		t.mu.Lock()
		t.held = true
		return n, err
	}
	waited := t.raw.Read(func(fd uintptr) bool {
		t.mu.Lock()
		t.held = true
		if n, err = syscall.Read(int(fd), p); errors.Is(err, syscall.EAGAIN) {
			t.release()
			return false
		}
		return true
	})
	if waited != nil || err != nil || n <= 0 {
		return 0, io.EOF // how it ended is the process's to tell
	}
	return n, nil
}

// release says that all answers that were read have been dealt with.
func (t *tie) release() {
	if t.held {
		t.held = false
		t.took.Broadcast()
		t.mu.Unlock()
	}
}

// end says that nobody reads answers any more.
func (t *tie) end() {
	t.release()
	t.mu.Lock()
	t.over = true
	t.took.Broadcast()
	t.mu.Unlock()
}

// level takes mu when no answer waits to be read.
func (t *tie) level() {
	t.mu.Lock()
	for !t.over && t.waits() {
		t.took.Wait()
	}
}

// waits says whether there are bytes that Read has not taken.
func (t *tie) waits() (yes bool) {
	if t.raw == nil {
		return false
	}
	_ = t.raw.Control(func(fd uintptr) { // an error: it is closed, nothing can be read
		var one [1]byte
		n, _, err := syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		yes = err == nil && n > 0
	})
	return yes
}

// readOutput passes output on to the turn that runs, until every holder of the pipe is gone.
func (s *shift) readOutput(proc sandbox.Process) {
	pooled := buffers.Get().(*[outputBuffer]byte)
	defer buffers.Put(pooled)
	out := proc.Output()
	if c, ok := out.(syscall.Conn); ok {
		if raw, err := c.SyscallConn(); err == nil {
			s.readRaw(raw, pooled[:])
			return
		}
	}
	for { // a stream that is no pipe, in tests
		n, err := out.Read(pooled[:])
		s.tie.mu.Lock()
		s.deliver(pooled[:n])
		s.tie.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (s *shift) readRaw(raw syscall.RawConn, buf []byte) {
	for {
		var n int
		var err error
		waited := raw.Read(func(fd uintptr) bool {
			if n, _ := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0); n == 0 {
				return false // wait; what comes later is another run's, perhaps
			}
			s.tie.level()
			defer s.tie.mu.Unlock()
			if n, err = syscall.Read(int(fd), buf); errors.Is(err, syscall.EAGAIN) {
				return false
			}
			s.deliver(buf[:max(n, 0)])
			return true
		})
		if waited != nil || n == 0 && err == nil || err != nil && !errors.Is(err, syscall.EINTR) {
			return
		}
	}
}

// deliver gives output to the run that it belongs to, and stops one that says too much. What comes while none runs, from a thread
// that stayed behind, has no place to go. s.tie.mu is held.
func (s *shift) deliver(p []byte) {
	if len(p) == 0 {
		return
	}
	if t := s.head(); t != nil {
		t.says(p)
	}
}

// says passes on output of the turn. Only one goroutine at a time.
func (t *turn) says(p []byte) {
	if over := t.total + int64(len(p)) - t.limits.Output; over > 0 {
		p = p[:max(0, int64(len(p))-over)]
		t.halt(StoppedOutput)
	}
	t.total += int64(len(p))
	if len(p) == 0 {
		return
	}
	t.tail.add(p)
	if t.t.OnOutput != nil {
		t.t.OnOutput(p)
	}
}
