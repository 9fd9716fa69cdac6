package pool

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/millrace/millrace/runtimes"
)

// A script that is run often has its imports done ahead. The first runs are asked what they import; at the third within some
// minutes a slot is opened whose zygote has imported what all of them did, and runs start there while one is idle or soon will be.
// Otherwise they start as they always did, so a run never waits for a zygote to boot. Slots of this kind are a class like others:
// they belong to the tenant of their template, they are closed when nobody uses them, and they are the first to go when memory
// gets short.

// Program is what RunHot must know of a program.
type Program struct {
	Key       string             // its content; "": nothing is learned of it
	Preloader runtimes.Preloader // nil: nothing is imported ahead, its language cannot or it must not be
}

const (
	hotAfter  = 3                // runs
	hotWithin = 10 * time.Minute // of the first of them
	hotWorth  = 4.0              // ms that imports must take
	hotKnown  = 4096             // programs that are remembered
	hotWait   = 500 * time.Millisecond
	// hotMemory is the part of the host's memory that must be available for another slot.
	hotMemory = 0.15
	// hotLeast is the memory limit of a run below which what was imported ahead could take all of it.
	hotLeast = 256 << 20
)

// habit is what is known of the imports of one program.
type habit struct {
	runs    int
	since   time.Time // of the first run
	used    time.Time
	modules []string // those that every run imported, in the order of the first
	millis  float64
	launch  runtimes.Launch // with the modules imported ahead, once hot
	state   habitState
}

type habitState int

const (
	learning habitState = iota
	hot                 // launch is worth asking for
	cold                // it imports nothing that takes long, or nothing that can be imported ahead
)

// hots is what is known of the imports of all programs.
type hots struct {
	on bool // the isolator has zygotes that serve

	mu      sync.Mutex
	habits  map[string]*habit // guarded by mu
	opening map[string]bool   // classes, by key, of which a slot is being opened; guarded by mu
}

// RunHot acquires a worker for l, runs t, and releases it. Where prog is known, it is compiled and its imports are done already.
func (p *Pool) RunHot(ctx context.Context, l runtimes.Launch, prog Program, t Task) (Result, error) {
	if !l.Compiles || prog.Key == "" {
		return p.runHot(ctx, l, prog, t)
	}
	t.Compiled, t.Compile = p.codes.look(prog.Key, p.now())
	res, err := p.runHot(ctx, l, prog, t)
	if t.Compile {
		p.codes.keep(prog.Key, res.Compiled, p.now())
	}
	return res, err
}

func (p *Pool) runHot(ctx context.Context, l runtimes.Launch, prog Program, t Task) (Result, error) {
	small := t.Limits.Memory > 0 && t.Limits.Memory < hotLeast
	if !p.hots.on || small || prog.Key == "" || prog.Preloader == nil || len(l.Template.Zygote) == 0 {
		return p.runOn(ctx, l, t)
	}
	use, state, patience := p.hots.look(prog.Key)
	if state == hot {
		w, err := p.acquireHot(ctx, use, prog.Key, patience)
		if err != nil {
			return Result{}, err
		}
		if w != nil {
			defer w.Release()
			return w.Run(ctx, t)
		}
	}
	t.Learn = state == learning
	res, err := p.runOn(ctx, l, t)
	if t.Learn && err == nil && res.Imports != nil {
		if use, ready := p.hots.learn(prog, l, res.Imports); ready {
			p.grow(use, prog.Key)
		}
	}
	return res, err
}

func (p *Pool) runOn(ctx context.Context, l runtimes.Launch, t Task) (Result, error) {
	w, err := p.Acquire(ctx, l)
	if err != nil {
		return Result{}, fmt.Errorf("open a sandbox: %w", err)
	}
	defer w.Release()
	return w.Run(ctx, t)
}

// look says how the next run of a program starts, and how long it is worth waiting for a slot that is being used.
func (h *hots) look(key string) (use runtimes.Launch, s habitState, patience time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	b := h.habits[key]
	if b == nil {
		if len(h.habits) >= hotKnown {
			h.forgetOld(now)
		}
		b = &habit{since: now}
		h.habits[key] = b
	}
	b.used = now
	return b.launch, b.state, min(time.Duration(b.millis*float64(time.Millisecond)), hotWait)
}

// forgetOld forgets what was not used lately, or else everything. h.mu is held.
func (h *hots) forgetOld(now time.Time) {
	for k, b := range h.habits {
		if now.Sub(b.used) > hotWithin {
			delete(h.habits, k)
		}
	}
	if len(h.habits) >= hotKnown {
		clear(h.habits)
	}
}

// learn adds what one run said; true: its imports are to be done ahead from now on.
func (h *hots) learn(prog Program, l runtimes.Launch, raw json.RawMessage) (runtimes.Launch, bool) {
	var said runtimes.Imports
	if err := json.Unmarshal(raw, &said); err != nil {
		return l, false // user code can say anything
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	b := h.habits[prog.Key]
	if b == nil || b.state != learning {
		return l, false
	}
	now := time.Now()
	if b.runs == 0 || now.Sub(b.since) > hotWithin {
		b.runs, b.since, b.modules, b.millis = 0, now, said.Modules, said.Millis
	}
	b.runs++
	b.millis = max(b.millis, said.Millis)
	b.modules = slices.DeleteFunc(b.modules, func(m string) bool { return !slices.Contains(said.Modules, m) })
	if b.runs < hotAfter {
		return l, false
	}
	use, ok := prog.Preloader.Preload(l, b.modules)
	if !ok || len(b.modules) == 0 || b.millis < hotWorth {
		b.state, b.modules = cold, nil
		return l, false
	}
	b.state, b.launch = hot, use
	return use, true
}

// giveUp sets the state of a program whose slots cannot be opened.
func (h *hots) giveUp(key string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if b := h.habits[key]; b != nil {
		b.state, b.modules, b.launch = cold, nil, runtimes.Launch{}
	}
}

// acquireHot takes an idle slot of use, or waits for one that is busy: for patience, and again as long while others get theirs, for then
// the host is busy, and to import what they need not would make it busier. Nil: there is none; one is being opened then.
func (p *Pool) acquireHot(ctx context.Context, use runtimes.Launch, key string, patience time.Duration) (*Worker, error) {
	var late *time.Timer
	began := p.now()
	for {
		p.mu.Lock()
		if p.closed {
			p.mu.Unlock()
			return nil, errStopped
		}
		c := p.classOf(use)
		c.hot = true
		if e := c.takeAt(p.now()); e != nil {
			c.served = p.now()
			p.mu.Unlock()
			if isClosed(e.slot.Done()) {
				p.drop(e)
				continue
			}
			return &Worker{pool: p, entry: e, launch: use}, nil
		}
		if c.slots == 0 || len(c.turn) >= 4*c.slots {
			p.mu.Unlock()
			p.grow(use, key)
			return nil, nil
		}
		w := make(chan struct{})
		c.turn = append(c.turn, w)
		if len(c.turn) > c.soon || c.slots == 1 {
			p.mu.Unlock()
			// More are wanted than there are. Forking a large zygote and taking its child apart takes longer than many a run: beside
			// one that is at it there should be one that has it behind it.
			p.grow(use, key)
		} else {
			p.mu.Unlock()
		}
		if late == nil {
			late = time.NewTimer(patience)
			defer late.Stop()
		}
		for waiting := true; waiting; {
			select {
			case <-w:
				waiting = false
			case <-late.C:
				more := p.stillServed(c, began, patience)
				if more <= 0 {
					p.giveUp(&c.turn, w)
					return nil, nil
				}
				late.Reset(more)
			case <-ctx.Done():
				p.giveUp(&c.turn, w)
				return nil, ctx.Err()
			}
		}
	}
}

// stillServed is how much longer it is worth waiting for a slot of c since began; not at all when nobody got one within patience.
func (p *Pool) stillServed(c *class, began time.Time, patience time.Duration) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	return min(c.served.Add(patience).Sub(now), began.Add(hotWait).Sub(now))
}

// grow opens another slot of use in the background, if there is room and memory for it and none is being opened. key is the
// program that wants it; when it cannot be opened the program is not asked again.
func (p *Pool) grow(use runtimes.Launch, key string) {
	name := classKey(use)
	p.hots.mu.Lock()
	busy := p.hots.opening[name]
	p.hots.opening[name] = true
	p.hots.mu.Unlock()
	if busy {
		return
	}
	p.spawn(func() {
		p.openHot(use, key)
		p.hots.mu.Lock()
		delete(p.hots.opening, name)
		p.hots.mu.Unlock()
	})
}

func (p *Pool) openHot(use runtimes.Launch, key string) {
	p.mu.Lock()
	c := p.classOf(use)
	c.hot = true
	total := 0
	for _, other := range p.classes {
		if other.hot {
			total += other.slots
		}
	}
	var old *entry
	switch {
	case c.slots >= max(1, p.cfg.MaxSlots/4) || !memoryFor():
		p.mu.Unlock()
		return
	case total >= max(1, p.cfg.MaxSlots/2) || p.open >= p.cfg.MaxSlots:
		old = p.oldestHot(c)
		if old == nil && total < max(1, p.cfg.MaxSlots/2) {
			old = p.oldestIdle(c) // what was busy a while ago must not keep out what is now
		}
		if old == nil {
			p.mu.Unlock()
			return
		}
		old.class.slots--
	default:
		p.open++
	}
	c.slots++
	p.mu.Unlock()
	if old != nil {
		p.discard(old)
	}
	w, err := p.openWorker(p.ctx, c, use)
	if err != nil {
		if p.ctx.Err() == nil {
			p.cfg.Log.Info().Err(err).Strs("zygote", use.Template.Zygote).Msg("imports are not done ahead")
			p.hots.giveUp(key)
		}
		return
	}
	p.release(w.entry, use)
}

// oldestHot takes out the entry of another class with imports done ahead that has been idle longest. p.mu is held.
func (p *Pool) oldestHot(except *class) *entry {
	var from *class
	for _, c := range p.classes {
		if c != except && c.hot && len(c.idle) > 0 && (from == nil || c.idle[0].used.Before(from.idle[0].used)) {
			from = c
		}
	}
	if from == nil {
		return nil
	}
	e := from.idle[0]
	from.idle = from.idle[1:]
	return e
}

// coolDown closes an idle slot with imports done ahead while the host is short of memory.
func (p *Pool) coolDown() {
	for !memoryFor() {
		p.mu.Lock()
		e := p.oldestHot(nil)
		p.mu.Unlock()
		if e == nil {
			return
		}
		p.drop(e)
	}
}

// memoryFor says whether the host has memory for another slot; true when it cannot be told.
var memoryFor = func() bool {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return true
	}
	total, ok1 := memoryLine(b, "MemTotal:")
	free, ok2 := memoryLine(b, "MemAvailable:")
	return !ok1 || !ok2 || free > hotMemory*total
}

func memoryLine(b []byte, name string) (float64, bool) {
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 64)
			return v, err == nil
		}
	}
	return 0, false
}
