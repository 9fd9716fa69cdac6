package api

import (
	"encoding/json"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
)

// Job is a job as clients read it, with Windmill's field names. Type is "QueuedJob" until the job is completed, then
// "CompletedJob"; the fields that only one of the two has are absent in the other.
type Job struct {
	ID             uuid.UUID        `json:"id"`
	Type           string           `json:"type" doc:"QueuedJob or CompletedJob"`
	Status         engine.JobState  `json:"status" doc:"queued, running, success, failure or canceled"`
	WorkspaceID    string           `json:"workspace_id"`
	JobKind        engine.JobKind   `json:"job_kind"`
	ScriptPath     *string          `json:"script_path"`
	ScriptHash     string           `json:"script_hash,omitempty"`
	Language       string           `json:"language,omitempty"`
	RawCode        string           `json:"raw_code,omitempty" doc:"previews only"`
	Args           json.RawMessage  `json:"args,omitempty"`
	Tag            string           `json:"tag"`
	Priority       int16            `json:"priority,omitempty"`
	ParentJob      *uuid.UUID       `json:"parent_job,omitempty"`
	CreatedBy      string           `json:"created_by"`
	Email          string           `json:"email"`
	PermissionedAs string           `json:"permissioned_as"`
	CreatedAt      time.Time        `json:"created_at"`
	ScheduledFor   time.Time        `json:"scheduled_for"`
	StartedAt      *time.Time       `json:"started_at,omitempty"`
	CompletedAt    *time.Time       `json:"completed_at,omitempty"`
	Running        *bool            `json:"running,omitempty"`
	Success        *bool            `json:"success,omitempty"`
	DurationMS     *float64         `json:"duration_ms,omitempty"`
	Canceled       bool             `json:"canceled"`
	CanceledBy     string           `json:"canceled_by,omitempty"`
	CanceledReason string           `json:"canceled_reason,omitempty"`
	Result         *json.RawMessage `json:"result,omitempty"`
	Logs           string           `json:"logs,omitempty"`
	MemPeak        int64            `json:"mem_peak,omitempty" doc:"KiB"`
	CPUMS          float64          `json:"cpu_ms,omitempty" doc:"processor time used"`
	Timeout        int64            `json:"timeout,omitempty" doc:"seconds"`
	Worker         string           `json:"worker,omitempty"`
	Attempt        int32            `json:"attempt,omitempty"`
	Trigger        string           `json:"trigger_kind,omitempty"`
	TriggerPath    string           `json:"trigger,omitempty"`
	VisibleToOwner bool             `json:"visible_to_owner"`
	IsFlowStep     bool             `json:"is_flow_step"`
	IsSkipped      bool             `json:"is_skipped"`
	Deleted        bool             `json:"deleted"`
}

// viewJob makes the full view; listJob leaves out what can be large.
func viewJob(v *engine.JobView) (*Job, error) {
	j := listJob(v)
	j.Args, j.RawCode, j.Logs = v.Args, v.Source, v.Logs
	if len(j.Args) == 0 {
		j.Args = json.RawMessage("{}")
	}
	if done(v.State) {
		r, err := resultOf(v)
		if err != nil {
			return nil, err
		}
		j.Result = &r
	}
	return j, nil
}

func listJob(v *engine.JobView) *Job {
	j := &Job{
		ID: v.ID, Type: "QueuedJob", Status: v.State, WorkspaceID: v.Workspace, JobKind: v.Kind, Language: v.Language,
		Tag: v.Tag, Priority: v.Priority, ParentJob: v.Parent, CreatedBy: v.CreatedBy, Email: v.Email,
		PermissionedAs: v.PermissionedAs, CreatedAt: v.CreatedAt, ScheduledFor: v.ScheduledFor, StartedAt: v.StartedAt,
		Canceled: v.State == engine.StateCanceled, CanceledBy: v.CanceledBy, CanceledReason: v.Reason,
		MemPeak: v.MemoryPeak / 1024, CPUMS: ms(v.CPU), Timeout: int64(v.Timeout / time.Second),
		Worker: v.WorkerName, Attempt: v.Attempt, Trigger: v.Trigger, TriggerPath: v.TriggerPath, VisibleToOwner: true,
	}
	if v.Path != "" {
		j.ScriptPath = &v.Path
	}
	if v.Hash != 0 {
		j.ScriptHash = v.Hash.String()
	}
	if j.ScheduledFor.IsZero() {
		j.ScheduledFor = v.CreatedAt
	}
	if !done(v.State) {
		running := v.State == engine.StateRunning
		j.Running = &running
		return j
	}
	success := v.State == engine.StateSuccess
	j.Type, j.Success, j.CompletedAt = "CompletedJob", &success, v.FinishedAt
	var took float64
	if v.StartedAt != nil && v.FinishedAt != nil {
		took = ms(v.FinishedAt.Sub(*v.StartedAt))
	}
	j.DurationMS = &took
	return j
}

// ms counts milliseconds with three decimals: short jobs take fractions.
func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
