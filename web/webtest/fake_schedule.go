package webtest

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
)

// Hour is the first tick of every schedule here; there is one each hour from then on.
var Hour = time.Date(2030, 1, 1, 10, 0, 0, 0, time.UTC)

// Schedules is the engine seen as api.Schedules: a cron expression is wrong when it says so, and ticks are what a test put in.
type Schedules struct{ *Engine }

func noSchedule(path string) error {
	return &engine.Error{Code: engine.NotFound, Op: "schedule", Path: path, Msg: "no such schedule"}
}

// AddTicks puts lines into the ledger.
func (e *Engine) AddTicks(ticks ...engine.Tick) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ticks = append(e.ticks, ticks...)
}

// at runs do with the schedule at a path.
func (e Schedules) at(ws, path string, do func(*engine.Schedule)) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.check(ws); err != nil {
		return err
	}
	for i := range e.schedules {
		if s := &e.schedules[i]; s.Workspace == ws && s.Path == path {
			do(s)
			return nil
		}
	}
	return noSchedule(path)
}

func checkCron(cron string) error {
	if cron == "wrong" {
		return &engine.Error{Code: engine.Invalid, Op: "schedule", Msg: "wrong is no cron expression", Hint: "use 0 0 12 * * *"}
	}
	return nil
}

// Create implements api.Schedules.
func (e Schedules) Create(_ context.Context, p engine.Principal, s engine.Schedule) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.check(s.Workspace); err != nil {
		return err
	}
	if err := checkCron(s.Cron); err != nil {
		return err
	}
	if slices.ContainsFunc(e.schedules, func(o engine.Schedule) bool { return o.Workspace == s.Workspace && o.Path == s.Path }) {
		return &engine.Error{Code: engine.Conflict, Op: "schedule.create", Path: s.Path, Msg: "there is a schedule already"}
	}
	e.schedules = append(e.schedules, stamped(p, s))
	return nil
}

func stamped(p engine.Principal, s engine.Schedule) engine.Schedule {
	s.EditedBy, s.EditedAt, s.Email, s.NextAt = p.Username, time.Now(), p.Email, nil
	if s.PermissionedAs == "" {
		s.PermissionedAs = p.PermissionedAs()
	}
	if s.Enabled {
		s.NextAt = &Hour
	}
	return s
}

// Update implements api.Schedules.
func (e Schedules) Update(_ context.Context, p engine.Principal, s engine.Schedule) error {
	if err := checkCron(s.Cron); err != nil {
		return err
	}
	return e.at(s.Workspace, s.Path, func(old *engine.Schedule) { *old = stamped(p, s) })
}

// Get implements api.Schedules.
func (e Schedules) Get(_ context.Context, _ engine.Principal, ws, path string) (*engine.Schedule, error) {
	var got engine.Schedule
	err := e.at(ws, path, func(s *engine.Schedule) { got = *s })
	return &got, err
}

// List implements api.Schedules.
func (e Schedules) List(_ context.Context, _ engine.Principal, ws string, f engine.ScheduleFilter) ([]engine.Schedule, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var found []engine.Schedule
	for _, s := range e.schedules {
		if s.Workspace == ws && (f.PathExact == "" || f.PathExact == s.Path) && strings.HasPrefix(s.Path, f.PathStart) &&
			(f.ScriptPath == "" || f.ScriptPath == s.ScriptPath) && (f.IsFlow == nil || *f.IsFlow == s.IsFlow) &&
			(f.Enabled == nil || *f.Enabled == s.Enabled) {
			found = append(found, s)
		}
	}
	slices.SortFunc(found, func(a, b engine.Schedule) int { return strings.Compare(a.Path, b.Path) })
	return page(found, f.Page, f.PerPage), e.check(ws)
}

// Exists implements api.Schedules.
func (e Schedules) Exists(_ context.Context, _ engine.Principal, ws, path string) (bool, error) {
	err := e.at(ws, path, func(*engine.Schedule) {})
	if engine.CodeOf(err) == engine.NotFound {
		e.mu.Lock()
		defer e.mu.Unlock()
		return false, e.check(ws)
	}
	return err == nil, err
}

// Delete implements api.Schedules.
func (e Schedules) Delete(_ context.Context, _ engine.Principal, ws, path string) error {
	if err := e.at(ws, path, func(*engine.Schedule) {}); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.schedules = slices.DeleteFunc(e.schedules, func(s engine.Schedule) bool { return s.Workspace == ws && s.Path == path })
	return nil
}

// SetEnabled implements api.Schedules.
func (e Schedules) SetEnabled(_ context.Context, _ engine.Principal, ws, path string, on bool) error {
	return e.at(ws, path, func(s *engine.Schedule) { s.Enabled = on })
}

// Pause implements api.Schedules.
func (e Schedules) Pause(_ context.Context, _ engine.Principal, ws, path string, until *time.Time) error {
	return e.at(ws, path, func(s *engine.Schedule) { s.PausedUntil = until })
}

// Preview implements api.Schedules.
func (e Schedules) Preview(_ context.Context, _ engine.Principal, _ string, s engine.Schedule, n int) ([]time.Time, error) {
	out := make([]time.Time, 0, n)
	for i := range n {
		out = append(out, Hour.Add(time.Duration(i)*time.Hour).In(time.FixedZone("", 3600)))
	}
	return out, checkCron(s.Cron)
}

// Ticks implements api.Schedules.
func (e Schedules) Ticks(_ context.Context, _ engine.Principal, ws string, f engine.TickFilter) ([]engine.Tick, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.check(ws); err != nil {
		return nil, err
	}
	var found []engine.Tick
	for _, t := range slices.Backward(e.ticks) {
		if t.Schedule == f.Schedule && (len(f.States) == 0 || slices.Contains(f.States, t.State)) &&
			(f.After.IsZero() || t.At.After(f.After)) && (f.Before.IsZero() || t.At.Before(f.Before)) {
			found = append(found, t)
		}
	}
	return page(found, f.Page, f.PerPage), nil
}

// Backfill implements api.Schedules.
func (e Schedules) Backfill(_ context.Context, _ engine.Principal, ws, path string, from, to time.Time) (int, error) {
	return int(to.Sub(from) / time.Hour), e.at(ws, path, func(*engine.Schedule) {})
}

// Run implements api.Schedules.
func (e Schedules) Run(ctx context.Context, p engine.Principal, ws, path string) (uuid.UUID, error) {
	s, err := e.Get(ctx, p, ws, path)
	if err != nil {
		return uuid.Nil, err
	}
	return e.Engine.Run(ctx, p, engine.RunRequest{Workspace: ws, Path: s.ScriptPath, Args: s.Args, Trigger: "schedule", TriggerPath: path})
}

// PutCalendar implements api.Schedules.
func (e Schedules) PutCalendar(_ context.Context, p engine.Principal, c engine.Calendar) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.check(c.Workspace); err != nil {
		return err
	}
	c.EditedBy, c.EditedAt = p.Username, time.Now()
	e.calendars = slices.DeleteFunc(e.calendars, func(o engine.Calendar) bool { return o.Path == c.Path })
	e.calendars = append(e.calendars, c)
	return nil
}

// GetCalendar implements api.Schedules.
func (e Schedules) GetCalendar(_ context.Context, _ engine.Principal, ws, path string) (*engine.Calendar, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range e.calendars {
		if c.Workspace == ws && c.Path == path {
			return &c, nil
		}
	}
	return nil, &engine.Error{Code: engine.NotFound, Op: "calendar.get", Path: path, Msg: "no such calendar"}
}

// ListCalendars implements api.Schedules.
func (e Schedules) ListCalendars(_ context.Context, _ engine.Principal, ws string) ([]engine.Calendar, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.calendars), e.check(ws)
}

// DeleteCalendar implements api.Schedules.
func (e Schedules) DeleteCalendar(ctx context.Context, p engine.Principal, ws, path string) error {
	if _, err := e.GetCalendar(ctx, p, ws, path); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.calendars = slices.DeleteFunc(e.calendars, func(c engine.Calendar) bool { return c.Path == path })
	return nil
}
