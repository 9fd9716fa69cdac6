package api

import (
	"encoding/json"

	"github.com/google/uuid"
	"github.com/valyala/fasthttp"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/web/wire"
)

func (h *API) jobRoutes() []Route {
	noLogs := query("no_logs", "boolean", "leave the logs out")
	started := query("get_started", "boolean", "accepted; started is always told")
	const u = "/api/w/{workspace}/jobs_u/"
	return []Route{
		{Method: "GET", Path: u + "get/{id}", Name: "getJob", Group: "jobs", Access: User, Params: []Param{noLogs},
			Summary: "A job with its arguments, logs and, once completed, its result", Answer: JSONOf(wire.Job{}), Handle: h.getJob},
		{Method: "GET", Path: u + "get_args/{id}", Name: "getJobArgs", Group: "jobs", Access: User,
			Summary: "The arguments of a job", Answer: AnyJSON("an object"), Handle: h.getJobArgs},
		{Method: "GET", Path: u + "get_logs/{id}", Name: "getJobLogs", Group: "jobs", Access: User,
			Params:  []Param{query("offset", "integer", "bytes of the log to skip")},
			Summary: "What a job has printed so far", Answer: TextOf("the log"), Handle: h.getJobLogs},
		{Method: "GET", Path: u + "get_root_job_id/{id}", Name: "getRootJobId", Group: "jobs", Access: User,
			Summary: "The job at the start of a job's chain of parents", Answer: JSONOf(uuid.UUID{}), Handle: h.getRootJob},
		{Method: "GET", Path: u + "completed/get/{id}", Name: "getCompletedJob", Group: "jobs", Access: User,
			Summary: "A completed job; 404 before that", Answer: JSONOf(wire.Job{}), Handle: h.getCompleted},
		{Method: "GET", Path: u + "completed/get_result/{id}", Name: "getCompletedJobResult", Group: "jobs", Access: User,
			Summary: "The result of a completed job, byte for byte; 404 before that", Answer: AnyJSON("the result"), Handle: h.getResult},
		{Method: "GET", Path: u + "completed/get_result_maybe/{id}", Name: "getCompletedJobResultMaybe", Group: "jobs", Access: User,
			Params:  []Param{started},
			Summary: "Whether a job is completed, and its result if it is", Answer: JSONOf(wire.Maybe{}), Handle: h.getResultMaybe},
		{Method: "GET", Path: u + "get_contacts/{id}", Name: "getJobContacts", Group: "jobs", Access: User,
			Summary: "What a job contacted: names it asked for, addresses, and whether they were refused", Answer: JSONOf([]engine.Contact{}), Handle: h.getContacts},
		{Method: "GET", Path: u + "workflow_steps/{id}", Name: "getWorkflowSteps", Group: "jobs", Access: User,
			Summary: "What a workflow as code has asked for: the first 10,000 steps, tasks, sleeps and approvals", Answer: JSONOf([]engine.WorkflowStep{}), Handle: h.getWorkflowSteps},
		{Method: "POST", Path: u + "queue/cancel/{id}", Name: "cancelQueuedJob", Group: "jobs", Access: User, Body: JSONOf(wire.CancelBody{}),
			Summary: "Cancels a queued or running job", Answer: TextOf("the job's id"), Handle: h.cancelJob},
		{Method: "GET", Path: "/api/w/{workspace}/jobs/why/{id}", Name: "whyJob", Group: "jobs", Access: User,
			Summary: "Why a job is not running", Answer: JSONOf(engine.Why{}), Handle: h.whyJob},
	}
}

func (h *API) job(a *Ask, withLogs bool) (*engine.JobView, error) {
	id, err := a.jobID()
	if err != nil {
		return nil, err
	}
	return h.jobs.Get(a.Base, a.Who, a.Workspace, id, withLogs)
}

func (h *API) getJob(a *Ask) error {
	o := a.options()
	noLogs := o.on("no_logs")
	if o.err != nil {
		return o.err
	}
	v, err := h.job(a, !noLogs)
	if err != nil {
		return err
	}
	return h.answerJob(a, v)
}

func (h *API) answerJob(a *Ask, v *engine.JobView) error {
	j, err := viewJob(v)
	if err == nil {
		err = h.withFlow(a, j)
	}
	if err != nil {
		return err
	}
	return JSON(a.RequestCtx, j)
}

func (h *API) getJobArgs(a *Ask) error {
	v, err := h.job(a, false)
	if err != nil {
		return err
	}
	args := v.Args
	if len(args) == 0 {
		args = json.RawMessage("{}")
	}
	rawJSON(a.RequestCtx, fasthttp.StatusOK, args)
	return nil
}

func (h *API) getJobLogs(a *Ask) error {
	id, err := a.jobID()
	if err != nil {
		return err
	}
	o := a.options()
	offset, _ := o.whole("offset", 0, 1<<62)
	if o.err != nil {
		return o.err
	}
	text, _, err := h.jobs.Logs(a.Base, a.Who, a.Workspace, id, offset)
	if err != nil {
		return err
	}
	Text(a.RequestCtx, fasthttp.StatusOK, text)
	return nil
}

// maxDepth ends a walk through parents that form a ring.
const maxDepth = 200

func (h *API) getRootJob(a *Ask) error {
	v, err := h.job(a, false)
	for depth := 0; err == nil && v.Parent != nil && depth < maxDepth; depth++ {
		var up *engine.JobView
		up, err = h.jobs.Get(a.Base, a.Who, a.Workspace, *v.Parent, false)
		if engine.CodeOf(err) == engine.NotFound {
			err = nil // a parent that retention has taken: the chain starts here
			break
		}
		if err == nil {
			v = up
		}
	}
	if err != nil {
		return err
	}
	return JSON(a.RequestCtx, v.ID)
}

// completed returns the job, NotFound while it is not completed.
func (h *API) completed(a *Ask, withLogs bool) (*engine.JobView, error) {
	v, err := h.job(a, withLogs)
	if err == nil && !done(v.State) {
		return nil, notFound("job %s is not completed, it is %s", v.ID, v.State)
	}
	return v, err
}

func (h *API) getCompleted(a *Ask) error {
	v, err := h.completed(a, true)
	if err != nil {
		return err
	}
	return h.answerJob(a, v)
}

func (h *API) getResult(a *Ask) error {
	v, err := h.completed(a, false)
	if err != nil {
		return err
	}
	r, err := resultOf(v)
	if err != nil {
		return err
	}
	rawJSON(a.RequestCtx, fasthttp.StatusOK, r)
	return nil
}

func (h *API) getResultMaybe(a *Ask) error {
	v, err := h.job(a, false)
	if err != nil {
		return err
	}
	m := wire.Maybe{Started: v.StartedAt != nil || v.State == engine.StateRunning, Completed: done(v.State)}
	if m.Completed {
		r, err := resultOf(v)
		if err != nil {
			return err
		}
		success := v.State == engine.StateSuccess
		m.Success, m.Result = &success, &r
	}
	return JSON(a.RequestCtx, m)
}

func (h *API) cancelJob(a *Ask) error {
	id, err := a.jobID()
	if err != nil {
		return err
	}
	var c wire.CancelBody
	if len(a.PostBody()) > 0 {
		if err := a.body(&c); err != nil {
			return err
		}
	}
	if err := h.jobs.Cancel(a.Base, a.Who, a.Workspace, id, c.Reason); err != nil {
		return err
	}
	Text(a.RequestCtx, fasthttp.StatusOK, id.String())
	return nil
}

func (h *API) getContacts(a *Ask) error {
	id, err := a.jobID()
	if err != nil {
		return err
	}
	list, err := h.jobs.Contacts(a.Base, a.Who, a.Workspace, id)
	if err != nil {
		return err
	}
	if list == nil {
		list = []engine.Contact{}
	}
	return JSON(a.RequestCtx, list)
}

func (h *API) getWorkflowSteps(a *Ask) error {
	id, err := a.jobID()
	if err != nil {
		return err
	}
	list, err := h.jobs.WorkflowSteps(a.Base, a.Who, a.Workspace, id)
	if err != nil {
		return err
	}
	if list == nil {
		list = []engine.WorkflowStep{}
	}
	return JSON(a.RequestCtx, list)
}

func (h *API) whyJob(a *Ask) error {
	id, err := a.jobID()
	if err != nil {
		return err
	}
	w, err := h.jobs.Why(a.Base, a.Who, a.Workspace, id)
	if err != nil {
		return err
	}
	if w.Reasons == nil {
		w.Reasons = []string{}
	}
	return JSON(a.RequestCtx, w)
}
