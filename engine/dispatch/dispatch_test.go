package dispatch

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/execute"
)

// memory is a queue in memory with the contract of the real one.
type memory struct {
	mu       sync.Mutex
	queued   []*engine.Job
	finished map[uuid.UUID]engine.Outcome
	back     []*engine.Claim
	claims   int
	fail     int // Finish fails this many times
	wake     chan struct{}
	stored   chan uuid.UUID
}

func newMemory() *memory {
	return &memory{finished: map[uuid.UUID]engine.Outcome{}, wake: make(chan struct{}, 1), stored: make(chan uuid.UUID, 10000)}
}

func (m *memory) Wake() <-chan struct{} { return m.wake }

func (m *memory) leave(j *engine.Job) {
	m.mu.Lock()
	m.queued = append(m.queued, j)
	m.mu.Unlock()
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

func (m *memory) Claim(_ context.Context, tags []string, n int) ([]*engine.Claim, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.claims++
	var out []*engine.Claim
	var rest []*engine.Job
	for _, j := range m.queued {
		taken := false
		for _, t := range tags {
			taken = taken || t == j.Tag
		}
		if taken && len(out) < n {
			out = append(out, &engine.Claim{Job: j, Attempt: 1})
		} else {
			rest = append(rest, j)
		}
	}
	m.queued = rest
	return out, nil
}

func (m *memory) Finish(_ context.Context, o engine.Outcome) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail > 0 {
		m.fail--
		return false, errors.New("the database is away")
	}
	if _, twice := m.finished[o.ID]; twice {
		return false, nil
	}
	m.finished[o.ID] = o
	m.stored <- o.ID
	return true, nil
}

func (m *memory) FinishAndClaim(ctx context.Context, o engine.Outcome, tags []string) (bool, *engine.Claim, error) {
	ok, err := m.Finish(ctx, o)
	if err != nil {
		return ok, nil, err
	}
	c, err := m.Claim(ctx, tags, 1)
	if len(c) == 0 {
		return ok, nil, err
	}
	return ok, c[0], err
}

func (m *memory) HandBack(_ context.Context, c []*engine.Claim) error {
	m.mu.Lock()
	m.back = append(m.back, c...)
	m.mu.Unlock()
	return nil
}

// gate is an executor whose jobs end when they are let.
type gate struct {
	started chan uuid.UUID
	let     chan struct{}
	over    chan *engine.Outcome
}

func newGate() *gate {
	return &gate{started: make(chan uuid.UUID, 10000), let: make(chan struct{}, 10000), over: make(chan *engine.Outcome, 10000)}
}

func (g *gate) Execute(ctx context.Context, c *engine.Claim) (engine.Outcome, bool) {
	g.started <- c.Job.ID
	o := engine.Outcome{ID: c.Job.ID, Attempt: c.Attempt, State: engine.StateSuccess}
	select {
	case <-g.let:
		return o, true
	case <-ctx.Done():
		if errors.Is(context.Cause(ctx), execute.ErrShutdown) {
			return o, false
		}
		o.State = engine.StateCanceled
		return o, true
	}
}

func (g *gate) Finished(_ *engine.Claim, o *engine.Outcome) { g.over <- o }

func setup(t *testing.T, slots int) (*Dispatcher, *memory, *gate) {
	t.Helper()
	g, m := newGate(), newMemory()
	d, err := New(Config{Executor: g, ProcessSlots: slots, ProcessTags: []string{"python3"}, NativeTags: []string{"noop"}, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	return d, m, g
}

func start(t *testing.T, d *Dispatcher, m *memory) {
	t.Helper()
	if err := d.Start(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		d.Drain(ctx)
	})
}

func job() *engine.Job {
	return &engine.Job{ID: engine.NewJobID(), Kind: engine.KindScript, Tag: "python3"}
}

// push does what the queue does: fast lane or left queued.
func push(d *Dispatcher, m *memory, j *engine.Job) bool {
	if d.TryReserve(j.Tag, j.Priority) {
		d.Deliver(&engine.Claim{Job: j, Attempt: 1})
		return true
	}
	m.leave(j)
	return false
}

// settle waits until the first look for rows of an earlier life is over.
func settle(d *Dispatcher) {
	for d.lanes[0].backlog.Load() || d.lanes[1].backlog.Load() {
		runtime.Gosched()
	}
}

func TestRowsOfAnEarlierLifeAreClaimedAtStart(t *testing.T) {
	t.Parallel()
	d, m, g := setup(t, 2)
	old := job()
	m.queued = append(m.queued, old)
	start(t, d, m)
	if id := <-g.started; id != old.ID {
		t.Fatal("another job")
	}
	g.let <- struct{}{}
	<-m.stored
}

func TestNeverMoreThanTheSlotsAndEveryJobOnce(t *testing.T) {
	t.Parallel()
	d, m, g := setup(t, 3)
	start(t, d, m)
	settle(d)
	const n = 200
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() { push(d, m, job()) })
	}
	wg.Wait()
	for range 3 {
		<-g.started
	}
	select {
	case <-g.started:
		t.Fatal("a fourth job runs in three slots")
	default:
	}
	seen := map[uuid.UUID]bool{}
	for range n {
		g.let <- struct{}{}
		id := <-m.stored
		if seen[id] {
			t.Fatal("a job was finished twice")
		}
		seen[id] = true
	}
	for range n {
		if o := <-g.over; o == nil {
			t.Fatal("a finished job without outcome")
		}
	}
}

func TestFastLaneIsClosedWhileOlderJobsWait(t *testing.T) {
	t.Parallel()
	d, m, g := setup(t, 1)
	start(t, d, m)
	settle(d)
	if !push(d, m, job()) {
		t.Fatal("a free slot was not reserved")
	}
	<-g.started
	second, third := job(), job()
	if push(d, m, second) || push(d, m, third) {
		t.Fatal("a busy slot was reserved")
	}
	g.let <- struct{}{}
	if id := <-g.started; id != second.ID {
		t.Fatal("the queued job was overtaken")
	}
	g.let <- struct{}{}
	if id := <-g.started; id != third.ID {
		t.Fatal("the third job is lost")
	}
	g.let <- struct{}{}
	for range 3 {
		<-m.stored
	}
}

func TestUnknownTagsAreLeftQueued(t *testing.T) {
	t.Parallel()
	d, m, _ := setup(t, 1)
	start(t, d, m)
	settle(d)
	if d.TryReserve("gpu", 0) {
		t.Fatal("reserved a slot for a tag that is not taken here")
	}
}

func TestCancelEndsARunningJob(t *testing.T) {
	t.Parallel()
	d, m, g := setup(t, 1)
	start(t, d, m)
	settle(d)
	j := job()
	push(d, m, j)
	<-g.started
	if d.Cancel(engine.NewJobID(), "ann", "") {
		t.Fatal("canceled a job that does not run")
	}
	if !d.Cancel(j.ID, "ann", "enough") {
		t.Fatal("the running job was not found")
	}
	<-m.stored
	if s := m.finished[j.ID].State; s != engine.StateCanceled {
		t.Fatalf("state %s", s)
	}
}

func TestDrainWaitsThenHandsBack(t *testing.T) {
	t.Parallel()
	d, m, g := setup(t, 2)
	start(t, d, m)
	settle(d)
	a, b := job(), job()
	push(d, m, a)
	push(d, m, b)
	<-g.started
	<-g.started
	g.let <- struct{}{}
	<-m.stored
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	d.Drain(ctx)
	if len(m.back) != 1 || len(m.finished) != 1 {
		t.Fatalf("%d handed back, %d finished", len(m.back), len(m.finished))
	}
	if d.TryReserve("python3", 0) {
		t.Fatal("takes jobs after a drain")
	}
	d.Drain(ctx)
}

func TestOutcomesAreStoredWhenTheDatabaseComesBack(t *testing.T) {
	t.Parallel()
	d, m, g := setup(t, 1)
	m.fail = 2
	start(t, d, m)
	settle(d)
	j := job()
	push(d, m, j)
	g.let <- struct{}{}
	if id := <-m.stored; id != j.ID {
		t.Fatal("another job")
	}
}
