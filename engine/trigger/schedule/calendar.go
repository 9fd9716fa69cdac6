package schedule

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store"
)

// exclusion is the days that calendars leave out; nil leaves out none. Days are as Grid.Day returns them.
type exclusion struct {
	days   map[time.Time]bool
	ranges [][2]time.Time // both ends are out
	yearly map[[2]int]bool
	week   [7]bool
}

const dayForm = "2006-01-02"

var weekdayNames = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// exclude joins calendars.
func exclude(list []engine.Calendar) (*exclusion, error) {
	if len(list) == 0 {
		return nil, nil
	}
	x := &exclusion{days: map[time.Time]bool{}, yearly: map[[2]int]bool{}}
	for _, c := range list {
		for _, d := range c.Days {
			if err := x.add(d); err != nil {
				return nil, err
			}
		}
		for _, w := range c.Weekdays {
			i := slices.Index(weekdayNames, strings.ToLower(w))
			if i < 0 {
				return nil, fmt.Errorf("%q is not a weekday: use mon, tue, wed, thu, fri, sat or sun", w)
			}
			x.week[i] = true
		}
	}
	return x, nil
}

func (x *exclusion) add(day string) error {
	bad := func() error {
		return fmt.Errorf("%q is not a day: use 2026-12-25, 2026-12-24/2027-01-01 or *-12-25", day)
	}
	if rest, yearly := strings.CutPrefix(day, "*-"); yearly {
		d, err := time.Parse(dayForm, "2024-"+rest) // a leap year
		if err != nil {
			return bad()
		}
		x.yearly[[2]int{int(d.Month()), d.Day()}] = true
		return nil
	}
	first, last, isRange := strings.Cut(day, "/")
	from, err := time.Parse(dayForm, first)
	if err != nil {
		return bad()
	}
	if !isRange {
		x.days[from] = true
		return nil
	}
	to, err := time.Parse(dayForm, last)
	if err != nil {
		return bad()
	}
	if to.Before(from) {
		return fmt.Errorf("the range %q ends before it begins", day)
	}
	x.ranges = append(x.ranges, [2]time.Time{from, to})
	return nil
}

// has tells whether a day is left out.
func (x *exclusion) has(day time.Time) bool {
	switch {
	case x == nil:
		return false
	case x.week[day.Weekday()], x.days[day], x.yearly[[2]int{int(day.Month()), day.Day()}]:
		return true
	}
	return slices.ContainsFunc(x.ranges, func(r [2]time.Time) bool { return !day.Before(r[0]) && !day.After(r[1]) })
}

// excluded reads what the calendars of a schedule leave out. tx may be nil.
func (s *Schedules) excluded(ctx context.Context, tx store.Tx, ws string, calendars []string) (*exclusion, error) {
	if len(calendars) == 0 {
		return nil, nil
	}
	list, err := s.cfg.DB.CalendarList(ctx, tx, ws, calendars)
	if err != nil {
		return nil, failed("calendar.get", "", err)
	}
	for _, path := range calendars {
		if !slices.ContainsFunc(list, func(c engine.Calendar) bool { return c.Path == path }) {
			return nil, &engine.Error{Code: engine.Invalid, Op: "calendar.get", Path: path, Msg: "there is no such calendar in workspace " + ws}
		}
	}
	x, err := exclude(list)
	if err != nil {
		return nil, engine.Errorf(engine.Invalid, "calendar.get", "%v", err)
	}
	return x, nil
}

const maxDays = 10_000 // of a calendar

// PutCalendar stores a calendar, new or not. It counts for the ticks that are not in the ledger yet.
func (s *Schedules) PutCalendar(ctx context.Context, p engine.Principal, c engine.Calendar) error {
	const op = "calendar.put"
	if err := engine.CheckPath(op, c.Path); err != nil {
		return err
	}
	if err := s.cfg.Gate.Can(p, "write", c.Workspace, c.Path); err != nil {
		return err
	}
	if err := checkText(op, append([]string{c.Summary}, append(c.Days, c.Weekdays...)...)...); err != nil {
		return err
	}
	if len(c.Days) > maxDays {
		return engine.Errorf(engine.Invalid, op, "a calendar has at most %d days and ranges", maxDays)
	}
	if _, err := exclude([]engine.Calendar{c}); err != nil {
		return engine.Errorf(engine.Invalid, op, "%v", err)
	}
	c.EditedBy = p.Username
	err := s.cfg.DB.InTx(ctx, func(tx store.Tx) error { return s.cfg.DB.CalendarPut(ctx, tx, &c) })
	if err != nil {
		return failed(op, c.Path, err)
	}
	return nil
}

// GetCalendar returns a calendar.
func (s *Schedules) GetCalendar(ctx context.Context, p engine.Principal, ws, path string) (*engine.Calendar, error) {
	if err := s.cfg.Gate.Can(p, "read", ws, path); err != nil {
		return nil, err
	}
	if checkText("calendar.get", path) != nil {
		return nil, noCalendar("calendar.get", ws, path)
	}
	list, err := s.cfg.DB.CalendarList(ctx, nil, ws, []string{path})
	if err != nil {
		return nil, failed("calendar.get", path, err)
	}
	if len(list) == 0 {
		return nil, noCalendar("calendar.get", ws, path)
	}
	return &list[0], nil
}

// ListCalendars returns all calendars of a workspace by path.
func (s *Schedules) ListCalendars(ctx context.Context, p engine.Principal, ws string) ([]engine.Calendar, error) {
	if err := s.cfg.Gate.Can(p, "read", ws, ""); err != nil {
		return nil, err
	}
	list, err := s.cfg.DB.CalendarList(ctx, nil, ws, nil)
	if err != nil {
		return nil, failed("calendar.list", "", err)
	}
	return list, nil
}

// DeleteCalendar removes a calendar. Conflict: a schedule names it.
func (s *Schedules) DeleteCalendar(ctx context.Context, p engine.Principal, ws, path string) error {
	const op = "calendar.delete"
	if err := s.cfg.Gate.Can(p, "write", ws, path); err != nil {
		return err
	}
	if checkText(op, path) != nil {
		return noCalendar(op, ws, path)
	}
	user, done, err := s.cfg.DB.CalendarDelete(ctx, ws, path)
	switch {
	case err != nil:
		return failed(op, path, err)
	case user != "":
		return &engine.Error{Code: engine.Conflict, Op: op, Path: path, Msg: "the schedule " + user + " names it", Hint: "take it out of its calendars first"}
	case !done:
		return noCalendar(op, ws, path)
	}
	return nil
}

func noCalendar(op, ws, path string) error {
	return &engine.Error{Code: engine.NotFound, Op: op, Path: path, Msg: "there is no such calendar in workspace " + ws}
}
