package api

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/web/wire"
)

// scheduleSearch is what a list asks for beyond the engine's filter.
type scheduleSearch struct {
	engine.ScheduleFilter
	args                               json.RawMessage
	summary, description, label, broad string // lower case, but for label
}

func (a *Ask) scheduleSearch() (scheduleSearch, error) {
	o := a.options()
	f := scheduleSearch{args: o.object("args"), summary: strings.ToLower(o.text("summary")), label: o.text("label"),
		description: strings.ToLower(o.text("description")), broad: strings.ToLower(o.text("broad_filter"))}
	f.PathExact, f.PathStart, f.ScriptPath = o.text("schedule_path"), o.text("path_start"), o.text("path")
	if v, given := o.flag("is_flow"); given {
		f.IsFlow = &v
	}
	if v, given := o.flag("enabled"); given {
		f.Enabled = &v
	}
	f.Page, f.PerPage = o.page(false)
	return f, o.err
}

// plain tells whether the engine's filter is all that is asked for.
func (f *scheduleSearch) plain() bool {
	return f.args == nil && f.summary == "" && f.description == "" && f.label == "" && f.broad == ""
}

func (f *scheduleSearch) selects(s *engine.Schedule) bool {
	has := func(part string, texts ...string) bool {
		return part == "" || slices.ContainsFunc(texts, func(t string) bool { return strings.Contains(strings.ToLower(t), part) })
	}
	var labels []string
	if f.label != "" && json.Unmarshal(s.Extra["labels"], &labels) != nil {
		return false // what is no list of labels has none
	}
	return has(f.summary, s.Summary) && has(f.description, s.Description) && has(f.broad, s.Path, s.ScriptPath, s.Summary, s.Description) &&
		(f.label == "" || slices.Contains(labels, f.label)) && (f.args == nil || contains(s.Args, f.args))
}

// contains tells whether JSON contains another as PostgreSQL's @> does.
func contains(whole, part json.RawMessage) bool {
	var w, p any
	return json.Unmarshal(whole, &w) == nil && json.Unmarshal(part, &p) == nil && holds(w, p)
}

func holds(whole, part any) bool {
	switch p := part.(type) {
	case map[string]any:
		w, ok := whole.(map[string]any)
		for k, v := range p {
			have, there := w[k]
			ok = ok && there && holds(have, v)
		}
		return ok
	case []any:
		w, ok := whole.([]any)
		for _, v := range p {
			ok = ok && slices.ContainsFunc(w, func(x any) bool { return holds(x, v) })
		}
		return ok
	}
	switch whole.(type) {
	case map[string]any, []any:
		return false // cannot be compared, and is not what is asked for
	}
	return whole == part
}

// find returns the page of schedules that a list asks for. What the engine does not filter is filtered here, over all pages.
func (h *API) find(a *Ask) ([]engine.Schedule, error) {
	f, err := a.scheduleSearch()
	if err != nil {
		return nil, err
	}
	if f.plain() {
		return h.schedules.List(a.Base, a.Who, a.Workspace, f.ScheduleFilter)
	}
	var found []engine.Schedule
	need, per := f.Page*f.PerPage, f.PerPage
	f.PerPage = countStep
	for f.Page = 1; len(found) < need; f.Page++ {
		list, err := h.schedules.List(a.Base, a.Who, a.Workspace, f.ScheduleFilter)
		if err != nil {
			return nil, err
		}
		for i := range list {
			if f.selects(&list[i]) {
				found = append(found, list[i])
			}
		}
		if len(list) < countStep {
			break
		}
	}
	return found[min(need-per, len(found)):min(need, len(found))], nil
}

func (h *API) listSchedules(a *Ask) error {
	return h.answerSchedules(a, func(*engine.Schedule) (map[string]any, error) { return nil, nil })
}

func (h *API) listSchedulesWithJobs(a *Ask) error {
	return h.answerSchedules(a, func(s *engine.Schedule) (map[string]any, error) {
		runs, err := h.runsOf(a, s.Path)
		return map[string]any{"jobs": runs}, err
	})
}

func (h *API) answerSchedules(a *Ask, more func(*engine.Schedule) (map[string]any, error)) error {
	found, err := h.find(a)
	if err != nil {
		return err
	}
	list := make([]json.RawMessage, 0, len(found))
	for i := range found {
		m, err := more(&found[i])
		if err != nil {
			return err
		}
		v, err := viewSchedule(&found[i], m)
		if err != nil {
			return err
		}
		list = append(list, v)
	}
	return JSON(a.RequestCtx, list)
}

const (
	runsShown  = 20
	runsLooked = 2 * runsShown // some may not be completed
)

// runsOf returns the latest completed runs of a schedule, newest first.
func (h *API) runsOf(a *Ask, path string) ([]wire.ScheduleRun, error) {
	views, err := h.jobs.List(a.Base, a.Who, a.Workspace, engine.JobFilter{Schedule: path, Page: 1, PerPage: runsLooked})
	if err != nil {
		return nil, err
	}
	runs := []wire.ScheduleRun{}
	for _, v := range views {
		if done(v.State) && len(runs) < runsShown {
			j := listJob(v)
			runs = append(runs, wire.ScheduleRun{ID: j.ID, Success: *j.Success, DurationMS: *j.DurationMS})
		}
	}
	return runs, nil
}

var tickStates = []engine.TickState{engine.TickDue, engine.TickFired, engine.TickDone, engine.TickMissed, engine.TickSkipped,
	engine.TickCoalesced, engine.TickExcluded, engine.TickFailed}

func (h *API) listTicks(a *Ask) error {
	path, err := a.param("path")
	if err != nil {
		return err
	}
	o := a.options()
	f := engine.TickFilter{Schedule: path, After: o.time("after"), Before: o.time("before")}
	for _, name := range o.list("states") {
		if !slices.Contains(tickStates, engine.TickState(name)) {
			o.fail("%q is no state of ticks: they are %v", name, tickStates)
		}
		f.States = append(f.States, engine.TickState(name))
	}
	f.Page, f.PerPage = o.page(false)
	if o.err != nil {
		return o.err
	}
	found, err := h.schedules.Ticks(a.Base, a.Who, a.Workspace, f)
	if err != nil {
		return err
	}
	if len(found) == 0 { // an empty ledger, or none at all
		if _, err := h.schedules.Get(a.Base, a.Who, a.Workspace, path); err != nil {
			return err
		}
	}
	list := make([]wire.Tick, 0, len(found))
	for _, t := range found {
		v := wire.Tick{Schedule: t.Schedule, At: t.At.UTC(), State: string(t.State), FiredAt: utc(t.FiredAt), JobID: t.JobID,
			Success: t.Success, Handler: t.Handler, Recovery: t.Recovery, Guard: t.Guard, Error: t.Error}
		if t.Attempts > 1 {
			v.Attempts = t.Attempts
		}
		if t.Count > 1 {
			v.Count = t.Count
		}
		if t.FiredAt != nil {
			drift := ms(t.Drift)
			v.DriftMS = &drift
		}
		list = append(list, v)
	}
	return JSON(a.RequestCtx, list)
}
