// Package dispatch decides when a job runs on this daemon. It never claims more jobs than it has free slots, and a claimed job
// ends in exactly one Finish, in a hand-back, or, when the daemon dies, in a rescue by another.
//
// Jobs come on two ways. On the fast lane the queue asks TryReserve while it inserts a job; with a slot reserved the row is
// born claimed and Deliver starts it, so no second trip to the database is needed. When slots are busy, or older jobs wait
// (backlog), rows are left queued and the loop claims them in batches as slots get free.
//
// Slots are counted in lanes: "process" for jobs that need a sandbox, as many as the host's cores and memory bear, "native" for
// those that run inside the daemon, and "dedicated" for runs of scripts whose process is kept: those wait for each other in front of
// that process, so there are many, to keep it fed while outcomes are stored. Counters are atomic because TryReserve is called by
// every request; the loop alone claims.
package dispatch

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/panjf2000/ants/v2"
	"github.com/rs/zerolog"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/deadline"
	"github.com/millrace/millrace/engine/execute"
)

// Queue is what the dispatcher needs of the queue.
type Queue interface {
	Claim(ctx context.Context, tags []string, n int) ([]*engine.Claim, error)
	// Finish stores an outcome; false: another worker owns the job by now.
	Finish(ctx context.Context, o engine.Outcome) (bool, error)
	// FinishAndClaim does both in one transaction; the claim may be nil.
	FinishAndClaim(ctx context.Context, o engine.Outcome, tags []string) (bool, *engine.Claim, error)
	// HandBack makes claimed jobs queued again.
	HandBack(ctx context.Context, claims []*engine.Claim) error
	// Wake signals that rows may have become claimable.
	Wake() <-chan struct{}
}

// Executor runs one claim; execute.Executor does.
type Executor interface {
	Execute(ctx context.Context, c *engine.Claim) (engine.Outcome, bool)
	// Finished is called once an attempt is over here; o is nil when no outcome of it was stored.
	Finished(c *engine.Claim, o *engine.Outcome)
}

// Flows carries on with flows; runner.Runner does.
type Flows interface {
	// Begin makes a run of a flow's own job, which is nobody's then.
	Begin(ctx context.Context, c *engine.Claim) error
	// Finish stores the outcome of a step's job with what the flow does next; next is a job of it for a slot that takes tags.
	Finish(ctx context.Context, c *engine.Claim, o engine.Outcome, tags []string) (accepted bool, next *engine.Claim, err error)
}

// Workflows keeps workflows as code that wait; queue.Queue does.
type Workflows interface {
	// Suspend lets go of a workflow that waits; false: it is not this process's any more, or is to be canceled.
	Suspend(ctx context.Context, c *engine.Claim, s *engine.Suspension) (bool, error)
	// WakeWorkflow tells a suspended workflow that the job of a task is over.
	WakeWorkflow(ctx context.Context, job, child uuid.UUID) error
}

// Config describes a dispatcher.
type Config struct {
	Flows        Flows     // nil: jobs of flows are not taken
	Workflows    Workflows // nil: no job is suspended
	Executor     Executor
	ProcessSlots int // jobs in sandboxes at the same time
	NativeSlots  int // jobs inside the daemon at the same time; zero: 1024
	// DedicatedSlots are jobs that are claimed for kept processes at the same time, running or next; zero: 256.
	DedicatedSlots int
	ProcessTags    []string // tags this daemon takes into sandboxes
	NativeTags     []string
	// DedicatedTags are those of jobs of dedicated scripts.
	DedicatedTags []string
	Log           zerolog.Logger
	// Gated is the lane of jobs that need something of which there are few; nil: there is none.
	Gated *Gated
}

// Dispatcher runs claimed jobs.
type Dispatcher struct {
	cfg   Config
	queue Queue // set by Start
	lanes []*lane
	byTag map[string]*lane // read-only
	pool  *ants.Pool

	storing *deadline.Shared // how long one try to store an outcome may take

	kick   chan struct{} // a slot got free while jobs wait
	taking atomic.Bool   // false: take nothing new

	mu      sync.Mutex
	running map[uuid.UUID]context.CancelCauseFunc // guarded by mu
	over    bool                                  // a drain has stopped the running jobs; guarded by mu

	reserved tally // slots of jobs that are being inserted
	jobs     tally // running jobs

	loop   sync.WaitGroup
	cancel context.CancelFunc // ends the loop
}

// New returns a dispatcher that takes nothing before Start.
func New(cfg Config) (*Dispatcher, error) {
	if cfg.ProcessSlots < 1 {
		return nil, errors.New("dispatch: ProcessSlots must be at least 1")
	}
	if cfg.NativeSlots == 0 {
		cfg.NativeSlots = 1024
	}
	if cfg.DedicatedSlots == 0 {
		cfg.DedicatedSlots = 256
	}
	spare := max(1, cfg.DedicatedSlots/8)
	pool, err := ants.NewPool(cfg.ProcessSlots+cfg.NativeSlots+cfg.DedicatedSlots+spare+parked, ants.WithDisablePurge(true))
	if err != nil {
		return nil, err
	}
	d := &Dispatcher{
		cfg: cfg, pool: pool, byTag: map[string]*lane{}, kick: make(chan struct{}, 1), running: map[uuid.UUID]context.CancelCauseFunc{},
		storing: deadline.New(30 * time.Second), reserved: newTally(), jobs: newTally(),
	}
	for _, l := range []*lane{
		{name: "process", tags: cfg.ProcessTags, size: int64(cfg.ProcessSlots)},
		{name: "native", tags: cfg.NativeTags, size: int64(cfg.NativeSlots)},
		{name: "dedicated", tags: cfg.DedicatedTags, size: int64(cfg.DedicatedSlots), spare: int64(spare)},
	} {
		d.open(l)
	}
	if g := cfg.Gated; g != nil {
		d.open(&lane{name: "gated", tags: g.Tags, size: int64(g.Slots), gate: g.Gate})
		pool.Tune(pool.Cap() + g.Slots)
	}
	return d, nil
}

// open adds a lane to a dispatcher that has not started.
func (d *Dispatcher) open(l *lane) {
	l.free.Store(l.size)
	l.backlog.Store(true) // rows of an earlier life may wait
	d.lanes = append(d.lanes, l)
	for _, t := range l.tags {
		d.byTag[t] = l
	}
}

// Tags lists what this daemon takes.
func (d *Dispatcher) Tags() []string {
	var out []string
	for _, l := range d.lanes {
		out = append(out, l.tags...)
	}
	return out
}

// Start begins to take jobs from q.
func (d *Dispatcher) Start(_ context.Context, q Queue) error {
	d.queue = q
	ctx, cancel := context.WithCancel(context.Background())
	d.cancel = cancel
	d.taking.Store(true)
	d.loop.Go(func() { d.run(ctx) })
	return nil
}

// TryReserve takes a slot for a job with this tag. False: the row must be left queued. A job of a priority above zero passes those
// that wait where the lane has slots to spare for such: it runs sooner than a claim could find it.
func (d *Dispatcher) TryReserve(tag string, priority int16) bool {
	l := d.byTag[tag]
	if l == nil || !d.reserve() {
		return false
	}
	if !l.backlog.Load() {
		if l.take(1) == 1 {
			return true
		}
		l.backlog.Store(true)
	}
	if priority > 0 && l.exceed() {
		return true
	}
	d.reserved.done()
	return false
}

// Release gives back a reserved slot whose job was not inserted.
func (d *Dispatcher) Release(tag string) {
	if l := d.byTag[tag]; l != nil {
		d.release(l, uuid.Nil)
		d.reserved.done()
	}
}

// Deliver starts a job that was inserted claimed, in the slot that TryReserve took.
func (d *Dispatcher) Deliver(c *engine.Claim) {
	l := d.byTag[c.Job.Tag]
	if l == nil {
		d.cfg.Log.Error().Str("tag", c.Job.Tag).Msg("delivered a job of a tag that is not taken here")
		return
	}
	d.start(l, c)
	d.reserved.done() // not before the job counts
}

// release gives back the slot of a job; uuid.Nil: none came to it.
func (d *Dispatcher) release(l *lane, job uuid.UUID) {
	l.free.Add(1)
	if l.gate != nil {
		l.gate.Leave(job)
	}
	if l.backlog.Load() {
		select {
		case d.kick <- struct{}{}:
		default:
		}
	}
}

// run claims whenever rows may wait and slots are free.
func (d *Dispatcher) run(ctx context.Context) {
	retry := time.NewTimer(time.Hour)
	defer retry.Stop()
	woken := true // rows may have waited before this process
	for {
		for _, l := range d.lanes {
			if woken || l.backlog.Load() {
				if err := d.fill(ctx, l); err != nil && ctx.Err() == nil {
					d.cfg.Log.Warn().Err(err).Str("lane", l.name).Msg("claim jobs; will try again")
					retry.Reset(time.Second)
				}
			}
		}
		woken = false
		select {
		case <-ctx.Done():
			return
		case <-d.queue.Wake():
			woken = true
		case <-d.kick:
		case <-retry.C:
			woken = true
		}
	}
}

// fill claims as many jobs as l has free slots.
func (d *Dispatcher) fill(ctx context.Context, l *lane) error {
	for ctx.Err() == nil && len(l.tags) > 0 {
		l.backlog.Store(true) // before looking: a slot that gets free meanwhile kicks the loop
		n := l.take(l.size)
		if n == 0 {
			return nil
		}
		l.backlog.Store(false) // before the claim: a row left queued meanwhile sets it again
		claims, err := d.queue.Claim(ctx, l.tags, int(n))
		if err != nil {
			l.backlog.Store(true)
			l.unused(n)
			return err
		}
		full := int64(len(claims)) == n
		l.unused(n - int64(len(claims)))
		if full {
			l.backlog.Store(true)
		}
		for _, c := range claims {
			d.start(l, c)
		}
		if !full {
			return nil
		}
	}
	return nil
}

// start runs c in a slot that is already taken.
func (d *Dispatcher) start(l *lane, c *engine.Claim) {
	d.jobs.add()
	if err := d.pool.Submit(func() { d.job(l, c) }); err != nil {
		d.cfg.Log.Error().Err(err).Msg("submit job; the rescuer will find it")
		d.jobs.done()
		d.release(l, c.Job.ID)
	}
}

// job runs c and, while jobs wait, the next ones in the same slot.
func (d *Dispatcher) job(l *lane, c *engine.Claim) {
	defer d.jobs.done()
	defer func(first uuid.UUID) { d.release(l, first) }(c.Job.ID) // of a gated lane there is no other
	for c != nil {
		if d.begun(c) {
			return
		}
		c.Slot = d.slot(l)
		out, done := d.execute(c)
		if done && out.Suspended != nil {
			done = d.suspend(c, out.Suspended)
			if done {
				d.cfg.Executor.Finished(c, nil)
				return
			}
		}
		if !done {
			if err := d.queue.HandBack(context.Background(), []*engine.Claim{c}); err != nil {
				d.cfg.Log.Warn().Err(err).Stringer("job", c.Job.ID).Msg("hand job back; the rescuer will find it")
			}
			d.cfg.Executor.Finished(c, nil)
			return
		}
		of := c.Job
		c = d.finish(l, c, out)
		d.taskOver(of)
	}
}

func (d *Dispatcher) execute(c *engine.Claim) (engine.Outcome, bool) {
	if c.Job.Kind == engine.KindNoop {
		return d.cfg.Executor.Execute(context.Background(), c)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	d.mu.Lock()
	d.running[c.Job.ID] = cancel
	if d.over { // it came too late to be stopped with the others
		cancel(execute.ErrShutdown)
	}
	d.mu.Unlock()
	out, done := d.cfg.Executor.Execute(ctx, c)
	d.mu.Lock()
	delete(d.running, c.Job.ID)
	d.mu.Unlock()
	cancel(nil)
	return out, done
}

// finish stores an outcome and returns the next job for the slot. It tries until the outcome is stored: while this daemon lives
// nobody else would take the job. Only a daemon that stops gives up after a while; its jobs are then run again.
func (d *Dispatcher) finish(l *lane, c *engine.Claim, out engine.Outcome) (next *engine.Claim) {
	var stored *engine.Outcome
	defer func() { d.cfg.Executor.Finished(c, stored) }()
	wait := 50 * time.Millisecond
	for attempt := 0; ; attempt++ {
		ctx := d.storing.Context(context.Background())
		var accepted bool
		var err error
		out.Patient = out.Patient && l.free.Load() > l.size/2 // otherwise somebody waits for the slot
		if d.cfg.Flows != nil && c.Job.Step != "" {
			accepted, next, err = d.ofFlow(ctx, l, c, out)
		} else if l.gate == nil && l.backlog.Load() && d.taking.Load() && l.free.Load() >= 0 { // the slots to spare take no others
			accepted, next, err = d.queue.FinishAndClaim(ctx, out, l.tags)
		} else {
			accepted, err = d.queue.Finish(ctx, out)
		}
		switch {
		case err == nil && !accepted:
			d.cfg.Log.Warn().Stringer("job", out.ID).Int32("attempt", out.Attempt).Msg("outcome refused: the job belongs to another worker by now")
			return next
		case err == nil:
			stored = &out
			return next
		case attempt >= 20 && !d.taking.Load():
			d.cfg.Log.Error().Err(err).Stringer("job", out.ID).Msg("outcome not stored; the rescuer will run the job again")
			return nil
		}
		d.cfg.Log.Warn().Err(err).Stringer("job", out.ID).Msg("store outcome; will try again")
		t := time.NewTimer(wait)
		<-t.C
		wait = min(2*wait, 2*time.Second)
	}
}

// Cancel stops a running job of this daemon; false: it does not run here.
func (d *Dispatcher) Cancel(id uuid.UUID, by, reason string) bool {
	d.mu.Lock()
	cancel, ok := d.running[id]
	d.mu.Unlock()
	if ok {
		cancel(&execute.Canceled{By: by, Reason: reason})
	}
	return ok
}

// Stats counts slots of sandboxes.
func (d *Dispatcher) Stats() (slots, free int) {
	return int(d.lanes[0].size), int(max(d.lanes[0].free.Load(), 0))
}
