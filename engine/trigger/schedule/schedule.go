// Package schedule runs scripts and flows at the times that cron expressions name: it keeps the schedules (edit.go), finds their moments
// (cron.go), decides what becomes of each (plan.go), asks their guards (guard.go), fires them (fire.go, push.go), learns how the runs
// ended (settle.go), and lets those that failed follow others (retry.go).
//
//	             overlap: queue, coalesce
//	             +--- due, waiting ---+
//	             |                    | the earlier run is done
//	next_at -----+--------------> due, claimed --push--> fired --its job ends--> done --> handlers
//	             |                    |
//	             |                    '--> failed          (the job cannot be pushed)
//	             '--> missed, skipped, coalesced, excluded
//
// Any number of daemons work on one database. Each sleeps until the earliest next_at; whoever gets the lock of a due schedule
// writes a line of the ledger for every tick up to now, with the id of its job, and moves next_at on, all in one transaction. The
// ledger's key is the tick, so there is one line for a tick, ever. Then the job is pushed under the id of its line, and the
// line is marked as fired. Whoever dies in between leaves a claimed tick; after some seconds another one pushes it under the same
// id, and of two pushes of an id one is a job. So no tick is lost, and none runs twice. Guards, further attempts and handlers are
// pushed in the same way: their ids are in the line first.
//
// One goroutine, loop, does all of this. Polls are the safety net of lost signals.
package schedule

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/bus"
	"github.com/millrace/millrace/engine/store"
)

// Jobs is what Schedules needs of engine/jobs.
type Jobs interface {
	Run(ctx context.Context, p engine.Principal, r engine.RunRequest) (uuid.UUID, error)
	Get(ctx context.Context, p engine.Principal, ws string, id uuid.UUID, withLogs bool) (*engine.JobView, error)
}

// Scripts finds deployed scripts.
type Scripts interface {
	Latest(ctx context.Context, ws, path string) (*engine.Script, error)
}

// Flows finds deployed flows.
type Flows interface {
	Latest(ctx context.Context, ws, path string) (*engine.Flow, error)
}

// Gate decides who may do what.
type Gate interface {
	Can(p engine.Principal, verb, ws, path string) error
}

// Clock tells the time.
type Clock interface {
	Now() time.Time
	// After sends once when d has passed; stop frees it.
	After(d time.Duration) (c <-chan time.Time, stop func())
}

// Config wires Schedules. Zero durations mean the default.
type Config struct {
	DB      *store.DB
	Jobs    Jobs
	Scripts Scripts
	Flows   Flows
	Gate    Gate
	Bus     *bus.Bus // tells at once of runs on this daemon; nil: polls find them
	Clock   Clock    // nil: the machine's
	Log     zerolog.Logger
	Poll    time.Duration // safety net of lost signals; 5 s, jittered
	Late    time.Duration // who has not pushed a claimed tick for so long may be dead; 10 s
}

// Schedules is safe for concurrent use.
type Schedules struct {
	cfg       Config
	kick      chan struct{}     // tells loop to look at once
	ended     chan uuid.UUID    // jobs of ticks that were done on this daemon
	room      chan struct{}     // one for each watched job
	grids     map[gridKey]*Grid // parsed expressions; used by loop only
	unsettled map[uuid.UUID]int // jobs that ended, and how often their ticks were looked for; used by loop only
	polls     time.Time         // the last poll; used by loop only
	next      time.Time         // the earliest tick that is known; used by loop only

	life     sync.Mutex // Start and Stop
	stop     context.CancelFunc
	services sync.WaitGroup
}

// gridKey is what a Grid is made of.
type gridKey struct{ cron, version, zone string }

// New returns Schedules; nothing is fired before Start.
func New(cfg Config) (*Schedules, error) {
	if cfg.DB == nil || cfg.Jobs == nil || cfg.Scripts == nil || cfg.Flows == nil || cfg.Gate == nil {
		return nil, errors.New("schedule: Config needs DB, Jobs, Scripts, Flows and Gate")
	}
	if cfg.Clock == nil {
		cfg.Clock = machine{}
	}
	if cfg.Poll == 0 {
		cfg.Poll = 5 * time.Second
	}
	if cfg.Late == 0 {
		cfg.Late = 10 * time.Second
	}
	return &Schedules{cfg: cfg, kick: make(chan struct{}, 1), ended: make(chan uuid.UUID, 256), room: make(chan struct{}, maxWatched),
		grids: map[gridKey]*Grid{}, unsettled: map[uuid.UUID]int{}}, nil
}

// Start begins to fire.
func (s *Schedules) Start(ctx context.Context) error {
	s.life.Lock()
	defer s.life.Unlock()
	if s.stop != nil {
		return errors.New("schedule: started twice")
	}
	sub, err := s.cfg.DB.Listen(ctx, store.ScheduleChannel, nil)
	if err != nil {
		return fmt.Errorf("start schedules: %w", err)
	}
	run, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.services.Go(func() {
		defer sub.Close()
		s.loop(run, sub.C)
	})
	return nil
}

// Stop ends Start's work. It is idempotent and safe unstarted.
func (s *Schedules) Stop() {
	s.life.Lock()
	defer s.life.Unlock()
	if s.stop != nil {
		s.stop()
		s.services.Wait()
		s.stop = nil
	}
}

// wake lets loop look at once.
func (s *Schedules) wake() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// machine is the clock of the machine.
type machine struct{}

func (machine) Now() time.Time { return time.Now() }

func (machine) After(d time.Duration) (<-chan time.Time, func()) {
	t := time.NewTimer(d)
	return t.C, func() { t.Stop() }
}

// failed gives an error of the store its code; those that have one keep it.
func failed(op, path string, err error) error {
	var known *engine.Error
	if errors.As(err, &known) {
		return err
	}
	code := engine.Internal
	if store.IsUnavailable(err) {
		code = engine.Unavailable
	}
	return &engine.Error{Code: code, Op: op, Path: path, Err: err}
}

func notFound(op, ws, path string) error {
	return &engine.Error{Code: engine.NotFound, Op: op, Path: path, Msg: "there is no such schedule in workspace " + ws}
}
