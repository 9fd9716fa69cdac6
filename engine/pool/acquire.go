package pool

import (
	"context"
	"errors"

	"github.com/millrace/millrace/runtimes"
)

// errStopped is returned by Acquire after Stop.
var errStopped = errors.New("pool: stopped")

// Acquire returns a worker for l. It waits when the budget is used up and ends with ctx.
func (p *Pool) Acquire(ctx context.Context, l runtimes.Launch) (*Worker, error) {
	for again := false; ; again = true {
		p.mu.Lock()
		if p.closed {
			p.mu.Unlock()
			return nil, errStopped
		}
		c := p.classOf(l)
		if !again {
			c.arrived(p.now())
		}
		if e := c.takeAt(p.now()); e != nil {
			p.mu.Unlock()
			if isClosed(e.slot.Done()) {
				p.drop(e)
				continue
			}
			return &Worker{pool: p, entry: e, launch: l}, nil
		}
		if len(c.turn) < c.soon {
			w := make(chan struct{})
			c.turn = append(c.turn, w)
			p.mu.Unlock()
			select {
			case <-w:
			case <-ctx.Done():
				p.giveUp(&c.turn, w)
				return nil, ctx.Err()
			}
			continue
		}
		if p.open < p.cfg.MaxSlots {
			p.open++
			c.slots++
			p.mu.Unlock()
			return p.openWorker(ctx, c, l)
		}
		if e := p.oldestIdle(c); e != nil {
			e.class.slots--
			c.slots++
			p.mu.Unlock()
			p.discard(e)
			return p.openWorker(ctx, c, l)
		}
		w := make(chan struct{})
		p.waiting = append(p.waiting, w)
		p.mu.Unlock()
		select {
		case <-w:
		case <-ctx.Done():
			p.giveUp(&p.waiting, w)
			return nil, ctx.Err()
		}
	}
}

// giveUp removes w from those that wait; if it was woken meanwhile the wake-up goes to the next.
func (p *Pool) giveUp(list *[]chan struct{}, w chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, x := range *list {
		if x == w {
			*list = append((*list)[:i:i], (*list)[i+1:]...)
			return
		}
	}
	wakeOne(list)
}

// wakeOne lets the oldest of those that wait look again; false: nobody waits.
func wakeOne(list *[]chan struct{}) bool {
	if len(*list) == 0 {
		return false
	}
	close((*list)[0])
	*list = (*list)[1:]
	return true
}

// wake lets somebody who waits for a slot of c, or else for any, look again.
func (p *Pool) wake(c *class) {
	if !wakeOne(&c.turn) {
		wakeOne(&p.waiting)
	}
}

// coming counts slots that will be idle soon. Who waits for one that does not come after all looks again.
func (p *Pool) coming(c *class, n int) {
	p.mu.Lock()
	c.soon += n
	for len(c.turn) > c.soon {
		wakeOne(&c.turn)
	}
	p.mu.Unlock()
}

// openWorker opens a slot whose place in the budget is already counted.
func (p *Pool) openWorker(ctx context.Context, c *class, l runtimes.Launch) (*Worker, error) {
	slot, err := p.cfg.Isolator.Open(ctx, l.Template)
	if err != nil {
		p.mu.Lock()
		p.open--
		c.slots--
		p.wake(c)
		p.mu.Unlock()
		return nil, err
	}
	return &Worker{pool: p, entry: &entry{class: c, slot: slot, since: p.now()}, launch: l}, nil
}
