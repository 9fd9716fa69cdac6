package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/millrace/millrace/engine"
)

// ScheduleChannel carries a signal whenever schedules changed, so that who sleeps until the next tick looks again.
const ScheduleChannel = "schedule"

// ScheduleInsert stores a new schedule; false: its path is taken.
func (db *DB) ScheduleInsert(ctx context.Context, tx Tx, s *engine.Schedule) (bool, error) {
	args, err := scheduleArgs(s)
	if err != nil {
		return false, err
	}
	tag, err := tx.Exec(ctx, q("ScheduleInsert"), args...)
	if err != nil {
		return false, fmt.Errorf("store schedule %s: %w", s.Path, err)
	}
	if tag.RowsAffected() == 0 {
		return false, nil
	}
	return true, db.ScheduleNotify(ctx, tx)
}

// ScheduleUpdate replaces a schedule that ScheduleLock has locked.
func (db *DB) ScheduleUpdate(ctx context.Context, tx Tx, s *engine.Schedule) error {
	args, err := scheduleArgs(s)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, q("ScheduleUpdate"), args...); err != nil {
		return fmt.Errorf("store schedule %s: %w", s.Path, err)
	}
	return db.ScheduleNotify(ctx, tx)
}

// ScheduleNotify wakes whoever sleeps until the next tick when tx commits.
func (db *DB) ScheduleNotify(ctx context.Context, tx Tx) error {
	if _, err := tx.Exec(ctx, q("ScheduleNotify")); err != nil {
		return fmt.Errorf("announce schedules: %w", err)
	}
	return nil
}

// ScheduleGet returns a schedule; see IsNotFound.
func (db *DB) ScheduleGet(ctx context.Context, ws, path string) (*engine.Schedule, error) {
	s, err := scanSchedule(db.pool.QueryRow(ctx, q("ScheduleGet"), ws, path))
	if err != nil {
		return nil, fmt.Errorf("read schedule %s: %w", path, err)
	}
	return s, nil
}

// ScheduleLock returns a schedule and keeps everybody else from it until tx ends; see IsNotFound.
func (db *DB) ScheduleLock(ctx context.Context, tx Tx, ws, path string) (*engine.Schedule, error) {
	s, err := scanSchedule(tx.QueryRow(ctx, q("ScheduleLock"), ws, path))
	if err != nil {
		return nil, fmt.Errorf("lock schedule %s: %w", path, err)
	}
	return s, nil
}

// ScheduleList returns a page of schedules by path.
func (db *DB) ScheduleList(ctx context.Context, ws string, f engine.ScheduleFilter) ([]engine.Schedule, error) {
	limit, offset := page(f.Page, f.PerPage)
	rows, err := db.pool.Query(ctx, q("ScheduleList"), ws, f.PathExact, f.PathStart, f.ScriptPath, f.IsFlow, f.Enabled, limit, offset)
	if err != nil {
		return nil, fmt.Errorf("list schedules: %w", err)
	}
	return collectSchedules(rows)
}

// page turns a page from 1 with 1..1000 lines, zero being 30, into limit and offset.
func page(number, per int) (limit, offset int) {
	if per <= 0 {
		per = 30
	}
	per = min(per, 1000)
	return per, max(number-1, 0) * per
}

// ScheduleDelete removes a schedule with its ledger; false: there is none.
func (db *DB) ScheduleDelete(ctx context.Context, ws, path string) (bool, error) {
	tag, err := db.pool.Exec(ctx, q("ScheduleDelete"), ws, path)
	if err != nil {
		return false, fmt.Errorf("delete schedule %s: %w", path, err)
	}
	return tag.RowsAffected() > 0, nil
}

// ScheduleDue locks the schedules that have ticks up to now and that nobody else has locked, at most limit.
func (db *DB) ScheduleDue(ctx context.Context, tx Tx, now time.Time, limit int) ([]engine.Schedule, error) {
	rows, err := tx.Query(ctx, q("ScheduleDue"), now, limit)
	if err != nil {
		return nil, fmt.Errorf("find due schedules: %w", err)
	}
	return collectSchedules(rows)
}

// Advance is where a schedule goes on: at Next, nil being nowhere; with an error it is switched off.
type Advance struct {
	Workspace, Path string
	Next            *time.Time
	Error           string
}

// ScheduleAdvance moves schedules on.
func (db *DB) ScheduleAdvance(ctx context.Context, tx Tx, list []Advance) error {
	var ws, paths, errs []string
	var next []*time.Time
	for _, a := range list {
		ws, paths, next, errs = append(ws, a.Workspace), append(paths, a.Path), append(next, a.Next), append(errs, a.Error)
	}
	if _, err := tx.Exec(ctx, q("ScheduleAdvance"), ws, paths, next, errs); err != nil {
		return fmt.Errorf("advance schedules: %w", err)
	}
	return nil
}

// ScheduleDisable switches a schedule off and says why.
func (db *DB) ScheduleDisable(ctx context.Context, tx Tx, ws, path, why string) error {
	if _, err := tx.Exec(ctx, q("ScheduleDisable"), ws, path, why); err != nil {
		return fmt.Errorf("switch off schedule %s: %w", path, err)
	}
	return nil
}

// Pulse is what the scheduler of a process needs to know to sleep.
type Pulse struct {
	Next    *time.Time // the earliest tick; nil: there is none
	Due     bool       // ticks are due, waiting or on their way
	Fired   bool       // ticks have jobs that may be done
	Pending bool       // guards, further attempts or handlers are to be pushed
	Guarded bool       // ticks wait for the answer of their guard
}

// SchedulePulse looks what there is to do, cheaply.
func (db *DB) SchedulePulse(ctx context.Context) (p Pulse, err error) {
	if err := db.pool.QueryRow(ctx, q("SchedulePulse")).Scan(&p.Next, &p.Due, &p.Fired, &p.Pending, &p.Guarded); err != nil {
		return p, fmt.Errorf("look at schedules: %w", err)
	}
	return p, nil
}

// handlers is how the handlers of a schedule are stored.
type handlers struct {
	Failure  *engine.Handler `json:"failure,omitempty"`
	Recovery *engine.Handler `json:"recovery,omitempty"`
	Success  *engine.Handler `json:"success,omitempty"`
}

// scheduleArgs are the parameters of ScheduleInsert and ScheduleUpdate.
func scheduleArgs(s *engine.Schedule) ([]any, error) {
	extra, err := encodeExtra(s.Extra)
	if err != nil {
		return nil, fmt.Errorf("store schedule %s: %w", s.Path, err)
	}
	h, err := json.Marshal(handlers{s.OnFailure, s.OnRecovery, s.OnSuccess})
	if err != nil {
		return nil, fmt.Errorf("store schedule %s: handlers: %w", s.Path, err)
	}
	calendars := s.Calendars
	if calendars == nil {
		calendars = []string{}
	}
	return []any{s.Workspace, s.Path, s.Summary, s.Description, s.Cron, s.CronVersion, s.Timezone, s.Enabled, s.PausedUntil, s.ScriptPath,
		s.IsFlow, []byte(s.Args), s.Tag, string(s.Missed), string(s.Overlap), s.CatchUpLimit, s.Grace.Milliseconds(), calendars, h, extra,
		s.PermissionedAs, s.Email, s.EditedBy, s.EditedAt, s.NextAt, s.Error}, nil
}

func scanSchedule(row pgx.Row) (*engine.Schedule, error) {
	var (
		s              engine.Schedule
		args, h, extra []byte
		grace          int64
		missed, lap    string
	)
	err := row.Scan(&s.Workspace, &s.Path, &s.Summary, &s.Description, &s.Cron, &s.CronVersion, &s.Timezone, &s.Enabled, &s.PausedUntil,
		&s.ScriptPath, &s.IsFlow, &args, &s.Tag, &missed, &lap, &s.CatchUpLimit, &grace, &s.Calendars, &h, &extra, &s.PermissionedAs,
		&s.Email, &s.EditedBy, &s.EditedAt, &s.NextAt, &s.Error)
	if err != nil {
		return nil, err
	}
	s.Missed, s.Overlap, s.Grace = engine.MissedPolicy(missed), engine.OverlapPolicy(lap), time.Duration(grace)*time.Millisecond
	if len(args) > 0 {
		s.Args = args
	}
	if len(s.Calendars) == 0 {
		s.Calendars = nil
	}
	var hs handlers
	if err := json.Unmarshal(h, &hs); err != nil {
		return nil, fmt.Errorf("handlers: %w", err)
	}
	for _, h := range []*engine.Handler{hs.Failure, hs.Recovery, hs.Success} {
		if h != nil && string(h.Extra) == "null" {
			h.Extra = nil
		}
	}
	s.OnFailure, s.OnRecovery, s.OnSuccess = hs.Failure, hs.Recovery, hs.Success
	if len(extra) > 0 {
		if err := json.Unmarshal(extra, &s.Extra); err != nil {
			return nil, fmt.Errorf("extra fields: %w", err)
		}
	}
	return &s, nil
}

func collectSchedules(rows pgx.Rows) ([]engine.Schedule, error) {
	list, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (engine.Schedule, error) {
		s, err := scanSchedule(r)
		if err != nil {
			return engine.Schedule{}, err
		}
		return *s, nil
	})
	if err != nil {
		return nil, fmt.Errorf("list schedules: %w", err)
	}
	return list, nil
}
