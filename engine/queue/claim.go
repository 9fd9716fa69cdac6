package queue

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store"
)

// A lane is a tag and a priority. For each that may have queued jobs, lanes knows the earliest time due that is worth
// looking at (the mark), so that a claim does not walk over the dead entries of jobs long gone, which cannot be vacuumed
// while somebody holds an old snapshot. Rows may still arrive behind a mark (retries, late commits): loop looks without
// marks every Poll.
type lanes struct {
	mu   sync.Mutex
	all  map[laneKey]*lane // guarded by mu
	seen bool              // loop has looked at least once; guarded by mu
	next time.Time         // when the next job becomes due, by the clock here, as far as known; zero: unknown; guarded by mu
	now  func() time.Time  // by the server's clock
	rest time.Duration     // until the next look without marks, at least; guarded by mu
	last time.Time         // the end of the last look; guarded by mu
	took time.Duration     // by the last look; guarded by mu
	// sooner tells loop that next has changed.
	sooner chan struct{}
}

type laneKey struct {
	tag  string
	prio int16
}

type lane struct {
	mark  time.Time // by the server's clock; zero: from the beginning
	top   time.Time // the latest that was claimed
	ready bool      // may have jobs that are due
	gen   int       // counts additions and findings, so that a claim that saw none of them does not mark the lane as empty
}

// slack is how far a mark stays behind what was claimed: rows are stamped before they are committed. late is how far it goes back
// when rows of another process come, which may have taken longer to commit; what comes later still is found by the look
// without marks.
const (
	slack = 20 * time.Millisecond
	late  = 250 * time.Millisecond
)

// duePause is the least time between looks for jobs that become due: those that do so in between wait for each other.
const duePause = 5 * time.Millisecond

func (l *lanes) init(now func() time.Time) {
	l.all, l.now, l.sooner = map[laneKey]*lane{}, now, make(chan struct{}, 1)
}

// added notes a job that was left queued.
func (l *lanes) added(tag string, prio int16, due time.Time) {
	if due.After(l.now()) {
		l.becomesDue(due)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.touch(laneKey{tag, prio}, due)
}

// becomesDue has loop look at that moment, by the server's clock.
func (l *lanes) becomesDue(due time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dueAt(time.Now().Add(due.Sub(l.now()))) {
		signal(l.sooner)
	}
}

// dueAt notes that a job becomes due, by the clock here; true: it is the next. Called with mu held.
func (l *lanes) dueAt(at time.Time) bool {
	if !l.next.IsZero() && !at.Before(l.next) {
		return false
	}
	l.next = at
	return true
}

// left notes a job that was left queued by this process; slow: its row may have been stamped long before it was committed.
func (l *lanes) left(j *engine.Job, slow bool) {
	if slow && j.ScheduledFor.IsZero() {
		l.heard(j.Tag, j.Priority)
		return
	}
	l.added(j.Tag, j.Priority, j.ScheduledFor)
}

// heard notes that jobs were left queued by another process, or otherwise so that it took long.
func (l *lanes) heard(tag string, prio int16) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := laneKey{tag, prio}
	l.touch(k, time.Time{})
	if e := l.all[k]; e.mark.After(e.top.Add(-late)) {
		e.mark = e.top.Add(-late)
	}
}

// again notes that jobs that had been claimed are queued again: they may lie behind the mark.
func (l *lanes) again(tag string, prio int16) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := laneKey{tag, prio}
	l.touch(k, time.Time{})
	l.all[k].mark = time.Time{}
}

// touch marks a lane as ready; due zero is now. Called with mu held.
func (l *lanes) touch(k laneKey, due time.Time) {
	e := l.all[k]
	if e == nil {
		e = &lane{}
		l.all[k] = e
	} else if !due.IsZero() && due.Add(-slack).Before(e.mark) {
		e.mark = due.Add(-slack)
	}
	e.ready = true
	e.gen++
}

// passing is the priority with which j may pass the jobs that wait: its own, or zero when others as urgent wait themselves.
func (l *lanes) passing(j *engine.Job) int16 {
	if j.Priority <= 0 {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for k, e := range l.all {
		if e.ready && k.tag == j.Tag && k.prio >= j.Priority {
			return 0
		}
	}
	return j.Priority
}

// laneLook is a look at the lanes: where to claim, and what was known then.
type laneLook struct {
	lanes []store.Lane
	gens  []int
}

// ready lists the lanes of tags that may have jobs, highest priority first, the longest waiting first among equals.
func (l *lanes) ready(tags []string) (out laneLook) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for k, e := range l.all {
		if e.ready && slices.Contains(tags, k.tag) {
			out.lanes = append(out.lanes, store.Lane{Tag: k.tag, Prio: k.prio, Mark: e.mark})
		}
	}
	slices.SortFunc(out.lanes, func(a, b store.Lane) int {
		if a.Prio != b.Prio {
			return int(b.Prio) - int(a.Prio)
		}
		return a.Mark.Compare(b.Mark)
	})
	for _, s := range out.lanes {
		out.gens = append(out.gens, l.all[laneKey{s.Tag, s.Prio}].gen)
	}
	return out
}

// claimed learns from a claim: less than asked for means that the lanes are empty.
func (l *lanes) claimed(look laneLook, c *store.JobClaim) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, got := range c.Claims {
		e, due := l.all[laneKey{got.Job.Tag, got.Job.Priority}], c.Due[i]
		if e != nil && due.After(e.top) {
			e.top = due
		}
		if m := due.Add(-slack); e != nil && m.After(e.mark) {
			e.mark = m
		}
	}
	if len(c.Claims) >= c.Max {
		return
	}
	for i, s := range look.lanes {
		if e := l.all[laneKey{s.Tag, s.Prio}]; e != nil && e.gen == look.gens[i] {
			e.ready = false
		}
	}
}

// found replaces all that is known by what a look without marks found that began when the server's clock said now.
func (l *lanes) found(heads []store.JobHead, began, now time.Time, before map[laneKey]int) (ready bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen = true
	head := make(map[laneKey]bool, len(heads))
	for _, h := range heads {
		k := laneKey{h.Tag, h.Prio}
		head[k] = true
		if !h.Next.IsZero() {
			l.dueAt(began.Add(h.Next.Sub(now)))
		}
		if h.Mark.After(now) {
			continue
		}
		e := l.all[k]
		if e == nil {
			e = &lane{}
			l.all[k] = e
		}
		e.mark, e.ready = h.Mark, true
		e.gen++
		ready = true
	}
	for k, e := range l.all { // lanes without rows are forgotten, unless something was added since the look began
		if !head[k] && e.gen == before[k] {
			delete(l.all, k)
		}
	}
	return ready
}

// generations begins a look. What becomes due next is forgotten here, and not when the look is over: a job that is added meanwhile
// says it anew, and the look may not have seen it.
func (l *lanes) generations() map[laneKey]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next = time.Time{}
	out := make(map[laneKey]int, len(l.all))
	for k, e := range l.all {
		out[k] = e.gen
	}
	return out
}

func (l *lanes) wait(poll time.Duration) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	d := max(poll-poll/8+rand.N(poll/4+1), l.rest)
	if !l.next.IsZero() {
		d = min(d, max(time.Until(l.next), 0)+time.Millisecond)
		d = max(d, time.Until(l.last.Add(max(duePause, l.took))))
	}
	return d
}

// Claim takes up to n due jobs with one of tags: the highest priority first, then the longest due.
func (q *Queue) Claim(ctx context.Context, tags []string, n int) ([]*engine.Claim, error) {
	me := q.worker.Load()
	if me == 0 || n <= 0 {
		return nil, nil
	}
	q.lanes.mu.Lock()
	seen := q.lanes.seen
	q.lanes.mu.Unlock()
	if !seen {
		if _, err := q.lookUp(ctx); err != nil {
			return nil, wrap(err)
		}
	}
	look := q.lanes.ready(tags)
	if len(look.lanes) == 0 {
		return nil, nil
	}
	c := &store.JobClaim{Lanes: look.lanes, Max: n, Worker: me}
	if err := q.cfg.DB.JobClaim(ctx, c); err != nil {
		q.suspect()
		return nil, wrap(err)
	}
	q.lanes.claimed(look, c)
	sortClaims(c.Claims)
	return q.taken(ctx, c.Claims), nil
}

// lookUp looks for queued jobs of this worker's tags without marks; true: some are due.
func (q *Queue) lookUp(ctx context.Context) (bool, error) {
	before, began := q.lanes.generations(), time.Now()
	heads, now, err := q.cfg.DB.JobHeads(ctx, q.cfg.Tags)
	q.lanes.looked(time.Since(began))
	if err != nil {
		return false, err
	}
	return q.lanes.found(heads, began, now, before), nil
}

// A look without marks walks over whatever cannot be cleaned up. One that takes longer than looksShort may take a fiftieth of the
// time; a late row waits so much longer, but not longer than maxRest. What becomes due is looked for in time all the same.
const (
	looksShort = 10 * time.Millisecond
	restFactor = 50
	maxRest    = 10 * time.Second
)

func (l *lanes) looked(took time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rest, l.took, l.last = 0, took, time.Now()
	if took > looksShort {
		l.rest = min(restFactor*took, maxRest)
	}
}

// loop looks for jobs at every Poll, when one becomes due, and when told to.
func (q *Queue) loop(ctx context.Context) {
	signal(q.look)
	for {
		t := time.NewTimer(q.lanes.wait(q.cfg.Poll))
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-q.lanes.sooner:
			t.Stop()
			continue
		case <-q.look:
			t.Stop()
		case <-t.C:
		}
		ready, err := q.lookUp(ctx)
		if err != nil && ctx.Err() == nil {
			q.cfg.Log.Warn().Err(err).Msg("look for jobs; will try again")
		}
		if ready {
			q.wakeUp()
		}
	}
}

func sortClaims(list []*engine.Claim) {
	slices.SortFunc(list, func(a, b *engine.Claim) int {
		if a.Job.Priority != b.Job.Priority {
			return int(b.Job.Priority) - int(a.Job.Priority)
		}
		if c := a.Job.ScheduledFor.Compare(b.Job.ScheduledFor); c != 0 {
			return c
		}
		return slices.Compare(a.Job.ID[:], b.Job.ID[:])
	})
}
