package pool

import (
	"context"
	"errors"
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
