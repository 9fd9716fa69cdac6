// Package schedule runs scripts at the times that cron expressions name.
package schedule

import (
	"context"
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
}

// Scripts finds deployed scripts.
type Scripts interface {
	Latest(ctx context.Context, ws, path string) (*engine.Script, error)
}

// Gate decides who may do what.
type Gate interface {
	Can(p engine.Principal, verb, ws, path string) error
}

// Config wires Schedules.
type Config struct {
	DB      *store.DB
	Jobs    Jobs
	Scripts Scripts
	Gate    Gate
	Bus     *bus.Bus
	Log     zerolog.Logger
}

// Schedules is safe for concurrent use.
type Schedules struct{ cfg Config }

// New returns Schedules; nothing is fired before Start.
func New(cfg Config) (*Schedules, error) { return &Schedules{cfg: cfg}, nil }

// Start begins to fire.
func (s *Schedules) Start(ctx context.Context) error { return nil }

// Stop ends Start's work. It is idempotent and safe unstarted.
func (s *Schedules) Stop() {}

var errSoon = engine.Errorf(engine.Unavailable, "schedule", "schedules are not wired yet")

// Create stores a new schedule. Conflict: the path has one already.
func (s *Schedules) Create(ctx context.Context, p engine.Principal, x engine.Schedule) error {
	return errSoon
}

// Update replaces the schedule at x.Path.
func (s *Schedules) Update(ctx context.Context, p engine.Principal, x engine.Schedule) error {
	return errSoon
}

// Get returns a schedule.
func (s *Schedules) Get(ctx context.Context, p engine.Principal, ws, path string) (*engine.Schedule, error) {
	return nil, errSoon
}

// List returns the schedules that f selects.
func (s *Schedules) List(ctx context.Context, p engine.Principal, ws string, f engine.ScheduleFilter) ([]engine.Schedule, error) {
	return nil, errSoon
}

// Exists tells whether path is a schedule.
func (s *Schedules) Exists(ctx context.Context, p engine.Principal, ws, path string) (bool, error) {
	return false, errSoon
}

// Delete removes a schedule and its ledger.
func (s *Schedules) Delete(ctx context.Context, p engine.Principal, ws, path string) error {
	return errSoon
}

// SetEnabled switches a schedule on or off.
func (s *Schedules) SetEnabled(ctx context.Context, p engine.Principal, ws, path string, on bool) error {
	return errSoon
}

// Pause keeps a schedule from firing until a moment; nil ends the pause.
func (s *Schedules) Pause(ctx context.Context, p engine.Principal, ws, path string, until *time.Time) error {
	return errSoon
}

// Preview returns the next n ticks of a schedule that need not be stored.
func (s *Schedules) Preview(ctx context.Context, p engine.Principal, ws string, x engine.Schedule, n int) ([]time.Time, error) {
	return nil, errSoon
}

// Ticks returns lines of the ledger, newest first.
func (s *Schedules) Ticks(ctx context.Context, p engine.Principal, ws string, f engine.TickFilter) ([]engine.Tick, error) {
	return nil, errSoon
}

// Backfill makes the past ticks of [from, to] that are not in the ledger due, and returns how many there were.
func (s *Schedules) Backfill(ctx context.Context, p engine.Principal, ws, path string, from, to time.Time) (int, error) {
	return 0, errSoon
}

// Run fires a schedule's runnable now, outside its ledger, and returns the job's id.
func (s *Schedules) Run(ctx context.Context, p engine.Principal, ws, path string) (uuid.UUID, error) {
	return uuid.Nil, errSoon
}

// PutCalendar stores a calendar, new or not.
func (s *Schedules) PutCalendar(ctx context.Context, p engine.Principal, c engine.Calendar) error {
	return errSoon
}

// GetCalendar returns a calendar.
func (s *Schedules) GetCalendar(ctx context.Context, p engine.Principal, ws, path string) (*engine.Calendar, error) {
	return nil, errSoon
}

// ListCalendars returns all calendars of a workspace by path.
func (s *Schedules) ListCalendars(ctx context.Context, p engine.Principal, ws string) ([]engine.Calendar, error) {
	return nil, errSoon
}

// DeleteCalendar removes a calendar. Conflict: a schedule names it.
func (s *Schedules) DeleteCalendar(ctx context.Context, p engine.Principal, ws, path string) error {
	return errSoon
}
