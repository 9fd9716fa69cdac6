package jail

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"

	"github.com/millrace/millrace/sandbox"
)

// ErrGone is returned when the connection to the helper has ended; all slots are gone with it.
var ErrGone = errors.New("the sandbox helper is gone")

// Client is the daemon's end. Its methods may be called from any goroutine.
type Client struct {
	conn     packet
	strength sandbox.Strength
	api      netip.AddrPort
	watch    *os.File
	done     chan struct{} // closed by fail
	read     chan struct{} // closed when the reading goroutine has ended

	sendMu sync.Mutex

	mu      sync.Mutex
	err     error // why done is closed
	lastID  uint64
	pending map[uint64]func(reply, []*os.File) // called once, by the reading goroutine or fail
}

// Opened is a slot as the helper hands it over. The receiver closes the files.
type Opened struct {
	Slot     string
	UID, GID int
	Control  *os.File // socket to the forker
	Log      *os.File // what the slot's init and zygote write
	// Meters are what the host can tell, by their names (see sandbox/cgroup); empty where there is no control group.
	Meters map[string]*os.File
	// Inside are sockets that wait inside of the slot for who serves it: "api", "dns", "dns-stream". Link is the number by which
	// Watch names the slot, 0 without one.
	Inside map[string]*os.File
	Link   int
}

// Close closes the files.
func (o Opened) Close() {
	closeAll([]*os.File{o.Control, o.Log})
	for _, m := range []map[string]*os.File{o.Meters, o.Inside} {
		for _, f := range m {
			_ = f.Close()
		}
	}
}

// Dial greets the helper behind conn, which the client owns from now on.
func Dial(ctx context.Context, conn *net.UnixConn) (*Client, error) {
	c := &Client{conn: packet{conn}, pending: map[uint64]func(reply, []*os.File){},
		done: make(chan struct{}), read: make(chan struct{})}
	go c.loop()
	r, files, err := c.call(ctx, request{Op: opHello})
	if err == nil {
		err = c.greeted(r, files)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("greet the sandbox helper: %w", err), c.Close())
	}
	return c, nil
}

// Strength says how good the walls of the helper's slots are.
func (c *Client) Strength() sandbox.Strength { return c.strength }

// Done is closed when the connection has ended.
func (c *Client) Done() <-chan struct{} { return c.done }

// Open makes a slot. When ctx ends first, the slot is closed as soon as it is there.
func (c *Client) Open(ctx context.Context, t sandbox.Template, l sandbox.Limits) (Opened, error) {
	r, files, err := c.call(ctx, request{Op: opOpen, Template: &t, Limits: &l})
	if err != nil {
		return Opened{}, err
	}
	o := Opened{Slot: r.Slot, UID: r.UID, GID: r.GID, Link: r.Link, Meters: map[string]*os.File{}, Inside: map[string]*os.File{}}
	if len(files) != 2+len(r.Meters)+len(r.Inside) {
		closeAll(files)
		return Opened{}, fmt.Errorf("open slot: %w", errMalformed)
	}
	o.Control, o.Log = files[0], files[1]
	for i, name := range r.Meters {
		o.Meters[name] = files[2+i]
	}
	for i, name := range r.Inside {
		o.Inside[name] = files[2+len(r.Meters)+i]
	}
	return o, nil
}

// SetLimits changes the limits of a slot.
func (c *Client) SetLimits(ctx context.Context, slot string, l sandbox.Limits) error {
	return c.ask(ctx, request{Op: opLimits, Slot: slot, Limits: &l})
}

// Kill ends everything in a slot, its forker included.
func (c *Client) Kill(ctx context.Context, slot string) error {
	return c.ask(ctx, request{Op: opKill, Slot: slot})
}

// CloseSlot destroys a slot.
func (c *Client) CloseSlot(ctx context.Context, slot string) error {
	return c.ask(ctx, request{Op: opClose, Slot: slot})
}

// Remove removes a file or folder below the cache, whoever owns what is in it.
func (c *Client) Remove(ctx context.Context, path string) error {
	return c.ask(ctx, request{Op: opRemove, Path: path})
}

// Killed tells which process of a slot was last killed for lack of memory; nil: that is not known.
func (c *Client) Killed(ctx context.Context, slot string) (*sandbox.Kill, error) {
	r, files, err := c.call(ctx, request{Op: opOOM, Slot: slot})
	closeAll(files)
	return r.Killed, err
}

func (c *Client) ask(ctx context.Context, r request) error {
	_, files, err := c.call(ctx, r)
	closeAll(files)
	return err
}

type answer struct {
	reply reply
	files []*os.File
}

func (c *Client) call(ctx context.Context, r request) (reply, []*os.File, error) {
	got := make(chan answer, 1)
	id, err := c.register(func(r reply, files []*os.File) { got <- answer{r, files} })
	if err != nil {
		return reply{}, nil, err
	}
	r.ID = id
	c.sendMu.Lock()
	err = c.conn.send(r)
	c.sendMu.Unlock()
	if err != nil {
		c.forget(id)
		return reply{}, nil, fmt.Errorf("%s: %w", r.Op, err)
	}
	select {
	case a := <-got:
		return c.take(r.Op, a)
	case <-c.done:
		select { // an answer that came before the end counts
		case a := <-got:
			return c.take(r.Op, a)
		default:
			return reply{}, nil, fmt.Errorf("%s: %w", r.Op, c.broken())
		}
	case <-ctx.Done():
		go c.discard(r.Op, got)
		return reply{}, nil, fmt.Errorf("%s: %w", r.Op, ctx.Err())
	}
}

func (c *Client) take(op string, a answer) (reply, []*os.File, error) {
	if a.reply.Error != "" {
		closeAll(a.files)
		return reply{}, nil, fmt.Errorf("%s: %s", op, a.reply.Error)
	}
	return a.reply, a.files, nil
}

// discard waits for an answer that nobody waits for any more and undoes what was done.
func (c *Client) discard(op string, got chan answer) {
	select {
	case a := <-got:
		closeAll(a.files)
		if op == opOpen && a.reply.Error == "" {
			_ = c.CloseSlot(context.Background(), a.reply.Slot)
		}
	case <-c.done:
	}
}

func (c *Client) register(f func(reply, []*os.File)) (uint64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return 0, c.err
	}
	c.lastID++
	c.pending[c.lastID] = f
	return c.lastID, nil
}

func (c *Client) forget(id uint64) func(reply, []*os.File) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.pending[id]
	delete(c.pending, id)
	return f
}

// loop is the only reader of the connection.
func (c *Client) loop() {
	defer close(c.read)
	buf := make([]byte, maxMessage+1)
	for {
		data, files, err := c.conn.receive(buf)
		var r reply
		if err == nil {
			err = decode(data, &r)
		}
		if err != nil {
			closeAll(files)
			c.fail(fmt.Errorf("%w: %w", ErrGone, err))
			return
		}
		if f := c.forget(r.ID); f != nil {
			f(r, files)
		} else {
			closeAll(files)
		}
	}
}

func (c *Client) fail(err error) {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.err = err
	c.mu.Unlock()
	_ = c.conn.conn.Close()
	close(c.done)
}

func (c *Client) broken() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Close hangs up; the helper destroys all slots. Idempotent.
func (c *Client) Close() error {
	c.fail(fmt.Errorf("%w: closed", ErrGone))
	<-c.read
	return nil
}
