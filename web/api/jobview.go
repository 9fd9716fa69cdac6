package api

import (
	"encoding/json"
	"time"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/web/wire"
)

// viewJob makes the full view; listJob leaves out what can be large.
func viewJob(v *engine.JobView) (*wire.Job, error) {
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

func listJob(v *engine.JobView) *wire.Job {
	j := &wire.Job{
		ID: v.ID, Type: "QueuedJob", Status: v.State, WorkspaceID: v.Workspace, JobKind: v.Kind, Language: v.Language,
		Tag: v.Tag, Priority: v.Priority, ParentJob: v.Parent, CreatedBy: v.CreatedBy, Email: v.Email,
		PermissionedAs: v.PermissionedAs, CreatedAt: v.CreatedAt, ScheduledFor: v.ScheduledFor, StartedAt: v.StartedAt,
		Canceled: v.State == engine.StateCanceled, CanceledBy: v.CanceledBy, CanceledReason: v.Reason,
		MemPeak: v.MemoryPeak / 1024, CPUMS: ms(v.CPU), Timeout: int64(v.Timeout / time.Second),
		IsSkipped: v.Skipped, Preprocessed: v.Preprocessed, IsFlowStep: v.Step != "", FlowStepID: v.Step, Worker: v.WorkerName, Attempt: v.Attempt, Trigger: v.Trigger, TriggerPath: v.TriggerPath, VisibleToOwner: true,
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
	j.Usage = viewUsage(v)
	return j
}

func viewUsage(v *engine.JobView) *wire.Usage {
	u := v.Usage
	if u == nil {
		return nil
	}
	system := time.Duration(u.SystemMicros) * time.Microsecond
	out := &wire.Usage{
		CPUUserMS: ms(max(0, v.CPU-system)), CPUSystemMS: ms(system), ThrottledMS: float64(u.ThrottledMicros) / 1000,
		IORead: u.IORead, IOWritten: u.IOWritten, PidsPeak: u.Pids, PidsRefused: u.PidsRefused, LimitHit: string(u.Limit),
	}
	if u.OOM != nil {
		o := wire.OOM(*u.OOM)
		out.OOM = &o
	}
	return out
}

// ms counts milliseconds with three decimals: short jobs take fractions.
func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
