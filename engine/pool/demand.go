package pool

import (
	"math"
	"slices"
	"time"
)

// An interpreter that cannot be forked boots for each run, in a process that waits for it. How many wait is decided by how many
// runs begin while one boots: so many are kept that there is nearly always one left. A run that finds none has its own booted, and
// what is more than wanted is ended, while its slot stays for such runs until it has been idle for long.

// demand is how often a class is asked for, and how long it takes to have a process ready. Guarded by Pool.mu.
type demand struct {
	rate float64   // runs a second, those of a while ago counted less
	last time.Time // the last run; rate was true then
	boot time.Duration
}

// demandMemory is how long ago a run is when it counts a third.
const demandMemory = 10 * time.Second

func (d *demand) rateAt(now time.Time) float64 {
	return d.rate * math.Exp(-float64(now.Sub(d.last))/float64(demandMemory))
}

// arrived counts a run.
func (d *demand) arrived(now time.Time) {
	d.rate, d.last = d.rateAt(now)+1/demandMemory.Seconds(), now
}

// booted learns how long one process took.
func (d *demand) booted(took time.Duration) {
	if d.boot == 0 {
		d.boot = took
	}
	d.boot += (took - d.boot) / 8
}

// wanted is how many processes should wait: what arrives while one boots, and three times the square root of that, for runs that
// come at random come so close together in all but a thousandth of the cases. One, where there was a run within recently.
func (d *demand) wanted(now time.Time, recently time.Duration) int {
	if d.last.IsZero() || now.Sub(d.last) >= recently {
		return 0
	}
	mean := d.rateAt(now) * d.boot.Seconds()
	return max(1, int(math.Ceil(mean+3*math.Sqrt(mean))))
}

// enough reports whether as many processes of a class that boots wait as it wants.
func (p *Pool) enough(c *class) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return c.boots && c.spare(p.now(), p.cfg.IdleAfter) >= 0
}

// spare is how many more processes wait than are wanted; less than zero: so many are missing. Pool.mu is held.
func (c *class) spare(now time.Time, recently time.Duration) int {
	waiting := 0
	for _, e := range c.idle {
		if e.next != nil {
			waiting++
		}
	}
	return waiting - max(c.kept, c.demand.wanted(now, recently))
}

// shrink ends the processes that wait and are not wanted any more, the oldest first. Their slots stay.
func (p *Pool) shrink(now time.Time) {
	var surplus []*entry
	p.mu.Lock()
	for _, c := range p.classes {
		if !c.boots {
			continue
		}
		spare := c.spare(now, p.cfg.IdleAfter)
		c.idle = slices.DeleteFunc(c.idle, func(e *entry) bool {
			if spare <= 0 || e.next == nil || !isClosed(e.ready) {
				return false
			}
			spare--
			c.soon++
			surplus = append(surplus, e)
			return true
		})
	}
	p.mu.Unlock()
	for _, e := range surplus {
		p.quit(e.next)
		e.next = nil
		p.putBack(e)
		p.coming(e.class, -1)
	}
}

// putBack makes e idle again, as old as it was.
func (p *Pool) putBack(e *entry) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		p.discard(e)
		return
	}
	c := e.class
	at, _ := slices.BinarySearchFunc(c.idle, e, func(a, b *entry) int { return a.used.Compare(b.used) })
	c.idle = slices.Insert(c.idle, at, e)
	p.wake(c)
	p.mu.Unlock()
}

// leastUse is the idle entry of c to close first: the oldest, of those that have no process where others have one.
func (c *class) leastUse() int {
	return max(0, slices.IndexFunc(c.idle, func(e *entry) bool { return c.boots && e.next == nil }))
}
