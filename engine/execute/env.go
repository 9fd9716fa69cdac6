package execute

import (
	"strings"
	"time"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/runtimes"
)

// Env returns the function that makes a job's environment variables, with Windmill's names. baseURL is where the API is seen from
// inside a job; token makes the job's own token.
func Env(baseURL string, token func(*engine.Job) string) func(*engine.Job) runtimes.Env {
	return func(j *engine.Job) runtimes.Env {
		id := j.ID.String()
		root := id
		if j.Parent != nil {
			root = j.Parent.String()
		}
		flow := ""
		if j.Step != "" && j.Parent != nil {
			flow = root
		}
		state := statePath(j)
		return runtimes.Env{
			{Name: "WM_WORKSPACE", Value: j.Workspace},
			{Name: "WM_TOKEN", Value: token(j)},
			{Name: "WM_EMAIL", Value: j.Email},
			{Name: "WM_USERNAME", Value: j.CreatedBy},
			{Name: "WM_END_USER_EMAIL", Value: ""},
			{Name: "WM_BASE_URL", Value: baseURL},
			{Name: "BASE_URL", Value: baseURL},
			{Name: "BASE_INTERNAL_URL", Value: baseURL},
			{Name: "WM_JOB_ID", Value: id},
			{Name: "WM_JOB_PATH", Value: j.Path},
			{Name: "WM_ROOT_JOB_ID", Value: root},
			{Name: "WM_FLOW_JOB_ID", Value: flow},
			{Name: "WM_ROOT_FLOW_JOB_ID", Value: ""},
			{Name: "WM_FLOW_PATH", Value: ""},
			{Name: "WM_FLOW_STEP_ID", Value: j.Step},
			{Name: "WM_SCHEDULE_PATH", Value: schedulePath(j)},
			{Name: "WM_SCHEDULED_FOR", Value: scheduledFor(j)},
			{Name: "WM_PERMISSIONED_AS", Value: j.PermissionedAs},
			{Name: "WM_STATE_PATH", Value: state},
			{Name: "WM_STATE_PATH_NEW", Value: state},
			{Name: "WM_OBJECT_PATH", Value: j.Workspace + "/" + id},
			{Name: "WM_RUNNABLE_ID", Value: runnable(j)},
			{Name: "DO_NOT_TRACK", Value: "1"},
			{Name: "LANG", Value: "C.UTF-8"},
			{Name: "HOME", Value: "/work"},
			{Name: "TMPDIR", Value: "/work"},
			{Name: "PATH", Value: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
		}
	}
}

// statePath is where a script keeps its state: one for each script, user and trigger.
func statePath(j *engine.Job) string {
	name := strings.ReplaceAll(j.Path, "/", "_")
	if name == "" {
		name = "preview"
	}
	path := "u/" + j.CreatedBy + "/state_" + name
	if j.TriggerPath != "" {
		path += "_" + strings.ReplaceAll(j.TriggerPath, "/", "_")
	}
	return path
}

func schedulePath(j *engine.Job) string {
	if j.Trigger == "schedule" {
		return j.TriggerPath
	}
	return ""
}

// scheduledFor is when the job was to start at the earliest; of a scheduled run it is the tick.
func scheduledFor(j *engine.Job) string {
	t := j.ScheduledFor
	if t.IsZero() {
		t = j.CreatedAt
	}
	return t.UTC().Format(time.RFC3339)
}

func runnable(j *engine.Job) string {
	if j.Hash != 0 {
		return j.Hash.String()
	}
	return ""
}
