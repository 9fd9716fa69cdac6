package forker

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/sandbox"
)

var (
	_ sandbox.Holder  = (*Client)(nil)
	_ sandbox.Held    = (*process)(nil)
	_ sandbox.Settler = (*process)(nil)
	_ sandbox.Teller  = (*process)(nil)
)

// Hold implements sandbox.Holder; it returns when the forker has cloned the process.
func (c *Client) Hold(ctx context.Context, l sandbox.Limits) (sandbox.Held, error) {
	p, err := c.start(ctx, Request{Hold: true, Spec: sandbox.Spec{Limits: l}})
	if err != nil {
		return nil, err
	}
	return p, nil
}

// openHold adds the socket on which a held process waits.
func (p *process) openHold(g *given) error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("hold socket: %w", err)
	}
	p.hold = os.NewFile(uintptr(pair[0]), "hold")
	g.add(os.NewFile(uintptr(pair[1]), "hold"))
	return nil
}

// Become implements sandbox.Held.
func (p *process) Become(s sandbox.Spec) error {
	head, body, err := Encode(Request{Op: OpStart, ID: p.id, UID: p.c.opts.UID, GID: p.c.opts.GID, Rootless: p.c.opts.Rootless, Spec: s})
	if err != nil {
		return fmt.Errorf("start process: %w", err)
	}
	var g given
	defer g.close()
	if err := p.openProgram(&g, s, body); err != nil {
		return fmt.Errorf("start process: %w", err)
	}
	message := head[:]
	if g.payload == nil {
		message = append(message, body...)
	}
	p.mu.Lock()
	hold := p.hold
	p.hold = nil
	p.mu.Unlock()
	if hold == nil {
		return errors.New("start process: it does not wait for a program")
	}
	defer func() { _ = hold.Close() }()
	// The socket is empty, so this does not block; a process that has been killed is not an error: its end is told by Wait.
	err = unix.Sendmsg(int(hold.Fd()), message, unix.UnixRights(g.fds...), nil, unix.MSG_NOSIGNAL)
	if err != nil && !errors.Is(err, unix.EPIPE) && !errors.Is(err, unix.ECONNRESET) {
		return fmt.Errorf("start process: %w", errors.Join(err, p.Kill()))
	}
	return nil
}

// letGo ends a process that still waits.
func (p *process) letGo() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.hold != nil {
		_ = p.hold.Close()
		p.hold = nil
	}
}

// Told implements sandbox.Teller.
func (p *process) Told(ctx context.Context) (sandbox.Exit, bool) {
	c := p.collecting()
	if c == nil {
		return sandbox.Exit{}, false
	}
	select {
	case <-c.done:
	case <-ctx.Done():
		return sandbox.Exit{}, false
	}
	status, ok := c.status()
	if !ok || status != 0 {
		return sandbox.Exit{}, false // whatever needs an explanation gets it from Wait
	}
	e := sandbox.Exit{Usage: p.UsageNow()}
	if p.c.opts.AfterExit != nil {
		p.c.opts.AfterExit(&e)
	}
	return e, true
}
