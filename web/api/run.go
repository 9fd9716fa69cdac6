package api

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"time"

	"github.com/google/uuid"
	"github.com/valyala/fasthttp"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/web/wire"
)

// maxTimeout bounds what a request can ask for; a run that needs longer is a service, not a job.
const maxTimeout = 30 * 24 * 3600

// runRequest reads the options that all runs share.
func (h *API) runRequest(a *Ask) (engine.RunRequest, error) {
	o := a.options()
	r := engine.RunRequest{Workspace: a.Workspace, Trigger: "api", Tag: o.text("tag"), Parent: o.id("parent_job"), ID: o.id("job_id")}
	r.ScheduledFor = o.time("scheduled_for")
	if n, given := o.whole("scheduled_in_secs", 0, 100*365*24*3600); given {
		r.ScheduledFor = time.Now().Add(time.Duration(n) * time.Second)
	}
	if n, given := o.whole("timeout", 1, maxTimeout); given {
		r.Timeout = time.Duration(n) * time.Second
	}
	if n, given := o.whole("priority", math.MinInt16, math.MaxInt16); given {
		r.Priority = int16(n)
	}
	if n, given := o.whole("queue_limit", 0, math.MaxInt64-1); given {
		r.QueueLimit = n + 1 // refused when more than n wait
	}
	if o.err != nil {
		return r, o.err
	}
	r.IdempotencyKey = string(a.Request.Header.Peek("Idempotency-Key"))
	if len(r.IdempotencyKey) > 255 {
		return r, invalid("Idempotency-Key is over 255 bytes")
	}
	if a.windmillCLI() || string(a.Request.Header.Peek("X-Millrace-Client")) == "cli" {
		r.Trigger = "cli"
	}
	return r, nil
}

func (h *API) deployedRequest(a *Ask, byHash bool) (engine.RunRequest, error) {
	r, err := h.runRequest(a)
	if err != nil {
		return r, err
	}
	if byHash {
		r.Hash, err = a.hash()
	} else if r.Path, err = a.param("path"); err == nil {
		err = engine.CheckPath("run", r.Path)
	}
	if err != nil {
		return r, err
	}
	r.Args, err = readArgs(a.RequestCtx)
	a.preprocessed(&r)
	return r, err
}

// preprocessed has a preprocessor, if there is one, see the request, unless that says otherwise.
func (a *Ask) preprocessed(r *engine.RunRequest) {
	if r.Trigger == "api" && a.Who.Via != "job" && !a.options().on("skip_preprocessor") {
		args := r.Args
		r.Event = func() (json.RawMessage, error) { return event(a.RequestCtx, args) }
	}
}

// given is an event that came with a preview.
func given(e json.RawMessage) func() (json.RawMessage, error) {
	if len(e) == 0 || string(e) == "null" {
		return nil
	}
	return func() (json.RawMessage, error) { return e, nil }
}

// flowRequest asks for the flow at the path, or for the version that is in its place.
func (h *API) flowRequest(a *Ask, byVersion bool) (engine.RunRequest, error) {
	r, err := h.runRequest(a)
	if err != nil {
		return r, err
	}
	r.Kind = engine.KindFlow
	if byVersion {
		var n int64
		n, err = a.version()
		r.Hash = engine.Hash(n)
	} else if r.Path, err = a.param("path"); err == nil {
		err = engine.CheckPath("run", r.Path)
	}
	if err != nil {
		return r, err
	}
	r.Args, err = readArgs(a.RequestCtx)
	a.preprocessed(&r)
	return r, err
}

func (h *API) flowByPathRequest(a *Ask) (engine.RunRequest, error)    { return h.flowRequest(a, false) }
func (h *API) flowByVersionRequest(a *Ask) (engine.RunRequest, error) { return h.flowRequest(a, true) }

func (h *API) previewRequest(a *Ask) (engine.RunRequest, error) {
	r, err := h.runRequest(a)
	if err != nil {
		return r, err
	}
	var p wire.Preview
	if err := a.body(&p); err != nil {
		return r, err
	}
	if p.Content == "" || p.Language == "" {
		return r, invalid("a preview needs content and language")
	}
	if p.Timeout < 0 || p.Timeout > maxTimeout {
		return r, invalid("timeout must be from 0 to %d seconds", maxTimeout)
	}
	if p.Timeout > 0 {
		r.Timeout = time.Duration(p.Timeout) * time.Second
	}
	if p.Tag != "" {
		r.Tag = p.Tag
	}
	r.Source, r.Language, r.Path, r.Lock, r.Network, r.Event = p.Content, p.Language, p.Path, p.Lock, p.Network, given(p.Event)
	r.Args, err = jsonArgs(p.Args, false)
	return r, err
}

func (h *API) flowPreviewRequest(a *Ask) (engine.RunRequest, error) {
	r, err := h.runRequest(a)
	if err != nil {
		return r, err
	}
	var p wire.FlowPreview
	if err := a.body(&p); err != nil {
		return r, err
	}
	if len(p.Value) == 0 {
		return r, invalid("a preview of a flow needs value")
	}
	a.test, a.part = flowTest(&p)
	if p.Tag != "" {
		r.Tag = p.Tag
	}
	r.Kind, r.Source, r.Path, r.Event = engine.KindFlowPreview, string(p.Value), p.Path, given(p.Event)
	r.Args, err = jsonArgs(p.Args, false)
	return r, err
}

// lockRequest asks what a source depends on.
func (h *API) lockRequest(a *Ask) (engine.RunRequest, error) {
	var b wire.RawScripts
	if err := a.body(&b); err != nil {
		return engine.RunRequest{}, err
	}
	if len(b.RawScripts) != 1 || b.RawScripts[0].RawCode == "" || b.RawScripts[0].Language == "" {
		return engine.RunRequest{}, invalid("raw_scripts must be one script with raw_code and language")
	}
	s := b.RawScripts[0]
	return engine.RunRequest{Workspace: a.Workspace, Trigger: "api", Kind: engine.KindDependencies, Source: s.RawCode, Language: s.Language, Path: s.ScriptPath}, nil
}

// flowLockRequest asks what the scripts in a flow depend on.
func (h *API) flowLockRequest(a *Ask) (engine.RunRequest, error) {
	var b wire.RawFlow
	if err := a.body(&b); err != nil {
		return engine.RunRequest{}, err
	}
	if len(b.FlowValue) == 0 {
		return engine.RunRequest{}, invalid("flow_value is missing")
	}
	return engine.RunRequest{Workspace: a.Workspace, Trigger: "api", Kind: engine.KindFlowDependencies, Source: string(b.FlowValue), Path: b.Path}, nil
}

func (h *API) noopRequest(a *Ask) (engine.RunRequest, error) {
	r, err := h.runRequest(a)
	if err != nil {
		return r, err
	}
	r.Kind = engine.KindNoop
	r.Args, err = readArgs(a.RequestCtx)
	return r, err
}

// ask runs what request describes and answers with the job's id.
func (h *API) ask(request func(*Ask) (engine.RunRequest, error)) func(*Ask) error {
	return func(a *Ask) error {
		r, err := request(a)
		if err != nil {
			return err
		}
		id, err := h.start(a, r)
		if err != nil {
			return err
		}
		Text(a.RequestCtx, statusNew, id.String())
		return nil
	}
}

// start runs r, or the part of it that the request asks for.
func (h *API) start(a *Ask, r engine.RunRequest) (uuid.UUID, error) {
	if a.part {
		return h.flowRuns.Test(a.Base, a.Who, r, a.test)
	}
	return h.jobs.Run(a.Base, a.Who, r)
}

// askAndWait runs what request describes and answers with the result.
func (h *API) askAndWait(request func(*Ask) (engine.RunRequest, error)) func(*Ask) error {
	return func(a *Ask) error {
		r, err := request(a)
		if err != nil {
			return err
		}
		r.Awaited = true
		id, err := h.start(a, r)
		if err != nil {
			return err
		}
		a.Response.Header.Set("X-Millrace-Job", id.String())
		return h.wait(a, id)
	}
}

func (h *API) wait(a *Ask, id uuid.UUID) error {
	ctx := h.waiting.Context(h.awaiting)
	v, err := h.jobs.Wait(ctx, a.Who, a.Workspace, id)
	switch {
	case err == nil:
		return writeResult(a.RequestCtx, v)
	case errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil:
		Text(a.RequestCtx, fasthttp.StatusGatewayTimeout, "Timeout: job "+id.String()+" goes on but has no result after "+
			h.waitTimeout.String()+"; ask /api/w/"+a.Workspace+"/jobs_u/completed/get_result_maybe/"+id.String())
		return nil
	case h.awaiting.Err() != nil:
		return engine.Errorf(engine.Unavailable, "wait", "the daemon is stopping; job %s is kept", id)
	}
	return err
}

func (h *API) byPath(a *Ask) (engine.RunRequest, error) { return h.deployedRequest(a, false) }

func (h *API) byHash(a *Ask) (engine.RunRequest, error) { return h.deployedRequest(a, true) }
