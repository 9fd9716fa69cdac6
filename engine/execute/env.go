package execute

import (
	"strings"
	"time"

	"github.com/millrace/millrace/engine"
)

// Env returns the function that makes a job's environment variables, with Windmill's names. baseURL is where the API is seen from
// inside a job; token makes the job's own token.
func Env(baseURL string, token func(*engine.Job) string) func(*engine.Job) map[string]string {
	return func(j *engine.Job) map[string]string {
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
		return map[string]string{
			"WM_WORKSPACE":        j.Workspace,
			"WM_TOKEN":            token(j),
			"WM_EMAIL":            j.Email,
			"WM_USERNAME":         j.CreatedBy,
			"WM_END_USER_EMAIL":   "",
			"WM_BASE_URL":         baseURL,
			"BASE_URL":            baseURL,
			"BASE_INTERNAL_URL":   baseURL,
			"WM_JOB_ID":           id,
			"WM_JOB_PATH":         j.Path,
			"WM_ROOT_JOB_ID":      root,
			"WM_FLOW_JOB_ID":      flow,
			"WM_ROOT_FLOW_JOB_ID": "",
			"WM_FLOW_PATH":        "",
			"WM_FLOW_STEP_ID":     j.Step,
			"WM_SCHEDULE_PATH":    schedulePath(j),
			"WM_SCHEDULED_FOR":    scheduledFor(j),
			"WM_PERMISSIONED_AS":  j.PermissionedAs,
			"WM_STATE_PATH":       state,
			"WM_STATE_PATH_NEW":   state,
			"WM_OBJECT_PATH":      j.Workspace + "/" + id,
			"WM_RUNNABLE_ID":      runnable(j),
			"DO_NOT_TRACK":        "1",
			"LANG":                "C.UTF-8",
			"HOME":                "/work",
			"TMPDIR":              "/work",
			"PATH":                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
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
