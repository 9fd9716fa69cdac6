package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/web/wire"
)

// Schedules are asked for and sent as raw JSON where fields that this client does not know must survive.

// CreateSchedule makes a schedule; s is a NewSchedule or its JSON.
func (c *Client) CreateSchedule(ctx context.Context, s any) error {
	_, err := c.post(ctx, c.here("/schedules/create"), nil, s)
	return err
}

// UpdateSchedule replaces the schedule at a path; s is a NewSchedule or its JSON.
func (c *Client) UpdateSchedule(ctx context.Context, path string, s any) error {
	_, err := c.post(ctx, c.here("/schedules/update/"+segments(path)), nil, s)
	return err
}

// Schedule returns a schedule.
func (c *Client) Schedule(ctx context.Context, path string) (*Schedule, error) {
	var s wire.Schedule
	if err := c.get(ctx, c.here("/schedules/get/"+segments(path)), nil, &s); err != nil {
		return nil, err
	}
	return &s, nil
}

// RawSchedule returns a schedule with every field that it has.
func (c *Client) RawSchedule(ctx context.Context, path string) (map[string]json.RawMessage, error) {
	var fields map[string]json.RawMessage
	err := c.get(ctx, c.here("/schedules/get/"+segments(path)), nil, &fields)
	return fields, err
}

// Schedules lists schedules with their latest runs; filter holds query parameters of the list and may be nil.
func (c *Client) Schedules(ctx context.Context, filter url.Values) ([]wire.ScheduleWithJobs, error) {
	var list []wire.ScheduleWithJobs
	err := c.get(ctx, c.here("/schedules/list_with_jobs"), filter, &list)
	return list, err
}

// ScheduleExists tells whether there is a schedule at a path.
func (c *Client) ScheduleExists(ctx context.Context, path string) (exists bool, err error) {
	err = c.get(ctx, c.here("/schedules/exists/"+segments(path)), nil, &exists)
	return exists, err
}

// DeleteSchedule deletes a schedule and its ledger.
func (c *Client) DeleteSchedule(ctx context.Context, path string) error {
	_, err := c.text(ctx, call{method: http.MethodDelete, path: c.here("/schedules/delete/" + segments(path))})
	return err
}

// EnableSchedule switches a schedule on or off.
func (c *Client) EnableSchedule(ctx context.Context, path string, on bool) error {
	_, err := c.post(ctx, c.here("/schedules/setenabled/"+segments(path)), nil, wire.SetEnabled{Enabled: &on})
	return err
}

// PauseSchedule keeps a schedule from firing until a moment; nil ends the pause.
func (c *Client) PauseSchedule(ctx context.Context, path string, until *time.Time) error {
	_, err := c.post(ctx, c.here("/schedules/pause/"+segments(path)), nil, wire.SetPause{Until: until})
	return err
}

// RunSchedule runs what a schedule runs now, beside its ticks.
func (c *Client) RunSchedule(ctx context.Context, path string) (uuid.UUID, error) {
	s, err := c.post(ctx, c.here("/schedules/run/"+segments(path)), nil, nil)
	if err != nil {
		return uuid.Nil, err
	}
	id, err := uuid.Parse(s)
	if err != nil {
		return uuid.Nil, fmt.Errorf("the daemon's answer %q is no job id: %w", s, err)
	}
	return id, nil
}

// BackfillSchedule makes the past ticks of a range due, and returns how many there were. A zero to is now.
func (c *Client) BackfillSchedule(ctx context.Context, path string, from, to time.Time) (int, error) {
	b := wire.Backfill{From: from}
	if !to.IsZero() {
		b.To = &to
	}
	s, err := c.post(ctx, c.here("/schedules/backfill/"+segments(path)), nil, b)
	if err != nil {
		return 0, err
	}
	var done wire.Backfilled
	if err := json.Unmarshal([]byte(s), &done); err != nil {
		return 0, fmt.Errorf("decode answer of a backfill: %w", err)
	}
	return done.Ticks, nil
}

// Ticks lists the ledger of a schedule, newest first; filter holds query parameters and may be nil.
func (c *Client) Ticks(ctx context.Context, path string, filter url.Values) ([]wire.Tick, error) {
	var list []wire.Tick
	err := c.get(ctx, c.here("/schedules/ticks/"+segments(path)), filter, &list)
	return list, err
}

// PreviewSchedule returns the next ticks of a schedule that need not exist.
func (c *Client) PreviewSchedule(ctx context.Context, p wire.SchedulePreview) ([]time.Time, error) {
	s, err := c.post(ctx, c.here("/schedules/preview"), nil, p)
	if err != nil {
		return nil, err
	}
	var ticks []time.Time
	if err := json.Unmarshal([]byte(s), &ticks); err != nil {
		return nil, fmt.Errorf("decode answer of a preview: %w", err)
	}
	return ticks, nil
}

// PutCalendar makes a calendar or replaces the one at its path.
func (c *Client) PutCalendar(ctx context.Context, n wire.NewCalendar) error {
	_, err := c.post(ctx, c.here("/calendars/put"), nil, n)
	return err
}

// Calendar returns a calendar.
func (c *Client) Calendar(ctx context.Context, path string) (*wire.Calendar, error) {
	var v wire.Calendar
	if err := c.get(ctx, c.here("/calendars/get/"+segments(path)), nil, &v); err != nil {
		return nil, err
	}
	return &v, nil
}

// Calendars lists all calendars.
func (c *Client) Calendars(ctx context.Context) ([]wire.Calendar, error) {
	var list []wire.Calendar
	err := c.get(ctx, c.here("/calendars/list"), nil, &list)
	return list, err
}

// DeleteCalendar deletes a calendar.
func (c *Client) DeleteCalendar(ctx context.Context, path string) error {
	_, err := c.text(ctx, call{method: http.MethodDelete, path: c.here("/calendars/delete/" + segments(path))})
	return err
}
