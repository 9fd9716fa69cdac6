// Package api is the HTTP API: it decodes requests, asks the engine and encodes answers, in Windmill's paths and
// shapes. It holds no state but counters. One file a resource; Routes is the contents page, from which the OpenAPI
// document is made too.
//
// Errors are one line of text ("Not found: u/ann/etl: no such script"), whatever the route; what answers JSON says so
// in its content type; ids and hashes of what was made are plain text. Arguments and results pass as the bytes they are.
package api

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"time"

	"github.com/fasthttp/router"
	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/deadline"
	"github.com/millrace/millrace/web/session"
	"github.com/millrace/millrace/web/wire"
)

// Config is what the API needs. All but Metrics and WaitTimeout must be given.
type Config struct {
	Auth        Authenticator
	Jobs        Jobs
	FlowRuns    FlowRuns
	Scripts     Scripts
	Flows       Flows
	Schedules   Schedules
	Batches     Batches
	Values      Values
	Tokens      Tokens
	Workspaces  Workspaces
	People      People
	Health      Health
	Metrics     Metrics
	Version     string            // of Millrace
	Endings     map[string]string // of source files, by language
	WaitTimeout time.Duration     // how long run_wait_result waits; zero: 60 s
	Base        context.Context   // ends when requests must be given up
	Log         zerolog.Logger
}

// API answers requests. It is safe for concurrent use.
type API struct {
	jobs        Jobs
	flowRuns    FlowRuns
	scripts     Scripts
	flows       Flows
	schedules   Schedules
	batches     Batches
	values      Values
	tokens      Tokens
	workspaces  Workspaces
	people      People
	health      Health
	metrics     Metrics
	sessions    *session.Resolver
	version     string
	endings     map[string]string
	waitTimeout time.Duration
	waiting     *deadline.Shared // the same, for those who wait
	base        context.Context
	log         zerolog.Logger
	draining    chan struct{}   // closed by Drain
	awaiting    context.Context // of those who wait for results
	drained     context.CancelCauseFunc
	streams     atomic.Int64    // open event streams
	answered    [5]atomic.Int64 // requests by class of status, written by Count
}

// New checks cfg and returns an API.
func New(cfg Config) (*API, error) {
	switch {
	case cfg.Auth == nil:
		return nil, errors.New("web/api: Auth is missing")
	case cfg.Jobs == nil:
		return nil, errors.New("web/api: Jobs is missing")
	case cfg.FlowRuns == nil:
		return nil, errors.New("web/api: FlowRuns is missing")
	case cfg.Scripts == nil:
		return nil, errors.New("web/api: Scripts is missing")
	case cfg.Flows == nil:
		return nil, errors.New("web/api: Flows is missing")
	case cfg.Schedules == nil:
		return nil, errors.New("web/api: Schedules is missing")
	case cfg.Batches == nil:
		return nil, errors.New("web/api: Batches is missing")
	case cfg.Values == nil:
		return nil, errors.New("web/api: Values is missing")
	case cfg.Tokens == nil:
		return nil, errors.New("web/api: Tokens is missing")
	case cfg.Workspaces == nil:
		return nil, errors.New("web/api: Workspaces is missing")
	case cfg.People == nil:
		return nil, errors.New("web/api: People is missing")
	case cfg.Health == nil:
		return nil, errors.New("web/api: Health is missing")
	case len(cfg.Endings) == 0:
		return nil, errors.New("web/api: Endings is missing")
	case cfg.WaitTimeout < 0:
		return nil, errors.New("web/api: WaitTimeout is negative")
	}
	if cfg.WaitTimeout == 0 {
		cfg.WaitTimeout = time.Minute
	}
	if cfg.Base == nil {
		cfg.Base = context.Background()
	}
	awaiting, drained := context.WithCancelCause(cfg.Base)
	return &API{jobs: cfg.Jobs, flowRuns: cfg.FlowRuns, scripts: cfg.Scripts, flows: cfg.Flows, schedules: cfg.Schedules, batches: cfg.Batches, values: cfg.Values, tokens: cfg.Tokens,
		workspaces: cfg.Workspaces, people: cfg.People, health: cfg.Health,
		metrics: cfg.Metrics, sessions: session.New(cfg.Auth), version: cfg.Version, endings: cfg.Endings, waitTimeout: cfg.WaitTimeout, waiting: deadline.New(cfg.WaitTimeout),
		base: cfg.Base, log: cfg.Log, draining: make(chan struct{}), awaiting: awaiting, drained: drained}, nil
}

// Routes is the contents page.
func (h *API) Routes() []Route {
	var all []Route
	for _, group := range [][]Route{
		h.healthRoutes(),    // version, health, ready, metrics
		h.userRoutes(),      // whoami, tokens
		h.workspaceRoutes(), // exists, list, create
		h.archiveRoutes(),   // a workspace as files
		h.memberRoutes(),    // list, get, add, update, delete
		h.groupRoutes(),     // list, get, create, update, delete, add and remove somebody
		h.scriptRoutes(),    // create, get, list, history, archive, delete
		h.flowRoutes(),      // create, update, get, list, history, archive, delete
		h.runRoutes(),       // run, run and wait, preview
		h.jobRoutes(),       // get, result, logs, cancel, why
		h.flowRunRoutes(),   // states of flows, approvals, restarts
		h.updateRoutes(),    // polls and event streams
		h.batchRoutes(),     // run, list, get, progress, results, cancel, rerun
		h.listRoutes(),      // lists and counts of jobs
		h.scheduleRoutes(),  // create, update, get, list, ticks, pause, preview, backfill
		h.calendarRoutes(),  // put, get, list, delete
		h.workerRoutes(),    // list
		h.variableRoutes(),  // create, update, get, value, list, delete
		h.resourceRoutes(),  // the same, and values with what they refer to
		h.resourceTypeRoutes(),
	} {
		all = append(all, group...)
	}
	return all
}

func (h *API) runRoutes() []Route {
	const j = "/api/w/{workspace}/jobs/"
	args := AnyJSON("the arguments as an object; anything else becomes the argument body")
	id, result := TextOf("the job's id"), AnyJSON("the result, byte for byte; 500 with {\"error\": ...} when the job failed, 504 when it takes longer than the server waits")
	get := join([]Param{payloadParam}, runParams)
	on, onGet := join(runParams, []Param{skipPreprocessor}), join(get, []Param{skipPreprocessor})
	return []Route{
		{Method: "POST", Path: j + "run/p/{path:*}", Name: "runScriptByPath", Group: "run", Access: User, Params: on, Status: statusNew,
			Summary: "Runs a script", Body: args, Answer: id, Handle: h.ask(h.byPath)},
		{Method: "POST", Path: j + "run/h/{hash}", Name: "runScriptByHash", Group: "run", Access: User, Params: on, Status: statusNew,
			Summary: "Runs one version of a script", Body: args, Answer: id, Handle: h.ask(h.byHash)},
		{Method: "POST", Path: j + "run/preview", Name: "runScriptPreview", Group: "run", Access: User, Params: runParams, Status: statusNew,
			Summary: "Runs source that is not deployed", Body: JSONOf(wire.Preview{}), Answer: id, Handle: h.ask(h.previewRequest)},
		{Method: "POST", Path: j + "run/dependencies_async", Name: "runRawScriptDependenciesAsync", Group: "run", Access: User, Status: statusNew,
			Summary: "Resolves what a source depends on; the result of the job has lock", Body: JSONOf(wire.RawScripts{}), Answer: id, Handle: h.ask(h.lockRequest)},
		{Method: "POST", Path: j + "run/flow_dependencies_async", Name: "runFlowDependenciesAsync", Group: "run", Access: User, Status: statusNew,
			Summary: "The same for the scripts in a flow; the result of the job has updated_flow_value", Body: JSONOf(wire.RawFlow{}), Answer: id, Handle: h.ask(h.flowLockRequest)},
		{Method: "POST", Path: j + "run/noop", Name: "runNoop", Group: "run", Access: User, Params: runParams, Status: statusNew,
			Summary: "Runs a job that does nothing, to measure everything around it", Body: args, Answer: id, Handle: h.ask(h.noopRequest)},
		{Method: "POST", Path: j + "run_wait_result/noop", Name: "runWaitResultNoop", Group: "run", Access: User, Params: runParams,
			Summary: "The same and waits for its end", Body: args, Answer: result, Handle: h.askAndWait(h.noopRequest)},
		{Method: "POST", Path: j + "run_wait_result/p/{path:*}", Name: "runWaitResultScriptByPath", Group: "run", Access: User, Params: on,
			Summary: "Runs a script and answers its result", Body: args, Answer: result, Handle: h.askAndWait(h.byPath)},
		{Method: "GET", Path: j + "run_wait_result/p/{path:*}", Name: "runWaitResultScriptByPathGet", Group: "run", Access: User, Params: onGet,
			Summary: "The same with arguments in the query", Answer: result, Handle: h.askAndWait(h.byPath)},
		{Method: "POST", Path: j + "run_wait_result/h/{hash}", Name: "runWaitResultScriptByHash", Group: "run", Access: User, Params: on,
			Summary: "Runs one version of a script and answers its result", Body: args, Answer: result, Handle: h.askAndWait(h.byHash)},
		{Method: "GET", Path: j + "run_wait_result/h/{hash}", Name: "runWaitResultScriptByHashGet", Group: "run", Access: User, Params: onGet,
			Summary: "The same with arguments in the query", Answer: result, Handle: h.askAndWait(h.byHash)},
		{Method: "POST", Path: j + "run/f/{path:*}", Name: "runFlowByPath", Group: "run", Access: User, Params: on, Status: statusNew,
			Summary: "Runs a flow", Body: args, Answer: id, Handle: h.ask(h.flowByPathRequest)},
		{Method: "POST", Path: j + "run/fv/{version}", Name: "runFlowByVersion", Group: "run", Access: User, Params: on, Status: statusNew,
			Summary: "Runs one version of a flow", Body: args, Answer: id, Handle: h.ask(h.flowByVersionRequest)},
		{Method: "POST", Path: j + "run_wait_result/f/{path:*}", Name: "runWaitResultFlowByPath", Group: "run", Access: User, Params: on,
			Summary: "Runs a flow and answers its result", Body: args, Answer: result, Handle: h.askAndWait(h.flowByPathRequest)},
		{Method: "GET", Path: j + "run_wait_result/f/{path:*}", Name: "runWaitResultFlowByPathGet", Group: "run", Access: User, Params: onGet,
			Summary: "The same with arguments in the query", Answer: result, Handle: h.askAndWait(h.flowByPathRequest)},
		{Method: "POST", Path: j + "run_wait_result/fv/{version}", Name: "runWaitResultFlowByVersion", Group: "run", Access: User, Params: on,
			Summary: "Runs one version of a flow and answers its result", Body: args, Answer: result, Handle: h.askAndWait(h.flowByVersionRequest)},
		{Method: "GET", Path: j + "run_wait_result/fv/{version}", Name: "runWaitResultFlowByVersionGet", Group: "run", Access: User, Params: onGet,
			Summary: "The same with arguments in the query", Answer: result, Handle: h.askAndWait(h.flowByVersionRequest)},
		{Method: "POST", Path: j + "run/preview_flow", Name: "runFlowPreview", Group: "run", Access: User, Params: runParams, Status: statusNew,
			Summary: "Runs a flow that is not deployed", Body: JSONOf(wire.FlowPreview{}), Answer: id, Handle: h.ask(h.flowPreviewRequest)},
		{Method: "POST", Path: j + "run_wait_result/preview_flow", Name: "runWaitResultFlowPreview", Group: "run", Access: User, Params: runParams,
			Summary: "Runs a flow that is not deployed and answers its result", Body: JSONOf(wire.FlowPreview{}), Answer: result, Handle: h.askAndWait(h.flowPreviewRequest)},
		{Method: "POST", Path: j + "run_wait_result/preview", Name: "runWaitResultScriptPreview", Group: "run", Access: User, Params: runParams,
			Summary: "Runs source that is not deployed and answers its result", Body: JSONOf(wire.Preview{}), Answer: result, Handle: h.askAndWait(h.previewRequest)},
	}
}

// Mount binds routes to r.
func (h *API) Mount(r *router.Router, routes []Route) {
	for _, rt := range routes {
		r.Handle(rt.Method, rt.Path, h.enter(rt))
		if rt.Method == fasthttp.MethodGet && rt.Access == Public {
			r.Handle(fasthttp.MethodHead, rt.Path, h.enter(rt)) // for probes; other routes may cost something
		}
	}
}

// enter is the door of every route: who asks, may they, in which workspace.
func (h *API) enter(rt Route) fasthttp.RequestHandler {
	inWorkspace := strings.Contains(rt.Path, "{workspace}")
	return func(ctx *fasthttp.RequestCtx) {
		a := &Ask{RequestCtx: ctx, Base: h.base}
		err := h.admit(a, rt.Access, inWorkspace)
		if err == nil {
			err = rt.Handle(a)
		}
		if err != nil {
			h.fail(ctx, err)
		}
	}
}

func (h *API) admit(a *Ask, access Access, inWorkspace bool) error {
	if access == Public {
		return nil
	}
	var err error
	if a.Who, err = h.sessions.Who(h.base, a.RequestCtx); err != nil {
		if access != Link || engine.CodeOf(err) != engine.Unauthorized || h.sessions.Claims(a.RequestCtx) {
			return err
		}
	}
	if access == Admin && !a.Who.Admin {
		return engine.Errorf(engine.Forbidden, "access", "only administrators may do this")
	}
	if !inWorkspace {
		return nil
	}
	if a.Workspace, err = a.param("workspace"); err != nil {
		return err
	}
	if a.Who.Workspace != "" && a.Who.Workspace != a.Workspace {
		return engine.Errorf(engine.Forbidden, "access", "this token is bound to workspace %s", a.Who.Workspace)
	}
	return nil
}

// Drain ends event streams and long polls, so that their clients go elsewhere. It is idempotent but not concurrent.
func (h *API) Drain() {
	select {
	case <-h.draining:
	default:
		close(h.draining)
	}
}

// Drained answers those who wait for results that no job which runs here could bring any more.
func (h *API) Drained() { h.drained(engine.ErrDrained) }

// Count counts an answer.
func (h *API) Count(status int) {
	if class := status/100 - 1; class >= 0 && class < len(h.answered) {
		h.answered[class].Add(1)
	}
}
