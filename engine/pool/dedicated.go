package pool

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/runtimes"
	"github.com/millrace/millrace/sandbox"
)

// A dedicated script has a process of its own that runs one call after the other, and so skips the fork, the boot and the
// import that an isolated run pays for. What keeps runs apart then is only the script itself, which is why a process is shared
// by runs of one version of one script for one owner and by nobody else.
//
//	line   the runs of one Share, in the order in which they came
//	shift  the life of one process: when it ends, by a crash, a limit or its age, the next one takes over
//	turn   one run: it waits in the line, is sent to the process with some others, and runs when it is the first of those
//
// A process runs one call at a time, in the order in which they were sent. So when it dies exactly the first of those that it
// was sent had begun; that one fails, and the others go back to the head of the line.

// Share says which runs may have one process.
type Share struct {
	Workspace, Script string // its path
	Owner             string // as whom they run
	Network           string // that was asked for
	Version           engine.Hash
	Since             int64 // when the version was made: processes of older ones end when a newer one runs
	// Idle is how long its process is kept when nobody uses it; 0: as Dedicated says.
	Idle time.Duration
	// Processes is the most that its runs are spread over; zero: one.
	Processes int
}

// Dedicated bounds dedicated processes. Zero fields: the defaults below.
type Dedicated struct {
	Max         int           // processes; 0: none, every run is isolated
	Runs        int           // of one process; 20000
	Age         time.Duration // of one process; 1 hour
	IdleAfter   time.Duration // a process that nobody used for so long ends; 5 minutes
	MemoryShare float64       // a process that has used this part of its memory limit is replaced; 0.75
	DropAfter   time.Duration // a process of workflows that does not drop one that must stop is killed; 10 seconds
}

func (d Dedicated) withDefaults() Dedicated {
	if d.Runs == 0 {
		d.Runs = 20000
	}
	if d.Age == 0 {
		d.Age = time.Hour
	}
	if d.IdleAfter == 0 {
		d.IdleAfter = 5 * time.Minute
	}
	if d.DropAfter == 0 {
		d.DropAfter = 10 * time.Second
	}
	if d.MemoryShare == 0 {
		d.MemoryShare = 0.75
	}
	return d
}

// dedicated is the lines of a pool.
type dedicated struct {
	pool *Pool
	cfg  Dedicated

	mu    sync.Mutex
	lines map[lineKey]*line // those with a process, or about to have one; guarded by mu
	once  sync.Once         // starts the goroutine that ends idle ones
}

// lineKey tells lines apart: limits are walls, and a process cannot change its own.
type lineKey struct {
	share  Share
	limits sandbox.Limits
	copy   int // of several processes
}

// RunDedicated runs t in the process of s. False: there is none and no room for another, or the language cannot do it; the
// caller runs it isolated. As with Run an error means that the slot failed the job, and an ended ctx stops it.
func (p *Pool) RunDedicated(ctx context.Context, l runtimes.Launch, s Share, t Task) (Result, bool, error) {
	d := &p.dedicated
	if !l.Share || t.Binder != nil || d.cfg.Max < 1 {
		return Result{}, false, nil
	}
	turn := newTurn(t)
	for {
		line := d.line(l, s, turn.limits)
		if line == nil {
			return Result{}, false, nil
		}
		if line.join(turn) {
			return line.await(ctx, turn)
		}
	}
}

// line finds the line of s that has least to do, or makes one when all have something to do and there may be more; nil: there are too many,
// and all are at work.
func (d *dedicated) line(l runtimes.Launch, s Share, limits sandbox.Limits) *line {
	most := max(1, s.Processes)
	s.Processes = 0
	key := lineKey{share: s, limits: limits}
	key.limits.Wall, key.limits.Output = 0, 0 // watched from here, for each run
	d.mu.Lock()
	defer d.mu.Unlock()
	least, free := d.least(key, l, most)
	if least != nil && (free < 0 || least.load() == 0) {
		return least
	}
	key.copy = free
	if len(d.lines) >= d.cfg.Max && (least != nil || !d.makeRoom()) {
		return least
	}
	for k, other := range d.lines {
		if k.share.Script == s.Script && k.share.Workspace == s.Workspace && k.share.Owner == s.Owner && k.share.Since < s.Since {
			d.drop(other)
		}
	}
	made := &line{d: d, key: key, launch: l, used: time.Now()}
	d.lines[key] = made
	d.once.Do(func() { d.pool.spawn(d.endIdle) })
	return made
}

// least is the line of key that has least to do, and a copy that does not exist; below zero: all do. Lines that are for something else by
// now are dropped. d.mu is held.
func (d *dedicated) least(key lineKey, l runtimes.Launch, most int) (least *line, free int) {
	free = -1
	for key.copy = most - 1; key.copy >= 0; key.copy-- {
		found := d.lines[key]
		if found != nil && !sameLaunch(found.launch, l) {
			d.drop(found)
			found = nil
		}
		if found == nil {
			free = key.copy
		} else if least == nil || found.load() < least.load() {
			least = found
		}
	}
	return least, free
}

// sameLaunch compares what can differ for one version: its packages were installed anew, the host's tools changed.
func sameLaunch(a, b runtimes.Launch) bool {
	return a.Entry == b.Entry && bytes.Equal(a.Source, b.Source) && slices.Equal(a.Template.Binds, b.Template.Binds) &&
		slices.Equal(a.Template.Zygote, b.Template.Zygote) && slices.Equal(a.Spec.Argv, b.Spec.Argv)
}

// drop takes a line away; its process ends when it has nothing left to do. d.mu is held.
func (d *dedicated) drop(l *line) {
	if d.lines[l.key] == l {
		delete(d.lines, l.key)
	}
	l.retire()
}

// makeRoom drops the line that has been idle longest, if one is idle. d.mu is held.
func (d *dedicated) makeRoom() bool {
	var oldest *line
	var since time.Time
	for _, l := range d.lines {
		if at, idle := l.idle(); idle && (oldest == nil || at.Before(since)) {
			oldest, since = l, at
		}
	}
	if oldest == nil {
		return false
	}
	d.drop(oldest)
	return true
}

// endIdle drops lines that nobody uses, until the pool stops.
func (d *dedicated) endIdle() {
	t := time.NewTicker(max(min(d.cfg.IdleAfter/4, lookEvery), time.Millisecond))
	defer t.Stop()
	for {
		select {
		case <-d.pool.ctx.Done():
			return
		case now := <-t.C:
			d.dropIdle(now)
		}
	}
}

func (d *dedicated) dropIdle(now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, l := range d.lines {
		if at, idle := l.idle(); idle && now.Sub(at) >= cmp.Or(l.key.share.Idle, d.cfg.IdleAfter) {
			d.drop(l)
		}
	}
}

// spawn runs f in a goroutine that Stop waits for; false: it has begun to.
func (p *Pool) spawn(f func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.work.Go(f)
	return true
}

// Dedicated counts the processes that are kept for one script each.
func (p *Pool) Dedicated() int {
	p.dedicated.mu.Lock()
	defer p.dedicated.mu.Unlock()
	return len(p.dedicated.lines)
}
