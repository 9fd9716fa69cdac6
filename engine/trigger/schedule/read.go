package schedule

import (
	"context"
	"time"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store"
)

// Get returns a schedule.
func (s *Schedules) Get(ctx context.Context, p engine.Principal, ws, path string) (*engine.Schedule, error) {
	const op = "schedule.get"
	if err := s.may(p, "read", op, ws, path); err != nil {
		return nil, err
	}
	return s.get(ctx, op, ws, path)
}

func (s *Schedules) get(ctx context.Context, op, ws, path string) (*engine.Schedule, error) {
	x, err := s.cfg.DB.ScheduleGet(ctx, ws, path)
	if store.IsNotFound(err) {
		return nil, notFound(op, ws, path)
	}
	if err != nil {
		return nil, failed(op, path, err)
	}
	return x, nil
}

// List returns the schedules that f selects, by path.
func (s *Schedules) List(ctx context.Context, p engine.Principal, ws string, f engine.ScheduleFilter) ([]engine.Schedule, error) {
	if err := s.cfg.Gate.Can(p, "read", ws, ""); err != nil {
		return nil, err
	}
	if checkText("schedule.list", f.PathExact, f.PathStart, f.ScriptPath) != nil {
		return nil, nil // nothing can be called that
	}
	list, err := s.cfg.DB.ScheduleList(ctx, ws, f)
	if err != nil {
		return nil, failed("schedule.list", "", err)
	}
	return list, nil
}

// Exists tells whether path is a schedule.
func (s *Schedules) Exists(ctx context.Context, p engine.Principal, ws, path string) (bool, error) {
	_, err := s.Get(ctx, p, ws, path)
	if engine.CodeOf(err) == engine.NotFound && s.cfg.Gate.Can(p, "read", ws, path) == nil {
		return false, nil
	}
	return err == nil, err
}

// Ticks returns lines of the ledger, newest first.
func (s *Schedules) Ticks(ctx context.Context, p engine.Principal, ws string, f engine.TickFilter) ([]engine.Tick, error) {
	if err := s.may(p, "read", "schedule.ticks", ws, f.Schedule); err != nil {
		return nil, err
	}
	list, err := s.cfg.DB.TickList(ctx, ws, f)
	if err != nil {
		return nil, failed("schedule.ticks", f.Schedule, err)
	}
	return list, nil
}

const (
	previewed  = 5    // when n is 0
	maxPreview = 1000 // ticks
)

// Preview returns the next n ticks of a schedule that need not be stored, without those on excluded days. With an empty workspace
// it has no calendars.
func (s *Schedules) Preview(ctx context.Context, p engine.Principal, ws string, x engine.Schedule, n int) ([]time.Time, error) {
	const op = "schedule.preview"
	if n == 0 {
		n = previewed
	}
	switch {
	case p.Username == "":
		return nil, engine.Errorf(engine.Unauthorized, op, "nobody asks")
	case n < 0 || n > maxPreview:
		return nil, engine.Errorf(engine.Invalid, op, "a preview has 1 to %d ticks", maxPreview)
	case ws == "" && len(x.Calendars) > 0:
		return nil, engine.Errorf(engine.Invalid, op, "calendars belong to a workspace")
	case ws != "":
		if err := s.cfg.Gate.Can(p, "read", ws, ""); err != nil {
			return nil, err
		}
	}
	g, err := NewGrid(x.Cron, x.CronVersion, x.Timezone)
	if err != nil {
		return nil, &engine.Error{Code: engine.Invalid, Op: op, Path: x.Path, Msg: err.Error()}
	}
	if err := checkText(op, x.Calendars...); err != nil {
		return nil, err
	}
	out, err := s.excluded(ctx, nil, ws, x.Calendars)
	if err != nil {
		return nil, err
	}
	from := s.cfg.Clock.Now()
	if paused(&x, from) {
		from = x.PausedUntil.Add(-time.Nanosecond)
	}
	w := walker{grid: g, out: out, at: from}
	end := from.AddDate(searchYears, 0, 0)
	var list []time.Time
	for t := w.next(end); !t.IsZero() && len(list) < n; t = w.next(end) {
		list = append(list, t)
	}
	return list, nil
}

// walker goes from tick to tick, over excluded days in one step each.
type walker struct {
	grid *Grid
	out  *exclusion
	at   time.Time // the last one
}

// next returns the tick after the last, zero when that is after end.
func (w *walker) next(end time.Time) time.Time {
	for {
		t := w.grid.Next(w.at)
		if t.IsZero() || t.After(end) {
			return time.Time{}
		}
		day := w.grid.Day(t)
		if !w.out.has(day) {
			w.at = t
			return t
		}
		w.at = time.Date(day.Year(), day.Month(), day.Day()+1, 0, 0, 0, 0, w.grid.zone).Add(-time.Nanosecond)
		if w.at.Before(t) {
			w.at = t
		}
	}
}
