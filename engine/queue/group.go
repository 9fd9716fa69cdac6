package queue

import (
	"runtime"
	"slices"
	"sync"
	"time"
)

// group commits together what is asked for at the same time, without a timer and without a goroutine of its own: who finds
// nobody at work takes everything pending and does it; who finds somebody at work leaves its part and will be woken by them.
// Only what need not be done at once (addLater) may lie for a moment until somebody comes.
type group[T any] struct {
	// run does a batch and wakes its owners. When it cannot be done now it returns how to go on, which may take long: that
	// happens in the background, and what comes meanwhile waits.
	run func(batch []T) (later func())
	max int           // items in a batch
	big func(v T) int // bytes of an item; nil: they do not matter
	lim int           // bytes in a batch
	// urgent tells what goes before all else, with little company, so that its batch takes little time; nil: nothing does.
	urgent func(v T) bool

	mu      sync.Mutex
	pending []T  // guarded by mu
	ahead   int  // how many of pending, the first ones, are urgent; guarded by mu
	busy    bool // somebody is at work; guarded by mu
	armed   bool // a timer will look after pending; guarded by mu
}

// patience is how long something that need not be done at once lies until somebody comes whose flush it can share. Outcomes of jobs that
// were asked for one by one share the flush of the next job that way, so that a steady stream of jobs costs one flush a job.
const patience = 2 * time.Millisecond

// addLater adds v, which is done with the next batch, or after patience. Enough of it is not kept waiting.
func (g *group[T]) addLater(v T) {
	g.mu.Lock()
	if g.busy || len(g.pending) < manyPatient {
		g.put(v)
		if !g.busy && !g.armed {
			g.armed = true
			time.AfterFunc(patience, g.look)
		}
		g.mu.Unlock()
		return
	}
	g.mu.Unlock()
	g.add(v)
}

const manyPatient = 16

// look does what lies there, unless somebody is at it.
func (g *group[T]) look() {
	g.mu.Lock()
	g.armed = false
	if g.busy || len(g.pending) == 0 {
		g.mu.Unlock()
		return
	}
	g.busy = true
	g.mu.Unlock()
	g.drain()
}

func (g *group[T]) add(v T) {
	g.mu.Lock()
	g.put(v)
	if g.busy {
		g.mu.Unlock()
		return
	}
	g.busy = true
	batch := g.take()
	g.mu.Unlock()
	if later := g.run(batch); later != nil {
		go func() {
			later()
			g.drain()
		}()
		return
	}
	g.mu.Lock()
	if len(g.pending) == 0 {
		g.busy = false
		g.mu.Unlock()
		return
	}
	g.mu.Unlock()
	go g.drain() // the caller has waited for its own part only
}

func (g *group[T]) drain() {
	for {
		runtime.Gosched()
		g.mu.Lock()
		batch := g.take()
		if len(batch) == 0 {
			g.busy = false
			g.mu.Unlock()
			return
		}
		g.mu.Unlock()
		if later := g.run(batch); later != nil {
			later()
		}
	}
}

// company is how much that is not urgent shares the batch of what is: without any, a stream of urgent things would hold up the rest.
const company = 32

// put adds v to pending: behind all, or behind what is as urgent. Called with mu held.
func (g *group[T]) put(v T) {
	if g.urgent == nil || !g.urgent(v) {
		g.pending = append(g.pending, v)
		return
	}
	g.pending = slices.Insert(g.pending, g.ahead, v)
	g.ahead++
}

// take cuts the next batch off pending; at least one item when there is one. Called with mu held.
func (g *group[T]) take() []T {
	n, bytes := 0, 0
	most := g.max
	if g.ahead > 0 {
		most = min(most, g.ahead+company)
	}
	for n < len(g.pending) && n < most {
		if g.big != nil {
			if bytes += g.big(g.pending[n]); bytes > g.lim && n > 0 {
				break
			}
		}
		n++
	}
	g.ahead = max(0, g.ahead-n)
	if n == len(g.pending) {
		batch := g.pending
		g.pending = nil
		return batch
	}
	batch := g.pending[:n:n]
	g.pending = g.pending[n:]
	return batch
}
