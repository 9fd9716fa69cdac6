package api

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"math"
	"strconv"

	"github.com/google/uuid"
	"github.com/valyala/fasthttp"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/web/wire"
)

// FlowRuns is what people and clients see of flows at work, and do to them.
type FlowRuns interface {
	// Status is how far a flow is, and what it runs.
	Status(ctx context.Context, p engine.Principal, ws string, id uuid.UUID) (*engine.FlowStatus, json.RawMessage, error)
	UserState(ctx context.Context, p engine.Principal, ws string, id uuid.UUID, key string) (json.RawMessage, error)
	SetUserState(ctx context.Context, p engine.Principal, ws string, id uuid.UUID, key string, value json.RawMessage) error
	Sign(ctx context.Context, p engine.Principal, l engine.ApprovalLink) (string, error)
	URLs(ctx context.Context, p engine.Principal, l engine.ApprovalLink) (*engine.ApprovalURLs, error)
	// Vote answers by a link; who is the zero Principal when nobody knows who asks.
	Vote(ctx context.Context, who engine.Principal, a engine.Answer) error
	// Resume answers whatever a flow waits for.
	Resume(ctx context.Context, who engine.Principal, a engine.Answer) error
	// Approval is what the page behind a link shows.
	Approval(ctx context.Context, a engine.Answer) (*engine.Approval, error)
	// Waiting is the flow that a link is for, and who has approved so far.
	Waiting(ctx context.Context, who engine.Principal, a engine.Answer) (*engine.JobView, []engine.FlowApprover, error)
	Restart(ctx context.Context, p engine.Principal, ws string, id uuid.UUID, r engine.RestartRequest) (uuid.UUID, error)
	Test(ctx context.Context, p engine.Principal, run engine.RunRequest, t engine.FlowTest) (uuid.UUID, error)
}

func (h *API) flowRunRoutes() []Route {
	const j, u = "/api/w/{workspace}/jobs/", "/api/w/{workspace}/jobs_u/"
	approver := query("approver", "string", "whom the link is for; it is part of what is signed")
	level := query("flow_level", "boolean", "for the flow of the job: it counts for whichever of its steps asks")
	payload := query("payload", "string", "base64 of a JSON value, which the next step sees as resume")
	return []Route{
		{Method: "GET", Path: j + "flow/user_states/{id}/{key}", Name: "getFlowUserState", Group: "flows", Access: User,
			Summary: "A value that a step of a flow has left; null when there is none", Answer: AnyJSON("the value"), Handle: h.getUserState},
		{Method: "POST", Path: j + "flow/user_states/{id}/{key}", Name: "setFlowUserState", Group: "flows", Access: User,
			Summary: "Leaves a value for the other steps of a flow", Body: AnyJSON("the value"), Answer: TextOf("the key"), Handle: h.setUserState},
		{Method: "GET", Path: j + "job_signature/{id}/{resume_id}", Name: "createJobSignature", Group: "flows", Access: User, Params: []Param{approver},
			Summary: "The signature of a link to an approval", Answer: TextOf("the signature"), Handle: h.signJob},
		{Method: "GET", Path: j + "resume_urls/{id}/{resume_id}", Name: "getResumeUrls", Group: "flows", Access: User, Params: []Param{approver, level},
			Summary: "Links by which a flow that waits for approval is answered", Answer: JSONOf(engine.ApprovalURLs{}), Handle: h.resumeURLs},
		{Method: "GET", Path: j + "wac_approval_urls/{id}/{step_key}", Name: "getWacApprovalUrls", Group: "flows", Access: User, Params: []Param{approver},
			Summary: "Links by which an approval of a workflow as code is answered", Answer: JSONOf(engine.ApprovalURLs{}), Handle: h.stepURLs},
		{Method: "GET", Path: u + "resume/{id}/{resume_id}/{signature}", Name: "resumeSuspendedJobGet", Group: "flows", Access: Link, Params: []Param{payload, approver},
			Summary: "Approves", Answer: TextOf("what was done"), Handle: h.vote(true)},
		{Method: "POST", Path: u + "resume/{id}/{resume_id}/{signature}", Name: "resumeSuspendedJobPost", Group: "flows", Access: Link, Params: []Param{approver}, Status: statusNew,
			Summary: "Approves", Body: AnyJSON("what the next step sees as resume"), Answer: TextOf("what was done"), Handle: h.vote(true)},
		{Method: "GET", Path: u + "cancel/{id}/{resume_id}/{signature}", Name: "cancelSuspendedJobGet", Group: "flows", Access: Link, Params: []Param{payload, approver},
			Summary: "Refuses", Answer: TextOf("what was done"), Handle: h.vote(false)},
		{Method: "POST", Path: u + "cancel/{id}/{resume_id}/{signature}", Name: "cancelSuspendedJobPost", Group: "flows", Access: Link, Params: []Param{approver}, Status: statusNew,
			Summary: "Refuses", Body: AnyJSON("a reason"), Answer: TextOf("what was done"), Handle: h.vote(false)},
		{Method: "GET", Path: u + "get_flow/{id}/{resume_id}/{signature}", Name: "getSuspendedJobFlow", Group: "flows", Access: Link, Params: []Param{approver},
			Summary: "The flow that a link is for, and who has approved", Answer: JSONOf(wire.WaitingFlow{}), Handle: h.getSuspendedFlow},
		{Method: "POST", Path: j + "flow/resume/{id}", Name: "resumeSuspendedFlowAsOwner", Group: "flows", Access: User, Status: statusNew,
			Summary: "Approves what a flow waits for", Body: AnyJSON("what the next step sees as resume"), Answer: TextOf("what was done"), Handle: h.resumeAsOwner},
		{Method: "POST", Path: u + "flow/resume_suspended/{id}", Name: "resumeSuspended", Group: "flows", Access: User, Status: statusNew, Body: JSONOf(wire.ResumeBody{}),
			Summary: "Approves or refuses what a flow waits for", Answer: TextOf("what was done"), Handle: h.resumeSuspended},
		{Method: "POST", Path: j + "restart/f/{id}", Name: "restartFlowAtStep", Group: "flows", Access: User, Status: statusNew, Body: JSONOf(wire.Restart{}),
			Summary: "Runs a flow again from one of its steps on", Answer: TextOf("the new job's id"), Handle: h.restartFlow},
	}
}

func (h *API) getUserState(a *Ask) error {
	id, key, err := a.stateKey()
	if err != nil {
		return err
	}
	v, err := h.flowRuns.UserState(a.Base, a.Who, a.Workspace, id, key)
	if err != nil {
		return err
	}
	rawJSON(a.RequestCtx, fasthttp.StatusOK, v)
	return nil
}

func (h *API) setUserState(a *Ask) error {
	id, key, err := a.stateKey()
	if err != nil {
		return err
	}
	value := append(json.RawMessage(nil), a.PostBody()...)
	if len(value) == 0 {
		value = json.RawMessage("null")
	}
	if err := h.flowRuns.SetUserState(a.Base, a.Who, a.Workspace, id, key, value); err != nil {
		return err
	}
	Text(a.RequestCtx, fasthttp.StatusOK, key)
	return nil
}

func (a *Ask) stateKey() (id uuid.UUID, key string, err error) {
	if id, err = a.jobID(); err == nil {
		key, err = a.param("key")
	}
	return id, key, err
}

// link reads what a link names.
func (a *Ask) link() (l engine.ApprovalLink, err error) {
	l.Workspace = a.Workspace
	if l.Job, err = a.jobID(); err != nil {
		return l, err
	}
	s, err := a.param("resume_id")
	if err != nil {
		return l, err
	}
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return l, invalid("resume_id must be a whole number from 0 to %d", uint32(math.MaxUint32))
	}
	l.ResumeID = int64(n)
	o := a.options()
	l.Approver, l.FlowLevel = o.text("approver"), o.on("flow_level")
	return l, o.err
}

// Answer reads a link with its signature.
func (a *Ask) Answer() (out engine.Answer, err error) {
	l, err := a.link()
	if err != nil {
		return out, err
	}
	out = engine.Answer{Workspace: l.Workspace, Job: l.Job, ResumeID: l.ResumeID, Approver: l.Approver}
	out.Signature, err = a.param("signature")
	return out, err
}

func (h *API) signJob(a *Ask) error {
	l, err := a.link()
	if err != nil {
		return err
	}
	s, err := h.flowRuns.Sign(a.Base, a.Who, l)
	if err != nil {
		return err
	}
	Text(a.RequestCtx, fasthttp.StatusOK, s)
	return nil
}

func (h *API) resumeURLs(a *Ask) error {
	l, err := a.link()
	if err != nil {
		return err
	}
	urls, err := h.flowRuns.URLs(a.Base, a.Who, l)
	if err != nil {
		return err
	}
	return JSON(a.RequestCtx, urls)
}

func (h *API) stepURLs(a *Ask) error {
	id, err := a.jobID()
	if err != nil {
		return err
	}
	key, err := a.param("step_key")
	if err != nil {
		return err
	}
	urls, err := h.flowRuns.URLs(a.Base, a.Who, engine.ApprovalLink{Workspace: a.Workspace, Job: id, Step: key, Approver: a.options().text("approver")})
	if err != nil {
		return err
	}
	return JSON(a.RequestCtx, urls)
}

func (h *API) vote(approved bool) func(*Ask) error {
	return func(a *Ask) error {
		answer, err := a.Answer()
		if err != nil {
			return err
		}
		answer.Approved = approved
		if answer.Payload, err = a.answered(); err != nil {
			return err
		}
		if err := h.flowRuns.Vote(a.Base, a.Who, answer); err != nil {
			return err
		}
		said(a, approved)
		return nil
	}
}

// answered is what an answer brings: the body, or the query's payload.
func (a *Ask) answered() (json.RawMessage, error) {
	if !a.IsGet() {
		return append(json.RawMessage(nil), a.PostBody()...), nil
	}
	text := a.QueryArgs().Peek("payload")
	if len(text) == 0 {
		return nil, nil
	}
	for _, e := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
		if b, err := e.DecodeString(string(text)); err == nil {
			return b, nil
		}
	}
	return nil, invalid("payload is not base64 of a JSON value")
}

func said(a *Ask, approved bool) {
	status, text := fasthttp.StatusOK, "The flow was told: refused."
	if approved {
		text = "The flow was told: approved."
	}
	if !a.IsGet() {
		status = statusNew
	}
	Text(a.RequestCtx, status, text)
}

func (h *API) getSuspendedFlow(a *Ask) error {
	answer, err := a.Answer()
	if err != nil {
		return err
	}
	v, approvers, err := h.flowRuns.Waiting(a.Base, a.Who, answer)
	if err != nil {
		return err
	}
	job, err := viewJob(v)
	if err != nil {
		return err
	}
	return JSON(a.RequestCtx, wire.WaitingFlow{Job: job, Approvers: approvers})
}

func (h *API) resumeAsOwner(a *Ask) error {
	return h.resume(a, append(json.RawMessage(nil), a.PostBody()...), true)
}

func (h *API) resumeSuspended(a *Ask) error {
	var b wire.ResumeBody
	if len(a.PostBody()) > 0 {
		if err := a.body(&b); err != nil {
			return err
		}
	}
	return h.resume(a, b.Payload, b.Approved == nil || *b.Approved)
}

func (h *API) resume(a *Ask, payload json.RawMessage, approved bool) error {
	id, err := a.jobID()
	if err != nil {
		return err
	}
	answer := engine.Answer{Workspace: a.Workspace, Job: id, Approved: approved, Payload: payload}
	if err := h.flowRuns.Resume(a.Base, a.Who, answer); err != nil {
		return err
	}
	said(a, approved)
	return nil
}

func (h *API) restartFlow(a *Ask) error {
	id, err := a.jobID()
	if err != nil {
		return err
	}
	var b wire.Restart
	if err := a.body(&b); err != nil {
		return err
	}
	if b.StepID == "" {
		return invalid("a restart needs step_id")
	}
	fresh, err := h.flowRuns.Restart(a.Base, a.Who, a.Workspace, id, engine.RestartRequest{Step: b.StepID, Item: b.Item, Nested: nested(b.Nested),
		Version: string(b.FlowVersion), Args: b.Args, UpTo: b.UpTo})
	if err != nil {
		return err
	}
	Text(a.RequestCtx, statusNew, fresh.String())
	return nil
}

func nested(n *wire.RestartNested) *engine.RestartRequest {
	if n == nil {
		return nil
	}
	return &engine.RestartRequest{Step: n.StepID, Item: n.Item, Nested: nested(n.Nested)}
}

// flowTest reads which part of a flow that is not deployed runs; false: all of it.
func flowTest(p *wire.FlowPreview) (t engine.FlowTest, part bool) {
	t = engine.FlowTest{UpTo: p.UpTo, Only: p.OnlyStep, FromRun: p.FromRun, FromItem: p.FromItem}
	if r := p.RestartedFrom; r != nil {
		t.FromRun, t.Restart = &r.FlowJobID, &engine.RestartRequest{Step: r.StepID, Item: r.Item, Nested: nested(r.Nested)}
	}
	return t, p.UpTo != "" || p.OnlyStep != "" || p.FromRun != nil || p.RestartedFrom != nil
}

// withFlow adds to a job what flows have.
func (h *API) withFlow(a *Ask, j *wire.Job) (err error) {
	if isFlow(j.JobKind) {
		j.FlowStatus, j.RawFlow, err = h.flowRuns.Status(a.Base, a.Who, a.Workspace, j.ID)
	}
	return err
}

func isFlow(kind engine.JobKind) bool {
	return kind == engine.KindFlow || kind == engine.KindFlowPreview
}
