package schedule

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store"
)

// Create stores a new schedule. Conflict: the path has one already.
func (s *Schedules) Create(ctx context.Context, p engine.Principal, x engine.Schedule) error {
	const op = "schedule.create"
	g, err := s.admit(ctx, p, op, &x)
	if err != nil {
		return err
	}
	s.begin(g, &x, p)
	var created bool
	err = s.cfg.DB.InTx(ctx, func(tx store.Tx) (err error) {
		if err := s.nameCalendars(ctx, tx, x.Workspace, x.Calendars); err != nil {
			return err
		}
		created, err = s.cfg.DB.ScheduleInsert(ctx, tx, &x)
		return err
	})
	if err != nil {
		return failed(op, x.Path, err)
	}
	if !created {
		return &engine.Error{Code: engine.Conflict, Op: op, Path: x.Path, Msg: "there is a schedule at this path already"}
	}
	s.wake()
	return nil
}

// Update replaces the schedule at x.Path. The ledger stays.
func (s *Schedules) Update(ctx context.Context, p engine.Principal, x engine.Schedule) error {
	const op = "schedule.update"
	if err := s.may(p, "write", op, x.Workspace, x.Path); err != nil {
		return err
	}
	if _, err := s.get(ctx, op, x.Workspace, x.Path); err != nil { // before anything is said about what it names
		return err
	}
	g, err := s.admit(ctx, p, op, &x)
	if err != nil {
		return err
	}
	return s.change(ctx, op, x.Workspace, x.Path, func(tx store.Tx, old *engine.Schedule) (*engine.Schedule, error) {
		if err := s.nameCalendars(ctx, tx, x.Workspace, x.Calendars); err != nil {
			return nil, err
		}
		s.begin(g, &x, p)
		same := old.Cron == x.Cron && old.CronVersion == x.CronVersion && old.Timezone == x.Timezone
		if same && old.Enabled && x.Enabled && !paused(old, x.EditedAt) && !paused(&x, x.EditedAt) {
			x.NextAt = old.NextAt // a tick that is due at this very moment is not lost
		}
		return &x, s.giveUp(ctx, tx, &x)
	})
}

// admit checks who asks and what.
func (s *Schedules) admit(ctx context.Context, p engine.Principal, op string, x *engine.Schedule) (*Grid, error) {
	if err := engine.CheckPath(op, x.Path); err != nil {
		return nil, err
	}
	if err := s.cfg.Gate.Can(p, "write", x.Workspace, x.Path); err != nil {
		return nil, err
	}
	return s.check(ctx, p, op, x)
}

// begin sets what the server knows of a schedule that is stored now.
func (s *Schedules) begin(g *Grid, x *engine.Schedule, p engine.Principal) {
	now := s.cfg.Clock.Now()
	x.EditedBy, x.EditedAt, x.Error = p.Username, now, ""
	x.NextAt = s.nextAt(g, x, now)
}

// nextAt is the first tick after now, and not before the end of a pause; nil: none.
func (s *Schedules) nextAt(g *Grid, x *engine.Schedule, now time.Time) *time.Time {
	if !x.Enabled {
		return nil
	}
	if paused(x, now) {
		now = x.PausedUntil.Add(-time.Nanosecond)
	}
	next := g.Next(now)
	if next.IsZero() {
		return nil
	}
	return &next
}

func paused(x *engine.Schedule, now time.Time) bool {
	return x.PausedUntil != nil && x.PausedUntil.After(now)
}

// nameCalendars verifies that calendars are there, and keeps them until tx ends.
func (s *Schedules) nameCalendars(ctx context.Context, tx store.Tx, ws string, paths []string) error {
	if len(paths) == 0 {
		return nil
	}
	if err := s.cfg.DB.CalendarLock(ctx, tx, ws); err != nil {
		return err
	}
	_, err := s.excluded(ctx, tx, ws, paths)
	return err
}

// giveUp ends what waits for a schedule that is not enabled.
func (s *Schedules) giveUp(ctx context.Context, tx store.Tx, x *engine.Schedule) error {
	if x.Enabled {
		return nil
	}
	k := store.TickKey{Workspace: x.Workspace, Path: x.Path}
	return s.cfg.DB.TickGiveUp(ctx, tx, k, engine.TickSkipped, "the schedule was switched off", true)
}

// change locks a schedule and replaces it by what fn makes of it.
func (s *Schedules) change(ctx context.Context, op, ws, path string, fn func(store.Tx, *engine.Schedule) (*engine.Schedule, error)) error {
	err := s.cfg.DB.InTx(ctx, func(tx store.Tx) error {
		old, err := s.cfg.DB.ScheduleLock(ctx, tx, ws, path)
		if err != nil {
			return err
		}
		x, err := fn(tx, old)
		if err != nil {
			return err
		}
		return s.cfg.DB.ScheduleUpdate(ctx, tx, x)
	})
	if store.IsNotFound(err) {
		return notFound(op, ws, path)
	}
	if err != nil {
		return failed(op, path, err)
	}
	s.wake()
	return nil
}

// may asks the gate; a path that cannot be stored is one of no schedule.
func (s *Schedules) may(p engine.Principal, verb, op, ws, path string) error {
	if err := s.cfg.Gate.Can(p, verb, ws, path); err != nil {
		return err
	}
	if checkText(op, path) != nil {
		return notFound(op, ws, path)
	}
	return nil
}

// SetEnabled switches a schedule on or off. What waits for an earlier run is given up when it is switched off.
func (s *Schedules) SetEnabled(ctx context.Context, p engine.Principal, ws, path string, on bool) error {
	const op = "schedule.enable"
	if err := s.may(p, "write", op, ws, path); err != nil {
		return err
	}
	return s.change(ctx, op, ws, path, func(tx store.Tx, x *engine.Schedule) (*engine.Schedule, error) {
		if x.Enabled == on {
			return x, nil
		}
		x.Enabled, x.NextAt = on, nil
		if !on {
			return x, s.giveUp(ctx, tx, x)
		}
		g, err := NewGrid(x.Cron, x.CronVersion, x.Timezone)
		if err != nil {
			return nil, &engine.Error{Code: engine.Invalid, Op: op, Path: path, Msg: err.Error()}
		}
		if err := s.checkRunnable(ctx, s.owner(x), op, ws, kindOf(x.IsFlow)+x.ScriptPath); err != nil {
			return nil, err
		}
		x.Error, x.NextAt = "", s.nextAt(g, x, s.cfg.Clock.Now())
		return x, nil
	})
}

// Pause keeps a schedule from having ticks until a moment; nil ends the pause.
func (s *Schedules) Pause(ctx context.Context, p engine.Principal, ws, path string, until *time.Time) error {
	const op = "schedule.pause"
	if err := s.may(p, "write", op, ws, path); err != nil {
		return err
	}
	return s.change(ctx, op, ws, path, func(_ store.Tx, x *engine.Schedule) (*engine.Schedule, error) {
		g, err := NewGrid(x.Cron, x.CronVersion, x.Timezone)
		if err != nil {
			return nil, &engine.Error{Code: engine.Invalid, Op: op, Path: path, Msg: err.Error()}
		}
		x.PausedUntil = until
		x.NextAt = s.nextAt(g, x, s.cfg.Clock.Now())
		return x, nil
	})
}

// Delete removes a schedule and its ledger. Jobs that it started stay.
func (s *Schedules) Delete(ctx context.Context, p engine.Principal, ws, path string) error {
	const op = "schedule.delete"
	if err := s.may(p, "write", op, ws, path); err != nil {
		return err
	}
	done, err := s.cfg.DB.ScheduleDelete(ctx, ws, path)
	if err != nil {
		return failed(op, path, err)
	}
	if !done {
		return notFound(op, ws, path)
	}
	return nil
}

const maxBackfill = 10_000

// Backfill makes the past ticks of [from, to] due, once each, and returns how many: those without a line in the ledger, and
// those that were missed, skipped or failed to start. They run oldest first, below the priority of other jobs; unless the
// schedule's ticks may overlap, one after the other.
func (s *Schedules) Backfill(ctx context.Context, p engine.Principal, ws, path string, from, to time.Time) (n int, err error) {
	const op = "schedule.backfill"
	if err := s.may(p, "write", op, ws, path); err != nil {
		return 0, err
	}
	now := s.cfg.Clock.Now()
	if to.Before(from) || to.After(now) {
		return 0, engine.Errorf(engine.Invalid, op, "give a range in the past, its beginning first")
	}
	err = s.cfg.DB.InTx(ctx, func(tx store.Tx) error {
		x, err := s.cfg.DB.ScheduleLock(ctx, tx, ws, path)
		if err != nil {
			return err
		}
		if x.NextAt != nil && !to.Before(*x.NextAt) {
			to = x.NextAt.Add(-time.Nanosecond) // what comes from there on is not backfilled but fired
		}
		list, err := s.past(ctx, tx, x, from, to)
		if err != nil || len(list) == 0 {
			return err
		}
		if n, err = s.cfg.DB.TickBackfill(ctx, tx, ws, path, list); err != nil {
			return err
		}
		return s.cfg.DB.ScheduleNotify(ctx, tx)
	})
	if store.IsNotFound(err) {
		return 0, notFound(op, ws, path)
	}
	if err != nil {
		return 0, failed(op, path, err)
	}
	s.wake()
	return n, nil
}

// past lists the ticks of [from, to] but those on excluded days.
func (s *Schedules) past(ctx context.Context, tx store.Tx, x *engine.Schedule, from, to time.Time) ([]time.Time, error) {
	g, err := NewGrid(x.Cron, x.CronVersion, x.Timezone)
	if err != nil {
		return nil, &engine.Error{Code: engine.Invalid, Op: "schedule.backfill", Path: x.Path, Msg: err.Error()}
	}
	out, err := s.excluded(ctx, tx, x.Workspace, x.Calendars)
	if err != nil {
		return nil, err
	}
	var list []time.Time
	w := walker{grid: g, out: out, at: from.Add(-time.Nanosecond)}
	for t := w.next(to); !t.IsZero(); t = w.next(to) {
		if len(list) == maxBackfill {
			return nil, engine.Errorf(engine.Invalid, "schedule.backfill", "the range has more than %d ticks", maxBackfill)
		}
		list = append(list, t)
	}
	return list, nil
}

// Run runs what a schedule runs now, beside its ticks, and returns the job's id. The job is the caller's.
func (s *Schedules) Run(ctx context.Context, p engine.Principal, ws, path string) (uuid.UUID, error) {
	const op = "schedule.run"
	if err := s.may(p, "run", op, ws, path); err != nil {
		return uuid.Nil, err
	}
	x, err := s.get(ctx, op, ws, path)
	if err != nil {
		return uuid.Nil, err
	}
	r, err := request(x)
	if err != nil {
		return uuid.Nil, err
	}
	return s.cfg.Jobs.Run(ctx, p, r)
}
