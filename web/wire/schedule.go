package wire

import (
	"encoding/json"
	"time"

	"github.com/google/uuid"
)

// Schedule is a schedule as clients read it, with Windmill's field names and a few of our own at the end. What a client sent
// comes back as it was, spelling included, and so do further fields; what was not sent is absent.
type Schedule struct {
	WorkspaceID string          `json:"workspace_id"`
	Path        string          `json:"path"`
	Summary     string          `json:"summary,omitempty"`
	Description string          `json:"description,omitempty"`
	Cron        string          `json:"schedule" doc:"cron expression: six fields with seconds first, five fields, or @daily and the like"`
	CronVersion string          `json:"cron_version,omitempty"`
	Timezone    string          `json:"timezone" doc:"IANA name"`
	Enabled     bool            `json:"enabled"`
	PausedUntil *time.Time      `json:"paused_until,omitempty" doc:"no tick is fired before"`
	ScriptPath  string          `json:"script_path"`
	IsFlow      bool            `json:"is_flow"`
	Args        json.RawMessage `json:"args,omitempty"`
	Tag         string          `json:"tag,omitempty"`

	OnFailure          string          `json:"on_failure,omitempty" doc:"script/PATH or flow/PATH"`
	OnFailureTimes     float64         `json:"on_failure_times,omitempty" doc:"failures in a row; absent: 1"`
	OnFailureExact     bool            `json:"on_failure_exact,omitempty" doc:"only at exactly so many"`
	OnFailureExtraArgs json.RawMessage `json:"on_failure_extra_args,omitempty"`

	OnRecovery          string          `json:"on_recovery,omitempty" doc:"script/PATH or flow/PATH"`
	OnRecoveryTimes     float64         `json:"on_recovery_times,omitempty" doc:"successes in a row; absent: 1"`
	OnRecoveryExtraArgs json.RawMessage `json:"on_recovery_extra_args,omitempty"`

	OnSuccess          string          `json:"on_success,omitempty" doc:"script/PATH or flow/PATH"`
	OnSuccessExtraArgs json.RawMessage `json:"on_success_extra_args,omitempty"`

	NoFlowOverlap bool     `json:"no_flow_overlap,omitempty" doc:"the same as overlap skip"`
	Missed        string   `json:"missed,omitempty" doc:"ticks that nobody could fire: skip, coalesce or catch_up; absent: coalesce"`
	Overlap       string   `json:"overlap,omitempty" doc:"a tick while the run of an earlier one goes on: allow, skip, queue or coalesce; absent: allow"`
	CatchUpLimit  int      `json:"catch_up_limit,omitempty" doc:"so many missed ticks are run at most; absent: 100"`
	GraceS        float64  `json:"grace_s,omitempty" doc:"seconds that a tick may be late and still count as on time; absent: 1"`
	Calendars     []string `json:"calendars,omitempty" doc:"paths of calendars whose days have no ticks"`

	NextAt         *time.Time `json:"next_at,omitempty" doc:"the next tick"`
	Error          string     `json:"error,omitempty" doc:"why the server switched it off"`
	EditedBy       string     `json:"edited_by"`
	EditedAt       time.Time  `json:"edited_at"`
	Email          string     `json:"email"`
	PermissionedAs string     `json:"permissioned_as"`
	ExtraPerms     struct{}   `json:"extra_perms"`
}

// NewSchedule is the body of a create or an update. An update leaves script_path, is_flow, enabled and paused_until as they are
// when they are absent, and replaces all else.
type NewSchedule struct {
	Path        string          `json:"path,omitempty" doc:"of a create"`
	Summary     string          `json:"summary,omitempty"`
	Description string          `json:"description,omitempty"`
	Cron        string          `json:"schedule" doc:"cron expression: six fields with seconds first, five fields, or @daily and the like"`
	CronVersion string          `json:"cron_version,omitempty"`
	Timezone    string          `json:"timezone,omitempty" doc:"IANA name; absent: UTC"`
	Enabled     *bool           `json:"enabled,omitempty" doc:"absent: false"`
	PausedUntil *time.Time      `json:"paused_until,omitempty" doc:"no tick is fired before"`
	ScriptPath  string          `json:"script_path,omitempty"`
	IsFlow      *bool           `json:"is_flow,omitempty"`
	Args        json.RawMessage `json:"args,omitempty"`
	Tag         string          `json:"tag,omitempty"`

	OnFailure           string          `json:"on_failure,omitempty" doc:"script/PATH or flow/PATH"`
	OnFailureTimes      float64         `json:"on_failure_times,omitempty" doc:"failures in a row; absent: 1"`
	OnFailureExact      bool            `json:"on_failure_exact,omitempty" doc:"only at exactly so many"`
	OnFailureExtraArgs  json.RawMessage `json:"on_failure_extra_args,omitempty"`
	OnRecovery          string          `json:"on_recovery,omitempty" doc:"script/PATH or flow/PATH"`
	OnRecoveryTimes     float64         `json:"on_recovery_times,omitempty" doc:"successes in a row; absent: 1"`
	OnRecoveryExtraArgs json.RawMessage `json:"on_recovery_extra_args,omitempty"`
	OnSuccess           string          `json:"on_success,omitempty" doc:"script/PATH or flow/PATH"`
	OnSuccessExtraArgs  json.RawMessage `json:"on_success_extra_args,omitempty"`

	NoFlowOverlap bool     `json:"no_flow_overlap,omitempty" doc:"the same as overlap skip"`
	Missed        string   `json:"missed,omitempty" doc:"ticks that nobody could fire: skip, coalesce or catch_up; absent: coalesce"`
	Overlap       string   `json:"overlap,omitempty" doc:"a tick while the run of an earlier one goes on: allow, skip, queue or coalesce; absent: allow"`
	CatchUpLimit  int      `json:"catch_up_limit,omitempty" doc:"so many missed ticks are run at most; absent: 100"`
	GraceS        float64  `json:"grace_s,omitempty" doc:"seconds that a tick may be late and still count as on time; absent: 1"`
	Calendars     []string `json:"calendars,omitempty" doc:"paths of calendars whose days have no ticks"`

	PermissionedAs         string `json:"permissioned_as,omitempty" doc:"with preserve_permissioned_as: who its runs run as"`
	PreservePermissionedAs bool   `json:"preserve_permissioned_as,omitempty" doc:"do not become the owner of its runs"`
}

// ScheduleRun is a completed run of a schedule.
type ScheduleRun struct {
	ID         uuid.UUID `json:"id"`
	Success    bool      `json:"success"`
	DurationMS float64   `json:"duration_ms"`
}

// ScheduleWithJobs is a schedule with its latest completed runs, newest first.
type ScheduleWithJobs struct {
	Schedule
	Jobs []ScheduleRun `json:"jobs"`
}

// SetEnabled is the body of setenabled.
type SetEnabled struct {
	Enabled *bool `json:"enabled"`
}

// SetPause is the body of a pause.
type SetPause struct {
	Until *time.Time `json:"until" doc:"null ends the pause"`
}

// Backfill is the body of a backfill: the past ticks from one moment to another.
type Backfill struct {
	From time.Time  `json:"from"`
	To   *time.Time `json:"to,omitempty" doc:"absent: now"`
}

// Backfilled is how a backfill is answered.
type Backfilled struct {
	Ticks int `json:"ticks" doc:"so many are due now"`
}

// SchedulePreview is what the next ticks are computed from: the fields of a schedule that decide them.
type SchedulePreview struct {
	Cron        string   `json:"schedule"`
	Timezone    string   `json:"timezone,omitempty" doc:"IANA name; absent: UTC"`
	CronVersion string   `json:"cron_version,omitempty"`
	Calendars   []string `json:"calendars,omitempty" doc:"only inside a workspace"`
	N           int      `json:"n,omitempty" doc:"how many, 1 to 1000; absent: 10"`
}

// Tick is one moment that a schedule names, and what became of it.
type Tick struct {
	Schedule string     `json:"schedule"`
	At       time.Time  `json:"at"`
	State    string     `json:"state" doc:"due, fired, done, missed, skipped, coalesced, excluded or failed"`
	Count    int        `json:"count,omitempty" doc:"ticks that this line stands for; absent: 1"`
	FiredAt  *time.Time `json:"fired_at,omitempty"`
	DriftMS  *float64   `json:"drift_ms,omitempty" doc:"how late it was fired"`
	JobID    *uuid.UUID `json:"job_id,omitempty" doc:"its latest attempt; those before are its parents"`
	Attempts int        `json:"attempts,omitempty" doc:"jobs that it has had; absent: 1, or none without job_id"`
	Success  *bool      `json:"success,omitempty" doc:"of its completed job"`
	Handler  *uuid.UUID `json:"handler_job_id,omitempty" doc:"the run of the failure or success handler"`
	Recovery *uuid.UUID `json:"recovery_job_id,omitempty" doc:"the run of the recovery handler"`
	Guard    *uuid.UUID `json:"dynamic_skip_job_id,omitempty" doc:"the run of dynamic_skip, which decided whether it runs"`
	Error    string     `json:"error,omitempty"`
}

// Calendar names days without ticks.
type Calendar struct {
	WorkspaceID string    `json:"workspace_id"`
	Path        string    `json:"path"`
	Summary     string    `json:"summary,omitempty"`
	Days        []string  `json:"days" doc:"2026-12-25, 2026-12-24/2027-01-01 (both ends included) or *-12-25 (every year)"`
	Weekdays    []string  `json:"weekdays" doc:"sat, sun: every week"`
	EditedBy    string    `json:"edited_by"`
	EditedAt    time.Time `json:"edited_at"`
}

// NewCalendar is the body of a put.
type NewCalendar struct {
	Path     string   `json:"path"`
	Summary  string   `json:"summary,omitempty"`
	Days     []string `json:"days,omitempty" doc:"2026-12-25, 2026-12-24/2027-01-01 (both ends included) or *-12-25 (every year)"`
	Weekdays []string `json:"weekdays,omitempty" doc:"sat, sun: every week"`
}
