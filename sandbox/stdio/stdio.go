// Package stdio makes the descriptors that join a process to its caller: a stream socket for descriptor 3 and one pipe for
// stdout and stderr, and sees to it that nobody who kept a copy of the far ends can make the caller wait for ever.
package stdio

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Grace is how long after the end of a process a read of its output may still wait for somebody who holds the pipe.
const Grace = 2 * time.Second

// Pair holds both ends. The caller reads Conn and Output; JobConn and JobOutput go to the process.
type Pair struct {
	Conn      *net.UnixConn
	Output    *Output
	JobConn   *os.File
	JobOutput *os.File
}

// Open makes a pair. All descriptors are close-on-exec.
func Open() (*Pair, error) {
	s, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("job socket: %w", err)
	}
	near := os.NewFile(uintptr(s[0]), "job")
	defer near.Close()
	p := &Pair{JobConn: os.NewFile(uintptr(s[1]), "job")}
	c, err := net.FileConn(near)
	if err != nil {
		p.JobConn.Close()
		return nil, fmt.Errorf("job socket: %w", err)
	}
	p.Conn = c.(*net.UnixConn)
	r, w, err := Pipe("output")
	if err != nil {
		p.Close()
		return nil, err
	}
	// A process of another uid may reopen the pipe as /dev/stdout.
	if err := unix.Fchmod(int(w.Fd()), 0o666); err != nil {
		r.Close()
		w.Close()
		p.Close()
		return nil, fmt.Errorf("output pipe: %w", err)
	}
	p.Output, p.JobOutput = &Output{file: r}, w
	return p, nil
}

// Pipe makes a pipe whose read end uses the runtime's poller and whose write end blocks, as programs expect.
func Pipe(name string) (r, w *os.File, err error) {
	var f [2]int
	if err := unix.Pipe2(f[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, fmt.Errorf("%s pipe: %w", name, err)
	}
	if err := unix.SetNonblock(f[0], true); err != nil {
		unix.Close(f[0])
		unix.Close(f[1])
		return nil, nil, fmt.Errorf("%s pipe: %w", name, err)
	}
	return os.NewFile(uintptr(f[0]), name), os.NewFile(uintptr(f[1]), name), nil
}

// CloseJobEnds closes the far ends, once the process has its own.
func (p *Pair) CloseJobEnds() {
	p.JobConn.Close()
	if p.JobOutput != nil {
		p.JobOutput.Close()
	}
}

// Ended says that the process is gone. What it has sent can still be read; then both streams end, even if somebody else
// holds the far ends open.
func (p *Pair) Ended() {
	_ = p.Conn.CloseRead()
	p.Output.end()
}

// Close releases everything; idempotent.
func (p *Pair) Close() {
	p.CloseJobEnds()
	p.Conn.Close()
	if p.Output != nil {
		p.Output.file.Close()
	}
}

// Output is the near end of an output pipe.
type Output struct {
	file  *os.File
	ended atomic.Bool
	once  sync.Once
	now   atomic.Bool // set by Settle
}

// Settle makes reads end where the pipe is empty, a read that waits now included.
func (o *Output) Settle() {
	o.now.Store(true)
	_ = o.file.SetReadDeadline(time.Unix(1, 0)) // wakes it
}

// settled reads without waiting; EOF when there is nothing.
func (o *Output) settled(b []byte) (n int, err error) {
	_ = o.file.SetReadDeadline(time.Time{}) // a reader past its deadline would not even look
	raw, err := o.file.SyscallConn()
	if err != nil {
		return 0, io.EOF
	}
	var rerr error
	if err = raw.Read(func(fd uintptr) bool {
		n, rerr = unix.Read(int(fd), b)
		return true
	}); errors.Is(err, os.ErrDeadlineExceeded) {
		return o.settled(b) // Settle is at work
	}
	if err != nil || rerr != nil || n <= 0 {
		return 0, io.EOF
	}
	return n, nil
}

func (o *Output) end() {
	o.once.Do(func() {
		o.ended.Store(true)
		_ = o.file.SetReadDeadline(time.Now().Add(Grace))
	})
}

// SyscallConn gives the pipe to who must know more of a read than when it ends. Its deadline bounds reads after the end too.
func (o *Output) SyscallConn() (syscall.RawConn, error) { return o.file.SyscallConn() }

// Read implements io.Reader. EOF when every writer is gone, or when the process is and nothing has come for Grace.
func (o *Output) Read(b []byte) (int, error) {
	if o.now.Load() {
		return o.settled(b)
	}
	if o.ended.Load() {
		_ = o.file.SetReadDeadline(time.Now().Add(Grace))
	}
	n, err := o.file.Read(b)
	if n <= 0 && err != nil && o.now.Load() {
		return o.settled(b)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, os.ErrClosed) {
		err = io.EOF
	}
	return n, err
}
