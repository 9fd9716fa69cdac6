package forker

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/sandbox"
)

// ErrBroken is returned when the forker is gone, or said something that no forker says.
var ErrBroken = errors.New("forker is gone")

// ErrBusy is returned by Start while a process of the slot is alive.
var ErrBusy = errors.New("slot is busy")

const (
	defaultHelloTimeout = 30 * time.Second
	sendTimeout         = 10 * time.Second
)

// Options says how jobs of one slot are started.
type Options struct {
	// UID and GID of jobs, as seen inside the slot. Not 0 unless Rootless.
	UID, GID uint32
	// Rootless: one id is mapped, jobs keep it. Spec.Exec is then run from a sealed copy, as the job could change the file.
	Rootless bool
	// RlimitPids bounds Limits.Pids by RLIMIT_NPROC, for hosts without a pids cgroup. It counts the processes of UID in the
	// slot's user namespace.
	RlimitPids bool
	// HelloTimeout bounds the boot of a zygote. Zero: 30 s.
	HelloTimeout time.Duration
	// BeforeStart is called with the limits of each job, defaults filled in, before it is asked for; an error fails the Start.
	BeforeStart func(sandbox.Limits) error
	// AfterExit may complete the Exit of each job before Wait returns it, and before that what Told says of the same job. It runs
	// on the control socket's goroutine, or on that of who called Told; perhaps on both at once.
	AfterExit func(*sandbox.Exit)
	// UsageNow tells what the process that runs now has used. Nil: it cannot be told.
	UsageNow func() sandbox.Usage
}

// Client is the server's end of one slot's control socket. Its methods may be called from any goroutine.
type Client struct {
	conn *net.UnixConn
	opts Options
	done chan struct{} // closed by fail
	read chan struct{} // closed when the reading goroutine has ended

	sendMu sync.Mutex // one message at a time, so that a write deadline belongs to one

	mu       sync.Mutex
	err      error // why done is closed
	reserved bool  // a Start is under way
	lastID   uint32
	procs    map[uint32]*process // alive, or asked for
}

// New waits for the forker behind conn to say hello. It owns conn, and closes it when it fails.
func New(conn *net.UnixConn, o Options) (*Client, error) {
	if o.HelloTimeout == 0 {
		o.HelloTimeout = defaultHelloTimeout
	}
	if !o.Rootless && (o.UID == 0 || o.GID == 0) {
		conn.Close()
		return nil, errors.New("forker: jobs need a uid and a gid other than 0")
	}
	c := &Client{
		conn: conn, opts: o, procs: map[uint32]*process{},
		done: make(chan struct{}), read: make(chan struct{}),
	}
	_ = conn.SetReadDeadline(time.Now().Add(o.HelloTimeout))
	r, err := c.receive(make([]byte, maxReply+1))
	if err == nil && r.Op != OpHello {
		err = errMalformed
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("wait for the forker: %w", err)
	}
	_ = conn.SetReadDeadline(time.Time{})
	go c.loop()
	return c, nil
}

// Start starts a process; it returns when the forker has cloned it. What fails after that is in Exit.Error.
func (c *Client) Start(ctx context.Context, s sandbox.Spec) (sandbox.Process, error) {
	p, err := c.start(ctx, Request{Spec: s})
	if err != nil {
		return nil, err
	}
	return p, nil
}

func (c *Client) start(ctx context.Context, rq Request) (*process, error) {
	rq.Op, rq.UID, rq.GID, rq.Rootless = OpStart, c.opts.UID, c.opts.GID, c.opts.Rootless
	s := &rq.Spec
	s.Limits = s.Limits.WithDefaults()
	if c.opts.RlimitPids {
		rq.Procs = uint32(s.Limits.Pids)
		if c.opts.Rootless {
			rq.Procs += 2 // the slot's init and its forker have the same id
		}
	}
	if err := c.reserve(); err != nil {
		return nil, fmt.Errorf("start process: %w", err)
	}
	p, err := c.ask(rq)
	if err != nil {
		return nil, fmt.Errorf("start process: %w", err)
	}
	select {
	case err = <-p.started:
	case <-ctx.Done():
		err = ctx.Err()
	case <-c.done:
		err = c.broken()
	}
	if err != nil {
		p.Close()
		return nil, fmt.Errorf("start process: %w", err)
	}
	return p, nil
}

// reserve takes the slot for one Start, until publish or unreserve.
func (c *Client) reserve() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	if c.reserved || len(c.procs) > 0 {
		return ErrBusy
	}
	c.reserved = true
	return nil
}

func (c *Client) unreserve() {
	c.mu.Lock()
	c.reserved = false
	c.mu.Unlock()
}

// publish gives p its id and makes it known to the loop; from now on its end is told by finish.
func (c *Client) publish(p *process) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reserved = false
	if c.err != nil {
		return c.err
	}
	c.lastID++
	if c.lastID == 0 {
		c.lastID = 1
	}
	p.id = c.lastID
	c.procs[p.id] = p
	return nil
}

// ask sends the request with its descriptors. When it returns an error nothing runs, or the slot is broken.
func (c *Client) ask(rq Request) (*process, error) {
	head, body, err := Encode(rq)
	if err == nil && c.opts.BeforeStart != nil {
		err = c.opts.BeforeStart(rq.Spec.Limits)
	}
	if err != nil {
		c.unreserve()
		return nil, err
	}
	p := newProcess(c)
	g, err := p.open(rq, body)
	defer g.close()
	if err != nil {
		c.unreserve()
		p.release()
		return nil, err
	}
	if err := c.publish(p); err != nil {
		p.release()
		return nil, err
	}
	binary.LittleEndian.PutUint32(head[4:], p.id)
	message := head[:]
	if g.payload == nil {
		message = append(message, body...)
	}
	if err := c.send(message, unix.UnixRights(g.fds...)); err != nil {
		p.release()
		return nil, err
	}
	return p, nil
}

func (c *Client) send(message, rights []byte) error {
	c.sendMu.Lock()
	defer c.sendMu.Unlock()
	_ = c.conn.SetWriteDeadline(time.Now().Add(sendTimeout))
	if _, _, err := c.conn.WriteMsgUnix(message, rights, nil); err != nil {
		err = fmt.Errorf("%w: %w", ErrBroken, err)
		c.fail(err)
		return err
	}
	return nil
}

func (c *Client) receive(buf []byte) (Reply, error) {
	n, err := c.conn.Read(buf)
	if err != nil {
		return Reply{}, fmt.Errorf("%w: %w", ErrBroken, err)
	}
	r, err := Decode(buf[:n])
	if err != nil {
		return r, fmt.Errorf("%w: %w", ErrBroken, err)
	}
	return r, nil
}

// loop is the only reader of the control socket.
func (c *Client) loop() {
	defer close(c.read)
	buf := make([]byte, maxReply+1)
	for {
		r, err := c.receive(buf)
		if err == nil {
			err = c.dispatch(r)
		}
		if err != nil {
			c.fail(err)
			return
		}
	}
}

func (c *Client) dispatch(r Reply) error {
	c.mu.Lock()
	p := c.procs[r.ID]
	c.mu.Unlock()
	if p == nil {
		return fmt.Errorf("%w: message for no process", ErrBroken)
	}
	switch {
	case r.Op == OpStarted && !p.acked:
		p.acked = true
		p.started <- nil
	case r.Op == OpRefused && !p.acked:
		p.acked = true
		p.started <- errors.New(r.Text)
		c.drop(p, sandbox.Exit{})
	case r.Op == OpExit && p.acked:
		e := exitOf(r)
		if c.opts.AfterExit != nil {
			c.opts.AfterExit(&e)
		}
		c.drop(p, e)
	default:
		return fmt.Errorf("%w: unexpected message", ErrBroken)
	}
	return nil
}

func (c *Client) drop(p *process, e sandbox.Exit) {
	c.mu.Lock()
	mine := c.procs[p.id] == p // else fail, at the same time, has taken it
	delete(c.procs, p.id)
	c.mu.Unlock()
	if mine {
		p.exit = e
		p.finish(nil)
	}
}

// fail ends the client once: every process that is not known to have ended gets err.
func (c *Client) fail(err error) {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.err = err
	lost := c.procs
	c.procs = map[uint32]*process{}
	c.mu.Unlock()
	c.conn.Close()
	close(c.done)
	for _, p := range lost {
		p.finish(err)
	}
}

func (c *Client) broken() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Done is closed when the forker is gone.
func (c *Client) Done() <-chan struct{} { return c.done }

// Close ends the forker, and with it everything in the slot; idempotent.
func (c *Client) Close() error {
	c.fail(fmt.Errorf("%w: closed", ErrBroken))
	<-c.read
	return nil
}
