package dispatch

import (
	"context"
	"sync/atomic"

	"github.com/millrace/millrace/engine/execute"
)

// tally counts what a drain waits for. It is asked by every request, so it takes no lock.
type tally struct {
	n    atomic.Int64
	none chan struct{} // signaled when n comes to zero; signals merge
}

func newTally() tally { return tally{none: make(chan struct{}, 1)} }

func (t *tally) add() { t.n.Add(1) }

func (t *tally) done() {
	if t.n.Add(-1) > 0 {
		return
	}
	select {
	case t.none <- struct{}{}:
	default:
	}
}

// wait returns when nothing is left; false: ctx ended first.
func (t *tally) wait(ctx context.Context) bool {
	for t.n.Load() > 0 {
		select {
		case <-t.none:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// Drain takes no more jobs and waits for the running ones until ctx ends; those that still run then are stopped and handed
// back to the queue. A job whose slot was reserved before, and that is just being inserted, is waited for as well: it is this daemon's
// by the books, and nobody else's before this daemon has left.
func (d *Dispatcher) Drain(ctx context.Context) {
	if !d.taking.Swap(false) {
		return
	}
	d.cancel()
	d.loop.Wait()
	if !d.reserved.wait(ctx) || !d.jobs.wait(ctx) {
		d.mu.Lock()
		d.over = true
		for _, stop := range d.running {
			stop(execute.ErrShutdown)
		}
		d.mu.Unlock()
		d.jobs.wait(context.Background())
	}
	d.pool.Release()
}

// reserve notes that a slot may be taken for a job that is yet to be inserted; false: a drain has begun. Either it sees that, or the
// drain sees the reservation.
func (d *Dispatcher) reserve() bool {
	d.reserved.add()
	if d.taking.Load() {
		return true
	}
	d.reserved.done()
	return false
}
