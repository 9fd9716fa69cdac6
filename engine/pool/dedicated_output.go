package pool

import (
	"errors"
	"syscall"

	"github.com/millrace/millrace/sandbox"
)

// readOutput passes output on to the turn that runs, until every holder of the pipe is gone. A wrapper sends an answer only once
// the pipe has been read empty, and reading is done with the lock that an answer takes: so each run gets what is its own.
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
	for { // a stream that is no descriptor, in tests
		n, err := out.Read(pooled[:])
		s.output.Lock()
		s.deliver(pooled[:n])
		s.output.Unlock()
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
			s.output.Lock()
			defer s.output.Unlock()
			if n, err = syscall.Read(int(fd), buf); errors.Is(err, syscall.EAGAIN) {
				return false // empty: wait
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
// that stayed behind, has no place to go. s.output is held.
func (s *shift) deliver(p []byte) {
	if len(p) == 0 {
		return
	}
	t := s.head()
	if t == nil {
		return
	}
	if over := t.total + int64(len(p)) - t.limits.Output; over > 0 {
		p = p[:max(0, int64(len(p))-over)]
		t.stop(StoppedOutput)
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
