package api

import (
	"encoding/json"
	"math"
	"strings"

	"github.com/google/uuid"
	"github.com/valyala/fasthttp"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/web/wire"
)

var rerunParams = []Param{
	query("version", "string", "original: the version that ran; latest: the newest one. original unless told"),
	query("limit", "integer", "at most so many jobs, the oldest ones"),
	query("name", "string", "a name of the new batch"),
	query("run_tag", "string", "which workers may take the jobs"),
	query("priority", "integer", "higher first"),
	{Name: "Idempotency-Key", Type: "string", Header: true, Doc: "a second request with the same key answers the first one's batch"},
}

func (h *API) rerunRoutes() []Route {
	const j = "/api/w/{workspace}/jobs/"
	byFilter := join(rerunParams, []Param{query("dry_run", "boolean", "only say how many jobs would run")}, filterParams)
	return []Route{
		{Method: "POST", Path: j + "rerun", Name: "rerunJobs", Group: "batches", Access: User, Params: byFilter, Status: statusNew,
			Summary: "Runs the completed jobs that a filter selects again, as a new batch",
			Answer:  TextOf("the new batch's id; with dry_run 200 and {\"count\", \"by_path\"} as JSON"), Handle: h.rerunJobs},
		{Method: "POST", Path: j + "run/batch_rerun_jobs", Name: "batchReRunJobs", Group: "batches", Access: User, Body: JSONOf(wire.RerunJobs{}),
			Summary: "Runs jobs again, each on its own", Answer: TextOf("a line a job: the id of the new one, or Error: and why"), Handle: h.rerunEach},
		{Method: "POST", Path: j + "queue/cancel_selection", Name: "cancelSelection", Group: "jobs", Access: User, Body: JSONOf([]uuid.UUID{}),
			Summary: "Cancels several jobs", Answer: JSONOf([]uuid.UUID{}), Handle: h.cancelSelection},
	}
}

func rerunRequest(a *Ask, o *options) engine.RerunRequest {
	r := engine.RerunRequest{Name: o.text("name"), Tag: o.text("run_tag"), Trigger: a.trigger()}
	switch v := o.text("version"); v {
	case "", "original":
	case "latest":
		r.Latest = true
	default:
		o.fail("query parameter version must be original or latest")
	}
	n, _ := o.whole("limit", 1, engine.MaxBatchRows)
	r.Limit = int(n)
	if n, given := o.whole("priority", math.MinInt16, math.MaxInt16); given {
		r.Priority = int16(n)
	}
	key, err := a.idempotencyKey()
	if err != nil && o.err == nil {
		o.err = err
	}
	r.IdempotencyKey = key
	return r
}

func (h *API) rerunBatch(a *Ask) error {
	id, err := a.batchID()
	if err != nil {
		return err
	}
	o := a.options()
	r := rerunRequest(a, o)
	states := o.jobStatuses("status", completedStates)
	if o.err != nil {
		return o.err
	}
	if len(states) == 0 {
		states = []engine.JobState{engine.StateFailure}
	}
	b, err := h.batches.Rerun(a.Base, a.Who, a.Workspace, id, states, r)
	if err != nil {
		return err
	}
	return answerNew(a, b)
}

func (h *API) rerunJobs(a *Ask) error {
	f, possible, err := jobFilter(a, completedStates)
	if err != nil {
		return err
	}
	o := a.options()
	r := rerunRequest(a, o)
	dry := o.on("dry_run")
	if o.err != nil {
		return o.err
	}
	if !possible {
		return invalid("no completed job can match the filter")
	}
	if dry {
		n, err := h.batches.CountRerun(a.Base, a.Who, a.Workspace, f, r)
		if err != nil {
			return err
		}
		return JSON(a.RequestCtx, n)
	}
	b, err := h.batches.RerunJobs(a.Base, a.Who, a.Workspace, f, r)
	if err != nil {
		return err
	}
	return answerNew(a, b)
}

// rerunEach is Windmill's way: any content type is taken for JSON, and the answer is a line a job.
func (h *API) rerunEach(a *Ask) error {
	var in wire.RerunJobs
	if err := a.body(&in); err != nil {
		return err
	}
	s := engine.RerunSelection{IDs: in.JobIDs, Latest: map[string]bool{}, Args: map[string]map[string]json.RawMessage{}}
	for path, o := range in.Scripts {
		args, err := staticInputs(path, o.Inputs)
		if err != nil {
			return err
		}
		s.Latest[path], s.Args[path] = o.Latest, args
	}
	outcomes, err := h.batches.RerunEach(a.Base, a.Who, a.Workspace, s, a.trigger())
	if err != nil {
		return err
	}
	var text strings.Builder
	for _, o := range outcomes {
		if engine.CodeOf(o.Err) == engine.Internal {
			return o.Err
		}
		if o.Err != nil {
			text.WriteString("Error: " + describe(o.Err) + "\n")
		} else {
			text.WriteString(o.ID.String() + "\n")
		}
	}
	Text(a.RequestCtx, fasthttp.StatusOK, text.String())
	return nil
}
