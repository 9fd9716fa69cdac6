package wire

import (
	"encoding/json"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
)

// Batch is a batch as clients read it.
type Batch struct {
	ID             uuid.UUID         `json:"id"`
	WorkspaceID    string            `json:"workspace_id"`
	Name           string            `json:"name,omitempty"`
	JobKind        engine.JobKind    `json:"job_kind,omitempty" doc:"absent: its jobs are of several kinds"`
	ScriptPath     string            `json:"script_path,omitempty" doc:"absent: of several scripts, or of none"`
	ScriptHash     string            `json:"script_hash,omitempty"`
	State          engine.BatchState `json:"state" doc:"receiving, running, done, canceled or failed"`
	Total          *int64            `json:"total" doc:"rows; null while they are being received"`
	Inserted       int64             `json:"inserted" doc:"rows that are stored durably"`
	Queued         int64             `json:"queued"`
	Running        int64             `json:"running"`
	Done           int64             `json:"done" doc:"completed, whatever the outcome"`
	Failed         int64             `json:"failed"`
	Canceled       int64             `json:"canceled"`
	Over           bool              `json:"over" doc:"every job is completed"`
	Rate           float64           `json:"rate" doc:"completed jobs a second, lately; once over, on average"`
	ETA            *float64          `json:"eta_seconds,omitempty" doc:"how long the rest will take at this rate"`
	CreatedBy      string            `json:"created_by"`
	CreatedAt      time.Time         `json:"created_at"`
	ReceivedAt     *time.Time        `json:"received_at,omitempty" doc:"when the last row was stored"`
	FinishedAt     *time.Time        `json:"finished_at,omitempty"`
	Error          string            `json:"error,omitempty" doc:"why receiving failed, or broke off"`
	CanceledBy     string            `json:"canceled_by,omitempty"`
	CanceledReason string            `json:"canceled_reason,omitempty"`
	Source         *uuid.UUID        `json:"rerun_of,omitempty" doc:"the batch whose rows it runs again"`
}

// BatchUpdate is an event of a batch's progress.
type BatchUpdate struct {
	Type  string `json:"type" doc:"update, or timeout: come back"`
	Batch *Batch `json:"batch,omitempty"`
}

// NewBatch is the answer to a batch that was received.
type NewBatch struct {
	ID    uuid.UUID `json:"id"`
	Total *int64    `json:"total"`
}

// BatchRow is a line of a batch's results.
type BatchRow struct {
	Row    int64            `json:"row"`
	Job    uuid.UUID        `json:"job"`
	Status engine.JobState  `json:"status"`
	Result *json.RawMessage `json:"result,omitempty" doc:"once completed"`
	Error  string           `json:"error,omitempty" doc:"in a last line of its own: reading stopped early"`
}

// RerunJobs is Windmill's request to run jobs again.
type RerunJobs struct {
	JobIDs  []uuid.UUID             `json:"job_ids"`
	Scripts map[string]RerunOptions `json:"script_options_by_path"`
	Flows   map[string]RerunOptions `json:"flow_options_by_path" doc:"accepted"`
}

// RerunOptions says how jobs of one path are run again.
type RerunOptions struct {
	Latest bool                      `json:"use_latest_version"`
	Inputs map[string]InputTransform `json:"input_transforms" doc:"static ones replace arguments"`
}

// InputTransform is where an argument comes from.
type InputTransform struct {
	Type  string          `json:"type" doc:"static"`
	Value json.RawMessage `json:"value"`
}
