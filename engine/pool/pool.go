package pool

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/millrace/millrace/runtimes"
	"github.com/millrace/millrace/sandbox"
)

// Config describes a pool.
type Config struct {
	Isolator sandbox.Isolator
	// MaxSlots bounds the open slots, idle ones included. It must be at least the number of jobs that run at once.
	MaxSlots int
	// Recycle renews a slot after this many jobs; zero: 5000.
	Recycle int
	// MaxAge renews a slot that has been open for this long, when a job of it has ended; zero: 1 hour.
	MaxAge time.Duration
	// IdleAfter closes slots that nobody used for this long, except the last of a kept class; zero: 10 minutes.
	IdleAfter time.Duration
	// Dedicated bounds the processes that are kept for one script each. Each holds a slot.
	Dedicated Dedicated
	Log       zerolog.Logger
}

// Pool hands out workers.
type Pool struct {
	cfg Config

	mu      sync.Mutex
	classes map[string]*class // by template key; guarded by mu
	open    int               // slots open or being opened; guarded by mu
	waiting []chan struct{}   // acquirers that wait for any release, oldest first; guarded by mu
	closed  bool              // guarded by mu

	dedicated dedicated
	hots      hots
	codes     codes
	now       func() time.Time              // a test's clock
	since     func(time.Time) time.Duration // likewise, of what took its time

	work   sync.WaitGroup
	ctx    context.Context // ends at Stop
	cancel context.CancelFunc
}

// class is the slots of one template (and, for processes started ahead, of one program).
type class struct {
	key    string
	idle   []*entry  // last used last; guarded by Pool.mu
	kept   int       // slots that stay although idle; guarded by Pool.mu
	slots  int       // entries that exist or are being made, idle or not; guarded by Pool.mu
	share  string    // the folder that its slots share; "": none. Written once
	over   bool      // that folder was taken away: its slots are not used again; guarded by Pool.mu
	hot    bool      // its zygote has imported more than all do; guarded by Pool.mu
	served time.Time // when a run last got one of its slots, of a hot one; guarded by Pool.mu
	boots  bool      // its processes boot before they wait for their jobs; written once
	demand
	// soon counts slots whose job has answered and whose process is being taken apart, and turn holds acquirers that wait for
	// one of them: that is a matter of a millisecond, a new slot one of tens. Guarded by Pool.mu.
	soon int
	turn []chan struct{}
}

// entry is one slot with, perhaps, its next process.
type entry struct {
	class *class
	slot  sandbox.Slot
	used  time.Time
	since time.Time // when the slot was opened
	jobs  int
	walls sandbox.Limits // of its last process; zero: none yet
	// next is the process started ahead; ready is closed when it waits for its request (or failed: next is nil then).
	next  *started
	ready chan struct{}
}

// New returns a pool; Stop must be called.
func New(cfg Config) (*Pool, error) {
	if cfg.Isolator == nil {
		return nil, errors.New("pool: no isolator")
	}
	if cfg.MaxSlots < 1 {
		return nil, errors.New("pool: MaxSlots must be at least 1")
	}
	if cfg.Recycle == 0 {
		cfg.Recycle = 5000
	}
	if cfg.MaxAge == 0 {
		cfg.MaxAge = time.Hour
	}
	if cfg.IdleAfter == 0 {
		cfg.IdleAfter = 10 * time.Minute
	}
	p := &Pool{cfg: cfg, classes: map[string]*class{}, now: time.Now, since: time.Since}
	p.hots = hots{on: cfg.Isolator.Strength().Mode != "none", habits: map[string]*habit{}, opening: map[string]bool{}}
	p.dedicated = dedicated{pool: p, cfg: cfg.Dedicated.withDefaults(), lines: map[lineKey]*line{}}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p, nil
}

// lookEvery is how often what is idle is looked at.
const lookEvery = 5 * time.Second

// Start begins closing slots that stay idle, and ending processes that wait for nobody.
func (p *Pool) Start(context.Context) error {
	p.work.Go(func() {
		t := time.NewTicker(min(lookEvery, p.cfg.IdleAfter/4))
		defer t.Stop()
		for {
			select {
			case <-p.ctx.Done():
				return
			case now := <-t.C:
				p.shrink(now)
				p.closeIdle(now)
				p.coolDown()
			}
		}
	})
	return nil
}

// Stop closes every slot and waits for it. Running jobs are killed.
func (p *Pool) Stop() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.cancel()
	p.mu.Lock()
	var all []*entry
	for _, c := range p.classes {
		all = append(all, c.idle...)
		c.idle = nil
	}
	waiting := p.waiting
	p.waiting = nil
	for _, c := range p.classes {
		waiting = append(waiting, c.turn...)
		c.turn = nil
	}
	p.mu.Unlock()
	for _, w := range waiting {
		close(w)
	}
	for _, e := range all {
		p.discard(e)
	}
	p.work.Wait()
}

// errStopped is returned by Acquire after Stop.
var errStopped = errors.New("pool: stopped")

// startsAhead reports whether the next process of a slot can be started before its job is known. Of other programs a process that
// is confined but nothing yet can be held ahead, where the isolator can do that.
func startsAhead(l runtimes.Launch) bool {
	return l.Exec == "" && (l.Warm || len(l.Template.Zygote) > 0)
}

// settled is how long after its slot's release a process that was started ahead has surely got ready: the forker tells only that
// it is there, and a job that is handed over at once would wait for the rest.
const settled = 5 * time.Millisecond

// takeAt finds an idle entry of c: of those that are ready and settled the last used, so that the others can grow old; else the one
// whose process has had the most time.
func (c *class) takeAt(now time.Time) *entry {
	best, rank := -1, -1
	for i := len(c.idle) - 1; i >= 0; i-- {
		e, r := c.idle[i], 0
		switch {
		case e.next == nil:
		case !isClosed(e.ready):
			r = 1
		case now.Sub(e.used) < settled:
			r = 2
		default:
			best, rank = i, 3
		}
		if rank == 3 {
			break
		}
		if r > rank || r == rank && r > 0 {
			best, rank = i, r
		}
	}
	if best < 0 {
		return nil
	}
	e := c.idle[best]
	c.idle = append(c.idle[:best:best], c.idle[best+1:]...)
	return e
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// oldestIdle finds the entry that has been idle longest, in any class but except; kept entries only when nothing else is left.
func (p *Pool) oldestIdle(except *class) *entry {
	var found *entry
	at := -1
	for _, spare := range []bool{true, false} {
		for _, c := range p.classes {
			if c == except || len(c.idle) == 0 || (spare && len(c.idle) <= c.kept) {
				continue
			}
			if e := c.idle[0]; found == nil || e.used.Before(found.used) {
				found, at = e, 0
			}
		}
		if found != nil {
			break
		}
	}
	if found != nil {
		c := found.class
		c.idle = append(c.idle[:at:at], c.idle[at+1:]...)
	}
	return found
}

// classKey tells classes apart: by template and, where processes are started ahead, by what is started.
func classKey(l runtimes.Launch) string {
	key := l.Template.Key()
	if startsAhead(l) {
		key += fmt.Sprintf(" %q %q", l.Spec.Argv, l.Spec.Env)
	}
	return key
}

func (p *Pool) classOf(l runtimes.Launch) *class {
	key := classKey(l)
	c := p.classes[key]
	if c == nil {
		c = &class{key: key, boots: l.Warm, share: l.Template.Shared}
		p.classes[key] = c
	}
	return c
}

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

// Keep opens n slots of l ahead and keeps as many when the class is idle. Errors of single slots are returned joined.
func (p *Pool) Keep(ctx context.Context, l runtimes.Launch, n int) error {
	p.mu.Lock()
	c := p.classOf(l)
	c.kept = max(c.kept, n)
	missing := max(0, min(c.kept-c.slots, p.cfg.MaxSlots-p.open))
	p.open += missing
	c.slots += missing
	p.mu.Unlock()
	var errs []error
	for range missing {
		w, err := p.openWorker(ctx, c, l)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		p.release(w.entry, l)
	}
	return errors.Join(errs...)
}

// release puts an entry back, starts its next process if the class does so, and wakes a waiter.
func (p *Pool) release(e *entry, l runtimes.Launch) {
	e.jobs++
	e.used = p.now()
	if isClosed(e.slot.Done()) {
		p.drop(e)
		return
	}
	if p.worn(e) {
		p.renew(e, l)
		return
	}
	if _, holds := e.slot.(sandbox.Holder); e.next == nil && (holds || startsAhead(l)) && !p.enough(e.class) {
		limits := e.walls
		if limits == (sandbox.Limits{}) {
			limits = l.Spec.Limits.WithDefaults()
		}
		e.next = newStarted()
		e.ready = make(chan struct{})
		p.work.Go(func() { p.startNext(e, l, limits) })
	}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		p.discard(e)
		return
	}
	if e.class.over {
		p.mu.Unlock()
		p.drop(e)
		return
	}
	e.class.idle = append(e.class.idle, e)
	p.wake(e.class)
	p.mu.Unlock()
}

// drop closes an entry and gives its place back.
func (p *Pool) drop(e *entry) {
	p.discard(e)
	p.mu.Lock()
	p.open--
	e.class.slots--
	p.wake(e.class)
	p.mu.Unlock()
}

// discard closes an entry without giving its place back.
func (p *Pool) discard(e *entry) {
	if e.next != nil {
		<-e.ready
		e.next.close()
	}
	if err := e.slot.Close(); err != nil {
		p.cfg.Log.Warn().Err(err).Msg("close slot")
	}
}

// closeIdle closes what has been idle since before now - IdleAfter, down to the kept slots of each class.
func (p *Pool) closeIdle(now time.Time) {
	var old []*entry
	p.mu.Lock()
	for key, c := range p.classes {
		for len(c.idle) > c.kept {
			at := c.leastUse()
			if now.Sub(c.idle[at].used) <= p.cfg.IdleAfter {
				break
			}
			old = append(old, c.idle[at])
			c.idle = slices.Delete(c.idle, at, at+1)
		}
		if c.slots == 0 && c.kept == 0 {
			delete(p.classes, key)
		}
	}
	p.mu.Unlock()
	for _, e := range old {
		p.drop(e)
	}
}

// Stats is a look at the pool.
type Stats struct {
	Open, Idle, Warm int
}

// Stats counts slots: open, idle among them, and idle with a process that waits.
func (p *Pool) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := Stats{Open: p.open}
	for _, c := range p.classes {
		s.Idle += len(c.idle)
		for _, e := range c.idle {
			if e.next != nil && isClosed(e.ready) {
				s.Warm++
			}
		}
	}
	return s
}
