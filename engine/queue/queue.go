// Package queue holds jobs between being asked for and being done.
//
//	              Push, a slot is free                       Finish
//	            ------------------------->  running  --------------------->  success, failure, canceled
//	  Push                Claim             |     ^
//	---------> queued ----------------------+-----+
//	            |  ^                        |
//	     Cancel |  +------------------------+
//	            v    hand-back, rescue
//	         canceled
//
// Promises. Push is durable when it returns, and pushing the same id or idempotency key twice is one job. A job is given to
// one worker at a time; it may be given out again only when the lease of that worker (its heartbeat) has run out or it was
// handed back, and then the outcome of the former attempt is refused: (worker, attempt) is the fence, worker numbers are
// never used twice. Exactly one outcome is stored for a job. So code runs at least once, and its result counts once.
//
// A job that is dispatched directly costs two commits: insert+claim, and finish. Both go through the writer (writer.go).
// Nothing that anybody waits for waits for a timer on the way; polls are only the safety net of lost notifications. Two things
// may lie for two milliseconds, to share another's flush: an outcome that nobody waits for, and a job that no slot is free for while its caller
// waits for the outcome.
//
// Goroutines: whoever calls Push or Finish flushes the writer itself. loop keeps the lanes (claim.go) and wakes the
// dispatcher, gateLoop admits jobs whose limit has room by time alone (gate.go), beat keeps the lease and rescues (lease.go),
// notifier and listener speak with other processes (notify.go).
package queue

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store"
)

// Slots is where jobs run in this process; the dispatcher is one.
type Slots interface {
	// TryReserve takes a slot for a job of this tag. False: the row is left queued. A job of a priority above zero may pass others
	// that wait.
	TryReserve(tag string, priority int16) bool
	// Release gives a reserved slot back: nothing was inserted.
	Release(tag string)
	// Deliver starts a job in the slot that was reserved for it. It must not block for long.
	Deliver(c *engine.Claim)
}

// Flows carries on with flows; runner.Runner does.
type Flows interface {
	// Cancel ends a run, which no process runs.
	Cancel(ctx context.Context, id uuid.UUID, by, reason string) error
	// End stores the outcome of a step that no process runs, with what its flow does next. False: it is somebody's, or over.
	End(ctx context.Context, j *engine.Job, o engine.Outcome) (bool, error)
}

// Config describes a queue. Zero durations and sizes mean the default.
type Config struct {
	DB       *store.DB
	Log      zerolog.Logger
	Tags     []string // that this process takes
	Capacity int      // jobs it runs at the same time, for who looks at the workers
	Name     string   // of the worker, shown to people; empty: host:pid
	Version  string   // of the program, likewise
	// Slots is where jobs run here. Nil: nothing is dispatched directly.
	Slots Slots
	// OnCancel kills a job that runs in this process; false: it does not run here. Nil: canceling waits for the job's end.
	OnCancel func(id uuid.UUID, by, reason string) bool
	Flows    Flows // nil: there are no flows here

	Heartbeat time.Duration // how often the lease is renewed; 5 s
	Lease     time.Duration // without a heartbeat for so long, a worker is dead; 30 s
	Poll      time.Duration // safety net for lost notifications and rows that came late; 1 s, jittered
	MaxLost   int           // a job whose worker vanished more often than this fails, four times as often beside other jobs; 3
	RetryFor  time.Duration // how long operations wait for a lost database; 30 s
	FlushTime time.Duration // a flush that hangs for so long is cut off and tried again; 20 s

	InlineLimit int   // arguments and results up to this many bytes stay in their row; 256 KiB
	MaxQueued   int64 // a push that would leave more jobs waiting is refused; 0: no bound
	MaxPayload  int   // larger arguments and results are refused; 64 MiB
	BlobQuota   int64 // bytes of all that is kept out of rows; 10 GiB
}

func (c *Config) setDefaults() error {
	if c.DB == nil {
		return errors.New("queue: Config.DB is not set")
	}
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&c.Heartbeat, 5 * time.Second}, {&c.Lease, 30 * time.Second}, {&c.Poll, time.Second},
		{&c.RetryFor, 30 * time.Second}, {&c.FlushTime, 20 * time.Second},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if c.Lease < 2*c.Heartbeat {
		return fmt.Errorf("queue: Config.Lease %s must be at least twice Config.Heartbeat %s", c.Lease, c.Heartbeat)
	}
	if c.MaxLost == 0 {
		c.MaxLost = 3
	}
	if c.InlineLimit == 0 {
		c.InlineLimit = 256 << 10
	}
	if c.MaxPayload == 0 {
		c.MaxPayload = 64 << 20
	}
	if c.BlobQuota == 0 {
		c.BlobQuota = 10 << 30
	}
	return nil
}

// Queue is safe for concurrent use.
type Queue struct {
	cfg    Config
	info   store.WorkerInfo
	writer *writer
	output group[*outputOp]
	lanes  lanes
	strays strays
	beatMu sync.Mutex  // one heartbeat at a time
	clock  serverClock // guarded by beatMu

	sighted atomic.Pointer[sighting] // the server's clock at the last heartbeat; nil: none yet
	gates   gates
	room    room
	// debouncing has a place for each debounce in flight.
	debouncing chan struct{}

	worker atomic.Int32 // this process's number; set by Start, and by beat when it was given up; 0: not started
	others atomic.Int32 // other live workers; set by beat and listener
	// executed counts the outcomes of this process that were stored, since it got its number.
	executed atomic.Int64
	wake     chan struct{}
	look     chan struct{} // tells loop to look for heads now
	beatNow  chan struct{} // tells beat not to wait for its next time

	runMu   sync.Mutex
	running map[uuid.UUID]held // attempts that are in this process's hands; guarded by runMu
	unsure  []*engine.Claim    // inserted as running, perhaps, but never delivered; guarded by runMu

	news    notices
	cancels *store.Subscription
	pushes  *store.Subscription
	joins   *store.Subscription

	life     sync.Mutex // Start and Stop
	stop     context.CancelFunc
	services sync.WaitGroup
}

// New returns a queue that can push and read at once, and takes part as a worker after Start.
func New(cfg Config) (*Queue, error) {
	if err := cfg.setDefaults(); err != nil {
		return nil, err
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("queue: %w", err)
	}
	info := store.WorkerInfo{Host: host, PID: os.Getpid(), Name: cfg.Name, Version: cfg.Version, Tags: cfg.Tags, Slots: cfg.Capacity}
	if info.Name == "" {
		info.Name = fmt.Sprintf("%s:%d", host, info.PID)
	}
	q := &Queue{cfg: cfg, info: info, wake: make(chan struct{}, 1), look: make(chan struct{}, 1), beatNow: make(chan struct{}, 1), running: map[uuid.UUID]held{}}
	q.writer = newWriter(q)
	q.output = group[*outputOp]{run: q.flushOutput, max: 256}
	q.lanes.init(q.now)
	q.gates.init()
	q.room.levels = map[string]*level{}
	q.debouncing = make(chan struct{}, debouncers)
	q.news.init(q.now, cfg.Poll)
	return q, nil
}

// Start registers this process as a worker and begins to keep its lease.
func (q *Queue) Start(ctx context.Context) error {
	q.life.Lock()
	defer q.life.Unlock()
	if q.stop != nil {
		return errors.New("queue: started twice")
	}
	id, err := q.cfg.DB.WorkerInsert(ctx, q.info)
	if err != nil {
		return err
	}
	if err := q.subscribe(ctx); err != nil {
		return err
	}
	q.worker.Store(id)
	run, stop := context.WithCancel(context.Background())
	q.stop = stop
	q.buryPredecessors(ctx, id)
	if err := q.writer.conn.Connect(ctx); err != nil { // the first push need not
		q.cfg.Log.Warn().Err(err).Msg("connect writer; the first push will try again")
	}
	for _, f := range []func(context.Context){q.loop, q.gateLoop, q.beat, q.listener, q.notifier, q.writer.watchdog} {
		q.services.Go(func() { f(run) })
	}
	return nil
}

// Stop ends the worker: it takes and renews nothing more, and jobs it still owns become queued for others. Call it after the
// dispatcher has drained. Safe to call twice, and unstarted.
func (q *Queue) Stop() {
	q.life.Lock()
	defer q.life.Unlock()
	if q.stop != nil {
		q.stop()
		q.services.Wait()
		q.pushes.Close()
		q.cancels.Close()
		q.joins.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		if err := q.cfg.DB.WorkerLeave(ctx, q.worker.Load()); err != nil {
			q.cfg.Log.Warn().Err(err).Msg("leave the queue; the lease will run out")
		} else {
			q.rescue(ctx)
		}
		cancel()
		q.worker.Store(0)
		q.stop = nil
	}
	q.writer.close()
}

// Worker is the number of this process since its start, 0 when it is not started.
func (q *Queue) Worker() int32 { return q.worker.Load() }

// Others is how many other processes took jobs from this database when the lease was renewed last.
func (q *Queue) Others() int { return int(q.others.Load()) }

// Flushes counts the transactions of the writer so far.
func (q *Queue) Flushes() int64 { return q.writer.flushes.Load() }

// Wake signals that there may be something to claim. Signals merge.
func (q *Queue) Wake() <-chan struct{} { return q.wake }

func (q *Queue) wakeUp() { signal(q.wake) }

// signal puts a signal into c unless one is there.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// held is what is known of an attempt in this process's hands.
type held struct {
	attempt int32
	gate    int32 // the limit it counts for; 0: none
	batch   bool  // it counts for a batch
	urgent  bool  // it has a priority
}

// hold notes that an attempt is in this process's hands; false: it was noted before, or a later one, or handed back before it came.
func (q *Queue) hold(c *engine.Claim) bool {
	q.runMu.Lock()
	defer q.runMu.Unlock()
	if has := q.running[c.Job.ID].attempt; has >= c.Attempt {
		if has > c.Attempt { // a push that is late, or a database that has lost what it had stored: then nobody has this attempt
			q.suspect()
		}
		return false
	}
	if p, ok := q.strays.given[c.Job.ID]; ok && p.attempt == c.Attempt {
		q.suspect() // a crash of the database may have undone the handing back as well
		return false
	}
	q.running[c.Job.ID] = held{attempt: c.Attempt, gate: c.Gate, batch: c.Job.Batch != nil, urgent: c.Job.Priority > 0}
	return true
}

// holding returns what is known of an attempt; false: it is not in this process's hands, or not any more.
func (q *Queue) holding(id uuid.UUID, attempt int32) (held, bool) {
	q.runMu.Lock()
	defer q.runMu.Unlock()
	h, ok := q.running[id]
	return h, ok && h.attempt == attempt
}

// letGo forgets an attempt.
func (q *Queue) letGo(id uuid.UUID, attempt int32) {
	q.runMu.Lock()
	if q.running[id].attempt == attempt {
		delete(q.running, id)
	}
	q.runMu.Unlock()
}
