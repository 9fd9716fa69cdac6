// Package wire holds the JSON shapes of the HTTP API, with Windmill's field names: what web/api writes, web/client reads and
// web/openapi describes. Only data; the doc tags become descriptions in the OpenAPI document.
package wire

import (
	"encoding/json"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
)

// Job is a job as clients read it, with Windmill's field names. Type is "QueuedJob" until the job is completed, then
// "CompletedJob"; the fields that only one of the two has are absent in the other.
type Job struct {
	ID             uuid.UUID          `json:"id"`
	Type           string             `json:"type" doc:"QueuedJob or CompletedJob"`
	Status         engine.JobState    `json:"status" doc:"queued, running, success, failure or canceled"`
	WorkspaceID    string             `json:"workspace_id"`
	JobKind        engine.JobKind     `json:"job_kind"`
	ScriptPath     *string            `json:"script_path"`
	ScriptHash     string             `json:"script_hash,omitempty"`
	Language       string             `json:"language,omitempty"`
	RawCode        string             `json:"raw_code,omitempty" doc:"previews only"`
	Args           json.RawMessage    `json:"args,omitempty"`
	Preprocessed   bool               `json:"preprocessed,omitempty" doc:"args are what its preprocessor has made of the request"`
	Tag            string             `json:"tag"`
	Priority       int16              `json:"priority,omitempty"`
	ParentJob      *uuid.UUID         `json:"parent_job,omitempty"`
	CreatedBy      string             `json:"created_by"`
	Email          string             `json:"email"`
	PermissionedAs string             `json:"permissioned_as"`
	CreatedAt      time.Time          `json:"created_at"`
	ScheduledFor   time.Time          `json:"scheduled_for"`
	StartedAt      *time.Time         `json:"started_at,omitempty"`
	CompletedAt    *time.Time         `json:"completed_at,omitempty"`
	Running        *bool              `json:"running,omitempty"`
	Success        *bool              `json:"success,omitempty"`
	DurationMS     *float64           `json:"duration_ms,omitempty"`
	Canceled       bool               `json:"canceled"`
	CanceledBy     string             `json:"canceled_by,omitempty"`
	CanceledReason string             `json:"canceled_reason,omitempty"`
	Result         *json.RawMessage   `json:"result,omitempty"`
	Logs           string             `json:"logs,omitempty"`
	MemPeak        int64              `json:"mem_peak,omitempty" doc:"KiB"`
	CPUMS          float64            `json:"cpu_ms,omitempty" doc:"processor time used"`
	Usage          *Usage             `json:"usage,omitempty" doc:"completed jobs that ran in a sandbox: what else they used"`
	Timeout        int64              `json:"timeout,omitempty" doc:"seconds"`
	Worker         string             `json:"worker,omitempty"`
	Attempt        int32              `json:"attempt,omitempty"`
	Trigger        string             `json:"trigger_kind,omitempty"`
	TriggerPath    string             `json:"trigger,omitempty"`
	VisibleToOwner bool               `json:"visible_to_owner"`
	IsFlowStep     bool               `json:"is_flow_step"`
	FlowStepID     string             `json:"flow_step_id,omitempty" doc:"the module of its flow that it runs, or is an item of"`
	FlowStatus     *engine.FlowStatus `json:"flow_status,omitempty" doc:"of flows: how far it is"`
	RawFlow        json.RawMessage    `json:"raw_flow,omitempty" doc:"of flows: what it runs"`
	IsSkipped      bool               `json:"is_skipped" doc:"of flows: it ended as skipped, by its skip_expr or a stop_after_if that says so"`
	Deleted        bool               `json:"deleted"`
}

// Maybe is how a poll for a result is answered.
type Maybe struct {
	Started   bool             `json:"started"`
	Completed bool             `json:"completed"`
	Success   *bool            `json:"success,omitempty"`
	Result    *json.RawMessage `json:"result,omitempty"`
}

// CancelBody is the body of a cancel.
type CancelBody struct {
	Reason string `json:"reason"`
}

// Count is a number of jobs.
type Count struct {
	DatabaseLength int64 `json:"database_length"`
	Running        int64 `json:"running,omitempty" doc:"of the queue only: jobs that run now"`
	Suspended      int64 `json:"suspended"`
	AtLeast        bool  `json:"at_least,omitempty" doc:"there are more; counting stopped here"`
}

// Position is how many queued jobs were asked for before a moment.
type Position struct {
	Position int `json:"position"`
}

// Update is what changed in a job, as answered to polls and sent as an event.
type Update struct {
	Type            string             `json:"type,omitempty" doc:"events only: update, notfound, timeout or error"`
	Running         bool               `json:"running"`
	Completed       bool               `json:"completed"`
	NewLogs         string             `json:"new_logs,omitempty"`
	LogOffset       int64              `json:"log_offset"`
	NewResultStream string             `json:"new_result_stream,omitempty"`
	StreamOffset    int64              `json:"stream_offset"`
	MemPeak         int64              `json:"mem_peak,omitempty" doc:"KiB"`
	FlowStatus      *engine.FlowStatus `json:"flow_status,omitempty" doc:"of flows, when it has changed"`
	OnlyResult      *json.RawMessage   `json:"only_result,omitempty"`
	Job             *Job               `json:"job,omitempty" doc:"events only: the completed job without logs"`
	Error           string             `json:"error,omitempty"`
}

// FlowPreview asks for a run of a flow that is not deployed.
type FlowPreview struct {
	Value json.RawMessage `json:"value" doc:"what the flow does: an OpenFlow value"`
	Path  string          `json:"path,omitempty" doc:"a name for the job"`
	Args  json.RawMessage `json:"args,omitempty"`
	Event json.RawMessage `json:"event,omitempty" doc:"a request for the preprocessor, which makes the arguments of it"`
	Tag   string          `json:"tag,omitempty"`

	UpTo          string         `json:"up_to,omitempty" doc:"the last step that runs"`
	OnlyStep      string         `json:"only_step,omitempty" doc:"the only step that runs"`
	FromRun       *uuid.UUID     `json:"from_run,omitempty" doc:"with only_step: the run whose results stand in for the steps before it"`
	FromItem      int            `json:"from_item,omitempty" doc:"with from_run, of a step within a loop: which iteration"`
	RestartedFrom *RestartedFrom `json:"restarted_from,omitempty" doc:"the run that it takes up, and where"`
}

// RawScripts asks for the lock of a source.
type RawScripts struct {
	RawScripts []RawScript `json:"raw_scripts" doc:"one"`
	Entrypoint string      `json:"entrypoint,omitempty" doc:"accepted; it is the path of the script"`
}

// RawScript is a source that is not deployed.
type RawScript struct {
	RawCode    string `json:"raw_code"`
	Language   string `json:"language"`
	ScriptPath string `json:"script_path,omitempty" doc:"a name for the job"`
}

// RawFlow asks for the locks of the scripts in a flow.
type RawFlow struct {
	FlowValue json.RawMessage `json:"flow_value" doc:"an OpenFlow value"`
	Path      string          `json:"path,omitempty" doc:"a name for the job"`
	UseLocks  bool            `json:"use_local_lockfiles,omitempty" doc:"accepted: a script that has a lock keeps it"`
}

// Preview is the body of a preview: source to run without deploying it.
type Preview struct {
	Content  string          `json:"content"`
	Language string          `json:"language"`
	Path     string          `json:"path,omitempty" doc:"a name for the job"`
	Args     json.RawMessage `json:"args,omitempty"`
	Event    json.RawMessage `json:"event,omitempty" doc:"a request for the preprocessor, which makes the arguments of it"`
	Lock     *string         `json:"lock,omitempty" doc:"given dependencies; absent: they are resolved"`
	Tag      string          `json:"tag,omitempty"`
	Network  string          `json:"network,omitempty" doc:"none, egress or host"`
	Timeout  int64           `json:"timeout,omitempty" doc:"seconds"`
}
