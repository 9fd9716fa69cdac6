package api

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/web/wire"
)

var (
	queueStates     = []engine.JobState{engine.StateQueued, engine.StateRunning}
	completedStates = []engine.JobState{engine.StateSuccess, engine.StateFailure, engine.StateCanceled}
	allStates       = slices.Concat(queueStates, completedStates)
	allKinds        = []engine.JobKind{engine.KindScript, engine.KindPreview, engine.KindDependencies, engine.KindNoop, engine.KindFlow, engine.KindFlowPreview,
		engine.KindFlowDependencies}
)

var filterParams = join([]Param{
	query("script_path_exact", "string", "path of the script"),
	query("script_path_start", "string", "start of the path"),
	query("created_by", "string", "username"),
	query("tag", "string", ""),
	query("schedule_path", "string", "path of the schedule that started them"),
	query("worker", "string", "name of a worker"),
	query("parent_job", "string", "id of the parent"),
	query("batch", "string", "id of a batch"),
	query("has_null_parent", "boolean", "only jobs without a parent"),
	query("job_kinds", "string", "comma separated: script, preview, dependencies, noop, flow, flowpreview, flowdependencies"),
	query("status", "string", "comma separated: queued, running, success, failure, canceled"),
	query("running", "boolean", "true: jobs that run now; false: the others"),
	query("success", "boolean", "true: completed well; false: failed or canceled"),
	query("created_before", "string", "RFC 3339 time"),
	query("created_after", "string", "RFC 3339 time"),
	query("args", "string", "a JSON object that the arguments contain"),
	query("result", "string", "a JSON object that the result contains"),
	query("order_desc", "boolean", "false: oldest first"),
}, pageParams)

func (h *API) listRoutes() []Route {
	const w = "/api/w/{workspace}/jobs/"
	return []Route{
		{Method: "GET", Path: w + "list", Name: "listJobs", Group: "jobs", Access: User, Params: filterParams,
			Summary: "Jobs, newest first, without arguments, results and logs", Answer: JSONOf([]wire.Job{}), Handle: h.listJobs(allStates)},
		{Method: "GET", Path: w + "queue/list", Name: "listQueue", Group: "jobs", Access: User, Params: filterParams,
			Summary: "Queued and running jobs", Answer: JSONOf([]wire.Job{}), Handle: h.listJobs(queueStates)},
		{Method: "GET", Path: w + "completed/list", Name: "listCompletedJobs", Group: "jobs", Access: User, Params: filterParams,
			Summary: "Completed jobs", Answer: JSONOf([]wire.Job{}), Handle: h.listJobs(completedStates)},
		{Method: "GET", Path: w + "queue/count", Name: "getQueueCount", Group: "jobs", Access: User,
			Summary: "How many jobs are queued and running", Answer: JSONOf(wire.Count{}), Handle: h.countQueue},
		{Method: "GET", Path: w + "queue/position/{millis}", Name: "getQueuePosition", Group: "jobs", Access: User,
			Summary: "How many queued jobs were asked for before a moment (Unix milliseconds)", Answer: JSONOf(wire.Position{}), Handle: h.queuePosition},
		{Method: "GET", Path: w + "completed/count", Name: "countCompletedJobs", Group: "jobs", Access: User,
			Summary: "How many jobs are completed; counts to 10,000", Answer: JSONOf(wire.Count{}), Handle: h.countCompleted},
	}
}

// listJobs lists jobs in some of the states of base.
func (h *API) listJobs(base []engine.JobState) func(*Ask) error {
	return func(a *Ask) error {
		f, possible, err := jobFilter(a, base)
		if err != nil {
			return err
		}
		list := []*wire.Job{}
		if possible {
			views, err := h.jobs.List(a.Base, a.Who, a.Workspace, f)
			if err != nil {
				return err
			}
			for _, v := range views {
				list = append(list, listJob(v))
			}
		}
		return JSON(a.RequestCtx, list)
	}
}

// jobFilter reads the filter; possible is false when no job can match, as with kinds that do not exist here.
func jobFilter(a *Ask, base []engine.JobState) (f engine.JobFilter, possible bool, err error) {
	o := a.options()
	f.PathExact, f.PathStart, f.CreatedBy = o.text("script_path_exact"), o.text("script_path_start"), o.text("created_by")
	f.Tag, f.Worker, f.Parent, f.HasNoParent = o.text("tag"), o.text("worker"), o.id("parent_job"), o.on("has_null_parent")
	f.Batch = o.id("batch")
	f.CreatedBefore, f.CreatedAfter = o.time("created_before"), o.time("created_after")
	f.Schedule = o.text("schedule_path")
	f.Args, f.Result = o.object("args"), o.object("result")
	if desc, given := o.flag("order_desc"); given {
		f.Ascending = !desc
	}
	f.Page, f.PerPage = o.page(false)
	states, kinds := o.states(base), o.kinds()
	if o.err != nil {
		return f, false, o.err
	}
	if len(states) < len(allStates) {
		f.States = states
	}
	f.Kinds = kinds
	return f, len(states) > 0 && (len(kinds) > 0 || o.text("job_kinds") == ""), nil
}

// states narrows base by status, running and success.
func (o *options) states(base []engine.JobState) []engine.JobState {
	keep := slices.Clone(base)
	only := func(is func(engine.JobState) bool) {
		keep = slices.DeleteFunc(keep, func(s engine.JobState) bool { return !is(s) })
	}
	if names := o.list("status"); len(names) > 0 {
		for _, n := range names {
			if !slices.Contains(allStates, engine.JobState(n)) {
				o.fail("status %q is none of queued, running, success, failure, canceled", n)
			}
		}
		only(func(s engine.JobState) bool { return slices.Contains(names, string(s)) })
	}
	if running, given := o.flag("running"); given {
		only(func(s engine.JobState) bool { return (s == engine.StateRunning) == running })
	}
	if success, given := o.flag("success"); given {
		only(func(s engine.JobState) bool { return done(s) && (s == engine.StateSuccess) == success })
	}
	return keep
}

// kinds keeps the kinds that exist here; clients ask for flows too.
func (o *options) kinds() []engine.JobKind {
	var out []engine.JobKind
	for _, n := range o.list("job_kinds") {
		if slices.Contains(allKinds, engine.JobKind(n)) {
			out = append(out, engine.JobKind(n))
		}
	}
	return out
}

func (o *options) object(name string) json.RawMessage {
	s := o.text(name)
	if s == "" {
		return nil
	}
	var obj map[string]json.RawMessage
	if json.Unmarshal([]byte(s), &obj) != nil || obj == nil {
		o.fail("query parameter %s must be a JSON object", name)
		return nil
	}
	return json.RawMessage(s)
}

func (h *API) countQueue(a *Ask) error {
	queued, running, err := h.jobs.Counts(a.Base, a.Who, a.Workspace)
	if err != nil {
		return err
	}
	return JSON(a.RequestCtx, wire.Count{DatabaseLength: queued + running, Running: running})
}

const (
	countStep = 1000 // the largest page
	countStop = 10   // pages; counting is bounded, a history is not
)

func (h *API) countCompleted(a *Ask) error {
	var n int64
	for page := 1; page <= countStop; page++ {
		views, err := h.jobs.List(a.Base, a.Who, a.Workspace, engine.JobFilter{States: completedStates, Page: page, PerPage: countStep})
		if err != nil {
			return err
		}
		n += int64(len(views))
		if len(views) < countStep {
			return JSON(a.RequestCtx, wire.Count{DatabaseLength: n})
		}
	}
	return JSON(a.RequestCtx, wire.Count{DatabaseLength: n, AtLeast: true})
}

func (h *API) queuePosition(a *Ask) error {
	s, err := a.param("millis")
	if err != nil {
		return err
	}
	var millis int64
	if err := json.Unmarshal([]byte(s), &millis); err != nil {
		return invalid("the moment must be Unix milliseconds")
	}
	views, err := h.jobs.List(a.Base, a.Who, a.Workspace, engine.JobFilter{
		States: []engine.JobState{engine.StateQueued}, CreatedBefore: time.UnixMilli(millis), PerPage: countStep, Page: 1})
	if err != nil {
		return err
	}
	return JSON(a.RequestCtx, wire.Position{Position: len(views)})
}
