package api

import (
	"encoding/json"
	"time"
	"unicode/utf8"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/web/wire"
)

var (
	scheduleFilterParams = join([]Param{
		query("path", "string", "path of the script or flow"),
		query("schedule_path", "string", "path of the schedule"),
		query("path_start", "string", "start of the schedule's path"),
		query("is_flow", "boolean", "whether it runs a flow"),
		query("enabled", "boolean", ""),
		query("args", "string", "a JSON object that the arguments contain"),
		query("summary", "string", "part of the summary"),
		query("description", "string", "part of the description"),
		query("label", "string", ""),
		query("broad_filter", "string", "part of path, script path, summary or description"),
	}, pageParams)
	tickParams = join([]Param{
		query("states", "string", "comma separated: due, fired, done, missed, skipped, coalesced, excluded, failed"),
		query("after", "string", "RFC 3339 time"),
		query("before", "string", "RFC 3339 time"),
	}, pageParams)
)

func (h *API) scheduleRoutes() []Route {
	const s = "/api/w/{workspace}/schedules/"
	body, path := JSONOf(wire.NewSchedule{}), TextOf("the path")
	preview := JSONOf(wire.SchedulePreview{})
	return []Route{
		{Method: "POST", Path: s + "create", Name: "createSchedule", Group: "schedules", Access: User, Status: statusNew,
			Summary: "Makes a schedule", Body: body, Answer: path, Handle: h.createSchedule},
		{Method: "POST", Path: s + "update/{path:*}", Name: "updateSchedule", Group: "schedules", Access: User,
			Summary: "Replaces a schedule; absent script_path, is_flow, enabled and paused_until stay as they are", Body: body, Answer: path, Handle: h.updateSchedule},
		{Method: "GET", Path: s + "get/{path:*}", Name: "getSchedule", Group: "schedules", Access: User,
			Summary: "A schedule", Answer: JSONOf(wire.Schedule{}), Handle: h.getSchedule},
		{Method: "GET", Path: s + "exists/{path:*}", Name: "existsSchedule", Group: "schedules", Access: User,
			Summary: "Whether there is a schedule at the path", Answer: JSONOf(true), Handle: h.scheduleExists},
		{Method: "GET", Path: s + "list", Name: "listSchedules", Group: "schedules", Access: User, Params: scheduleFilterParams,
			Summary: "Schedules by path", Answer: JSONOf([]wire.Schedule{}), Handle: h.listSchedules},
		{Method: "GET", Path: s + "list_with_jobs", Name: "listSchedulesWithJobs", Group: "schedules", Access: User, Params: scheduleFilterParams,
			Summary: "Schedules by path, each with its last 20 completed runs", Answer: JSONOf([]wire.ScheduleWithJobs{}), Handle: h.listSchedulesWithJobs},
		{Method: "DELETE", Path: s + "delete/{path:*}", Name: "deleteSchedule", Group: "schedules", Access: User,
			Summary: "Deletes a schedule and its ledger; its jobs stay", Answer: path, Handle: h.deleteSchedule},
		{Method: "POST", Path: s + "setenabled/{path:*}", Name: "setScheduleEnabled", Group: "schedules", Access: User,
			Summary: "Switches a schedule on or off", Body: JSONOf(wire.SetEnabled{}), Answer: path, Handle: h.setScheduleEnabled},
		{Method: "POST", Path: s + "pause/{path:*}", Name: "pauseSchedule", Group: "schedules", Access: User,
			Summary: "Fires no ticks until a moment", Body: JSONOf(wire.SetPause{}), Answer: path, Handle: h.pauseSchedule},
		{Method: "POST", Path: s + "run/{path:*}", Name: "runSchedule", Group: "schedules", Access: User, Status: statusNew,
			Summary: "Runs what a schedule runs now, beside its ticks", Answer: TextOf("the job's id"), Handle: h.runSchedule},
		{Method: "POST", Path: s + "backfill/{path:*}", Name: "backfillSchedule", Group: "schedules", Access: User,
			Summary: "Runs the past ticks of a range that are not in the ledger", Body: JSONOf(wire.Backfill{}), Answer: JSONOf(wire.Backfilled{}), Handle: h.backfillSchedule},
		{Method: "GET", Path: s + "ticks/{path:*}", Name: "listScheduleTicks", Group: "schedules", Access: User, Params: tickParams,
			Summary: "The ledger of a schedule: what became of every tick, newest first", Answer: JSONOf([]wire.Tick{}), Handle: h.listTicks},
		{Method: "POST", Path: s + "preview", Name: "previewScheduleInWorkspace", Group: "schedules", Access: User,
			Summary: "The next ticks of a schedule that need not exist", Body: preview, Answer: JSONOf([]time.Time{}), Handle: h.previewSchedule},
		{Method: "POST", Path: "/api/schedules/preview", Name: "previewSchedule", Group: "schedules", Access: User,
			Summary: "The same outside of workspaces, so without calendars", Body: preview, Answer: JSONOf([]time.Time{}), Handle: h.previewSchedule},
	}
}

// scheduleAsked decodes the body of a create or update.
func (a *Ask) scheduleAsked() (*scheduleBody, error) {
	b := a.PostBody()
	if len(b) == 0 || !utf8.Valid(b) {
		return nil, invalid("the body must be a JSON object in UTF-8")
	}
	s, err := readSchedule(b)
	if err != nil {
		return nil, err
	}
	s.schedule.Workspace = a.Workspace
	return s, nil
}

func (h *API) createSchedule(a *Ask) error {
	b, err := a.scheduleAsked()
	if err != nil {
		return err
	}
	s := b.schedule
	if s.Path == "" || s.Cron == "" || s.ScriptPath == "" {
		return invalid("a schedule needs path, schedule (a cron expression) and script_path")
	}
	if err := engine.CheckPath("schedule.create", s.Path); err != nil {
		return err
	}
	if !b.preserve {
		s.PermissionedAs = ""
	}
	if err := h.schedules.Create(a.Base, a.Who, s); err != nil {
		return err
	}
	Text(a.RequestCtx, statusNew, s.Path)
	return nil
}

func (h *API) updateSchedule(a *Ask) error {
	path, err := a.param("path")
	if err != nil {
		return err
	}
	b, err := a.scheduleAsked()
	if err != nil {
		return err
	}
	s := b.schedule
	if s.Path != "" && s.Path != path {
		return invalid("a schedule keeps its path; make a new one at %s and delete %s", s.Path, path)
	}
	if s.Cron == "" {
		return invalid("a schedule needs schedule, a cron expression")
	}
	old, err := h.schedules.Get(a.Base, a.Who, a.Workspace, path)
	if err != nil {
		return err
	}
	s.Path = path
	if !b.has("script_path") {
		s.ScriptPath = old.ScriptPath
	}
	if !b.has("is_flow") {
		s.IsFlow = old.IsFlow
	}
	if !b.has("enabled") {
		s.Enabled = old.Enabled
	}
	if !b.has("paused_until") {
		s.PausedUntil = old.PausedUntil
	}
	switch {
	case !b.preserve:
		s.PermissionedAs = ""
	case s.PermissionedAs == "":
		s.PermissionedAs = old.PermissionedAs
	}
	if s.PermissionedAs == old.PermissionedAs {
		s.Email = old.Email
	}
	return a.answerPath(path, h.schedules.Update(a.Base, a.Who, s))
}

// answerPath answers with a path as text, or fails.
func (a *Ask) answerPath(path string, err error) error {
	if err != nil {
		return err
	}
	Text(a.RequestCtx, 200, path)
	return nil
}

func (h *API) getSchedule(a *Ask) error {
	path, err := a.param("path")
	if err != nil {
		return err
	}
	s, err := h.schedules.Get(a.Base, a.Who, a.Workspace, path)
	if err != nil {
		return err
	}
	v, err := viewSchedule(s, nil)
	if err != nil {
		return err
	}
	rawJSON(a.RequestCtx, 200, v)
	return nil
}

func (h *API) scheduleExists(a *Ask) error {
	path, err := a.param("path")
	if err != nil {
		return err
	}
	exists, err := h.schedules.Exists(a.Base, a.Who, a.Workspace, path)
	if err != nil {
		return err
	}
	return JSON(a.RequestCtx, exists)
}

func (h *API) deleteSchedule(a *Ask) error {
	path, err := a.param("path")
	if err != nil {
		return err
	}
	return a.answerPath(path, h.schedules.Delete(a.Base, a.Who, a.Workspace, path))
}

func (h *API) setScheduleEnabled(a *Ask) error {
	path, err := a.param("path")
	if err != nil {
		return err
	}
	var b wire.SetEnabled
	if err := a.body(&b); err != nil {
		return err
	}
	if b.Enabled == nil {
		return invalid(`send {"enabled": true} or {"enabled": false}`)
	}
	return a.answerPath(path, h.schedules.SetEnabled(a.Base, a.Who, a.Workspace, path, *b.Enabled))
}

func (h *API) pauseSchedule(a *Ask) error {
	path, err := a.param("path")
	if err != nil {
		return err
	}
	var sent map[string]json.RawMessage
	if err := a.body(&sent); err != nil {
		return err
	}
	if sent["until"] == nil {
		return invalid(`send {"until": "2026-12-01T15:04:05Z"}, or {"until": null} to end the pause`)
	}
	var b wire.SetPause
	if err := a.body(&b); err != nil {
		return err
	}
	return a.answerPath(path, h.schedules.Pause(a.Base, a.Who, a.Workspace, path, b.Until))
}

func (h *API) runSchedule(a *Ask) error {
	path, err := a.param("path")
	if err != nil {
		return err
	}
	id, err := h.schedules.Run(a.Base, a.Who, a.Workspace, path)
	if err != nil {
		return err
	}
	Text(a.RequestCtx, statusNew, id.String())
	return nil
}

func (h *API) backfillSchedule(a *Ask) error {
	path, err := a.param("path")
	if err != nil {
		return err
	}
	var b wire.Backfill
	if err := a.body(&b); err != nil {
		return err
	}
	to := time.Now()
	if b.To != nil {
		to = *b.To
	}
	if b.From.IsZero() || to.Before(b.From) {
		return invalid("a backfill needs from, a time like 2026-12-01T15:04:05Z in the past, and perhaps to, a later one")
	}
	n, err := h.schedules.Backfill(a.Base, a.Who, a.Workspace, path, b.From, to)
	if err != nil {
		return err
	}
	return JSON(a.RequestCtx, wire.Backfilled{Ticks: n})
}

const (
	previewTicks = 10
	maxPreview   = 1000
)

func (h *API) previewSchedule(a *Ask) error {
	var b wire.SchedulePreview
	if err := a.body(&b); err != nil {
		return err
	}
	switch {
	case b.Cron == "":
		return invalid("a preview needs schedule, a cron expression")
	case b.N < 0 || b.N > maxPreview:
		return invalid("n must be from 1 to %d", maxPreview)
	case len(b.Calendars) > 0 && a.Workspace == "":
		return invalid("calendars belong to a workspace; ask /api/w/WORKSPACE/schedules/preview")
	case b.N == 0:
		b.N = previewTicks
	}
	ticks, err := h.schedules.Preview(a.Base, a.Who, a.Workspace, engine.Schedule{Workspace: a.Workspace, Cron: b.Cron,
		CronVersion: b.CronVersion, Timezone: b.Timezone, Calendars: b.Calendars}, b.N)
	if err != nil {
		return err
	}
	out := make([]time.Time, 0, len(ticks))
	for _, t := range ticks {
		out = append(out, t.UTC())
	}
	return JSON(a.RequestCtx, out)
}
