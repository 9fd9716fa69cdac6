package forker

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/sandbox"
	"github.com/millrace/millrace/sandbox/stdio"
)

// process implements sandbox.Process.
type process struct {
	c  *Client
	id uint32 // written by publish

	pair    *stdio.Pair   // written by open, before the process is asked for
	collect *collect      // what the minimal init tells, nil when it is not asked; guarded by mu
	started chan error    // capacity 1; sent by the client's loop
	done    chan struct{} // closed by finish, after exit and err were written
	once    sync.Once

	acked bool // only the client's loop
	exit  sandbox.Exit
	err   error // the fate is unknown

	mu   sync.Mutex
	hold *os.File // near end of the socket on which a held process waits; nil when it does not; guarded by mu
}

func newProcess(c *Client) *process {
	return &process{c: c, started: make(chan error, 1), done: make(chan struct{})}
}

// given holds the descriptors that travel with a request. They are closed once it is sent.
type given struct {
	fds     []int
	files   []*os.File
	payload *os.File
	pair    *stdio.Pair
}

func (g *given) close() {
	if g.pair != nil {
		g.pair.CloseJobEnds()
	}
	for _, f := range g.files {
		f.Close()
	}
}

func (g *given) add(f *os.File) {
	g.files = append(g.files, f)
	g.fds = append(g.fds, int(f.Fd()))
}

// open makes the descriptors of p in the order in which the forker expects them. The result is never nil.
func (p *process) open(rq Request, body []byte) (*given, error) {
	g := &given{}
	pair, err := stdio.Open()
	if err != nil {
		return g, err
	}
	p.pair, g.pair = pair, pair
	g.fds = []int{int(pair.JobConn.Fd()), int(pair.JobOutput.Fd())}
	if rq.Hold {
		return g, p.openHold(g)
	}
	return g, p.openProgram(g, rq.Spec, body)
}

// openProgram adds what a program needs beyond the descriptors that all processes have.
func (p *process) openProgram(g *given, s sandbox.Spec, body []byte) (err error) {
	switch {
	case s.Exec != nil && p.c.opts.Rootless:
		program, err := sealedCopy(s.Exec)
		if err != nil {
			return err
		}
		g.add(program)
	case s.Exec != nil:
		g.fds = append(g.fds, int(s.Exec.Fd()))
	}
	if len(body) > maxInline {
		if g.payload, err = sealed(body); err != nil {
			return err
		}
		g.add(g.payload)
	}
	if s.Collect != "" {
		r, w, err := stdio.Pipe("collect")
		if err != nil {
			return err
		}
		p.mu.Lock()
		p.collect = newCollect(r)
		p.mu.Unlock()
		g.add(w)
	}
	return nil
}

// sealed returns a memory file that nobody can change any more.
func sealed(body []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("request", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("request file: %w", err)
	}
	f := os.NewFile(uintptr(fd), "request")
	if _, err = f.Write(body); err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS,
			unix.F_SEAL_WRITE|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("request file: %w", err)
	}
	return f, nil
}

func exitOf(r Reply) sandbox.Exit {
	e := sandbox.Exit{Error: r.Text}
	switch w := unix.WaitStatus(uint32(r.Value)); {
	case w.Exited():
		e.Code = w.ExitStatus()
	case w.Signaled():
		e.Signal = int(w.Signal())
		e.Code = 128 + e.Signal
	default:
		e.Code, e.Error = 255, "forker reported an impossible wait status"
	}
	e.Usage.CPUUser = time.Duration(r.UserMicros) * time.Microsecond
	e.Usage.CPUSystem = time.Duration(r.SysMicros) * time.Microsecond
	e.Usage.MemoryPeak = int64(r.MaxRSS)
	return e
}

// finish publishes the end of p; the client's loop or fail calls it once.
func (p *process) finish(err error) {
	p.err = err
	if p.pair != nil {
		p.pair.Ended()
	}
	if c := p.collecting(); c != nil {
		c.ended()
	}
	close(p.done)
}

// Conn implements sandbox.Process.
func (p *process) Conn() net.Conn { return p.pair.Conn }

// Output implements sandbox.Process.
func (p *process) Output() io.Reader { return p.pair.Output }

// Collected implements sandbox.Process.
func (p *process) Collected() ([]byte, bool) {
	if c := p.collecting(); c != nil && c.over() {
		return c.file()
	}
	return nil, false
}

func (p *process) collecting() *collect {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.collect
}

// Settle implements sandbox.Settler.
func (p *process) Settle() { p.pair.Output.Settle() }

// UsageNow implements sandbox.Settler.
func (p *process) UsageNow() sandbox.Usage {
	if p.c.opts.UsageNow == nil {
		return sandbox.Usage{}
	}
	return p.c.opts.UsageNow()
}

// Wait implements sandbox.Process.
func (p *process) Wait(ctx context.Context) (sandbox.Exit, error) {
	select {
	case <-p.done:
	case <-ctx.Done():
		return sandbox.Exit{}, fmt.Errorf("wait for process: %w", ctx.Err())
	}
	if p.err != nil {
		return sandbox.Exit{}, fmt.Errorf("wait for process: %w", p.err)
	}
	return p.exit, nil
}

// Kill implements sandbox.Process.
func (p *process) Kill() error {
	select {
	case <-p.done:
		return nil
	default:
	}
	head, _, err := Encode(Request{Op: OpKill, ID: p.id})
	if err != nil {
		return err
	}
	if err := p.c.send(head[:], nil); err != nil && p.c.broken() == nil {
		return fmt.Errorf("kill process: %w", err)
	}
	return nil // a broken slot has taken its processes with it
}

// Close implements sandbox.Process. The slot is free again when the process's end has been reported, which is soon after.
func (p *process) Close() error {
	err := p.Kill()
	p.release()
	return err
}

func (p *process) release() {
	p.once.Do(func() {
		if p.pair != nil {
			p.pair.Close()
		}
		if c := p.collecting(); c != nil {
			_ = c.pipe.Close()
		}
		p.letGo()
	})
}
