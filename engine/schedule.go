package engine

import (
	"encoding/json"
	"time"

	"github.com/google/uuid"
)

// MissedPolicy says what happens to ticks that passed while nobody could fire them: the daemon was down, the clock jumped, or
// the schedule was behind.
type MissedPolicy string

// The policies for missed ticks.
const (
	MissedSkip     MissedPolicy = "skip"     // they are noted as missed, and never run
	MissedCoalesce MissedPolicy = "coalesce" // one run stands for all of them
	MissedCatchUp  MissedPolicy = "catch_up" // each is run, oldest first, up to Schedule.CatchUpLimit
)

// OverlapPolicy says what happens when a tick comes while the run of an earlier one goes on.
type OverlapPolicy string

// The policies for overlapping ticks.
const (
	OverlapAllow    OverlapPolicy = "allow"    // both run
	OverlapSkip     OverlapPolicy = "skip"     // the tick is noted as skipped
	OverlapQueue    OverlapPolicy = "queue"    // the tick runs when the earlier one is done, each in turn
	OverlapCoalesce OverlapPolicy = "coalesce" // however many ticks came meanwhile, one run follows
)

// Schedule runs something at the times a cron expression names, in a time zone.
type Schedule struct {
	Workspace   string
	Path        string
	Summary     string
	Description string
	Cron        string // five fields, or six with seconds first; or @daily and the like
	CronVersion string // kept as sent: v1, v2
	Timezone    string // IANA name; "" is UTC
	Enabled     bool
	PausedUntil *time.Time // no tick before this moment
	ScriptPath  string
	IsFlow      bool
	Args        json.RawMessage
	Tag         string
	Missed      MissedPolicy  // "": coalesce
	Overlap     OverlapPolicy // "": allow; Windmill's no_flow_overlap is skip
	// CatchUpLimit is how many missed ticks are run at most, the youngest; older ones are noted as missed. 0: 100.
	CatchUpLimit int
	// Grace is how late a tick may be fired and still count as on time. 0: one second.
	Grace time.Duration
	// Calendars are paths of calendars whose days have no ticks.
	Calendars []string

	OnFailure, OnRecovery, OnSuccess *Handler
	// Extra keeps the further fields of Windmill's record verbatim, as sent.
	Extra map[string]json.RawMessage

	PermissionedAs string
	Email          string
	EditedBy       string
	EditedAt       time.Time
	NextAt         *time.Time // the next tick; nil: none, or not enabled
	Error          string     // why the schedule was switched off by the server
}

// Handler is what runs after runs of a schedule ended in a certain way.
type Handler struct {
	Path  string // "script/f/ops/alert" or "flow/f/ops/alert", as Windmill writes it
	Times int    // after so many ends of the kind in a row; 0 is 1
	Exact bool   // only when it is exactly so many; otherwise every one from so many on
	Extra json.RawMessage
}

// TickState is what became of a tick.
type TickState string

// The states of a tick.
const (
	TickDue       TickState = "due"       // to be fired; a tick that waits for an earlier run or for its guard stays here
	TickFired     TickState = "fired"     // its job is in the queue or running, or another attempt is
	TickDone      TickState = "done"      // its job is completed
	TickMissed    TickState = "missed"    // passed while nobody could fire it
	TickSkipped   TickState = "skipped"   // an earlier run was still going on, or its guard said so
	TickCoalesced TickState = "coalesced" // another tick's run stands for it
	TickExcluded  TickState = "excluded"  // on a day of a calendar
	TickFailed    TickState = "failed"    // its job could not be pushed: Tick.Error says why
)

// Tick is one line of a schedule's ledger: one moment its cron expression names, and what became of it.
type Tick struct {
	Schedule string // path
	At       time.Time
	State    TickState
	Count    int // ticks that this line stands for: 1, all of an excluded day from At on, or those of a long gap up to At
	FiredAt  *time.Time
	Drift    time.Duration // FiredAt - At
	JobID    *uuid.UUID    // its latest attempt
	Attempts int           // jobs that it has had; 0: none
	Success  *bool         // of a completed job
	Handler  *uuid.UUID    // the run of the failure or success handler that followed
	Recovery *uuid.UUID    // the run of the recovery handler that followed
	Guard    *uuid.UUID    // the run of dynamic_skip, which decided whether it runs
	Error    string
}

// Calendar names days without ticks, such as holidays.
type Calendar struct {
	Workspace string
	Path      string
	Summary   string
	Days      []string // "2026-12-25", "2026-12-24/2027-01-01" (a range with both ends) or "*-12-25" (every year)
	Weekdays  []string // "sat", "sun": excluded every week
	EditedBy  string
	EditedAt  time.Time
}

// ScheduleFilter selects schedules for a list. Zero fields do not filter.
type ScheduleFilter struct {
	PathExact  string
	PathStart  string
	ScriptPath string
	IsFlow     *bool
	Enabled    *bool
	Page       int // from 1
	PerPage    int // 1..1000; zero: 30
}

// TickFilter selects lines of a ledger, newest first. Zero fields do not filter.
type TickFilter struct {
	Schedule string
	States   []TickState
	After    time.Time
	Before   time.Time
	Page     int // from 1
	PerPage  int // 1..1000; zero: 30
}
