// Package webtest tests the HTTP front as a whole: a real Server on real sockets, asked over HTTP, over an engine that is
// a few maps. The engine is exported for other packages' tests; it is honest about ids, offsets, states and errors, and
// a script there is data: its content is the result that runs of it have.
package webtest

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
)

// Engine is an engine in memory. All fields are guarded by mu; the exported hooks are set before the server starts.
type Engine struct {
	// Work decides how a run ends. nil: the script's content is its result. Returning a nil Outcome leaves it running.
	Work func(engine.RunRequest) *engine.Outcome
	// Broken, if set, is the error of every call.
	Broken error

	mu         sync.Mutex
	jobs       map[uuid.UUID]*fakeJob
	order      []uuid.UUID
	keys       map[string]uuid.UUID
	scripts    []*engine.Script
	flows      []*engine.Flow
	tokens     map[string]engine.Token
	workspaces []engine.Workspace
	requests   []engine.RunRequest
	schedules  []engine.Schedule
	batches    map[uuid.UUID]*fakeBatch
	batchOrder []uuid.UUID
	ticks      []engine.Tick
	calendars  []engine.Calendar
	states     map[string]json.RawMessage
	asks       *engine.Approval // by the approvals of flows; nil: nothing much
	answers    []engine.Answer
	restarts   []engine.RestartRequest
	tests      []engine.FlowTest
}

type fakeJob struct {
	view    engine.JobView
	log     string
	stream  string
	done    chan struct{}
	watches map[chan struct{}]struct{}
}

// NewEngine returns an engine with a workspace main, the tokens "admin-secret", "user-secret" and "bound-secret" (bound
// to the workspace other), and one script, flow, schedule and calendar at f/demo/hello.
func NewEngine() *Engine {
	e := &Engine{jobs: map[uuid.UUID]*fakeJob{}, keys: map[string]uuid.UUID{}, tokens: map[string]engine.Token{}, states: map[string]json.RawMessage{}}
	e.workspaces = []engine.Workspace{{ID: "main", Name: "Main"}, {ID: "other", Name: "Other"}}
	e.tokens["admin-secret"] = engine.Token{Prefix: "admin-s", Username: "root", Email: "root@localhost", Admin: true}
	e.tokens["user-secret"] = engine.Token{Prefix: "user-s", Username: "ann", Email: "ann@localhost"}
	e.tokens["bound-secret"] = engine.Token{Prefix: "bound-s", Username: "ann", Email: "ann@localhost", Workspace: "other"}
	e.Deploy("f/demo/hello", `{"hello":"world"}`)
	e.DeployFlow("f/demo/hello", `{"modules":[]}`)
	e.schedules = []engine.Schedule{{Workspace: "main", Path: "f/demo/hello", Cron: "0 0 * * * *", ScriptPath: "f/demo/hello", Enabled: true, NextAt: &Hour}}
	e.ticks = []engine.Tick{{Schedule: "f/demo/hello", At: Hour.Add(-time.Hour), State: engine.TickMissed, Count: 5}}
	e.calendars = []engine.Calendar{{Workspace: "main", Path: "f/demo/hello", Days: []string{"*-12-25"}}}
	return e
}

// Deploy adds a script whose runs have content as their result.
func (e *Engine) Deploy(path, content string) engine.Hash {
	e.mu.Lock()
	defer e.mu.Unlock()
	h := engine.Hash(0x1000 + len(e.scripts))
	e.scripts = append(e.scripts, &engine.Script{Workspace: "main", Hash: h, Path: path, Content: content, Language: "mock", Kind: "script",
		CreatedBy: "root", CreatedAt: time.Now()})
	return h
}

// Requests returns what Run was asked.
func (e *Engine) Requests() []engine.RunRequest {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.requests)
}

// Forget drops all jobs and requests.
func (e *Engine) Forget() {
	e.mu.Lock()
	defer e.mu.Unlock()
	clear(e.jobs)
	clear(e.keys)
	e.order, e.requests = nil, nil
}

func (e *Engine) check(ws string) error {
	if e.Broken != nil {
		return e.Broken
	}
	for _, w := range e.workspaces {
		if w.ID == ws {
			return nil
		}
	}
	return &engine.Error{Code: engine.NotFound, Op: "workspace", Path: ws, Msg: "no such workspace"}
}

func (e *Engine) find(ws string, id uuid.UUID) (*fakeJob, error) {
	if err := e.check(ws); err != nil {
		return nil, err
	}
	if j := e.jobs[id]; j != nil && j.view.Workspace == ws {
		return j, nil
	}
	return nil, &engine.Error{Code: engine.NotFound, Op: "job.get", Path: id.String(), Msg: "no such job"}
}

// Run implements api.Jobs.
func (e *Engine) Run(_ context.Context, p engine.Principal, r engine.RunRequest) (uuid.UUID, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.check(r.Workspace); err != nil {
		return uuid.Nil, err
	}
	e.requests = append(e.requests, r)
	if id, ok := e.keys[r.IdempotencyKey]; ok && r.IdempotencyKey != "" {
		return id, nil
	}
	if err := e.room(r); err != nil {
		return uuid.Nil, err
	}
	job := engine.Job{ID: engine.NewJobID(), Workspace: r.Workspace, Kind: engine.KindScript, Path: r.Path, Hash: r.Hash, Args: r.Args,
		Language: r.Language, Source: r.Source, Tag: r.Tag, Priority: r.Priority, Parent: r.Parent, CreatedBy: p.Username, Email: p.Email,
		PermissionedAs: p.PermissionedAs(), CreatedAt: time.Now(), ScheduledFor: r.ScheduledFor, Timeout: r.Timeout, Trigger: r.Trigger, TriggerPath: r.TriggerPath}
	if r.ID != nil {
		job.ID = *r.ID
	}
	out := &engine.Outcome{State: engine.StateSuccess, Result: json.RawMessage(r.Source)}
	if r.Kind == engine.KindNoop {
		job.Kind, out.Result = engine.KindNoop, json.RawMessage("null")
	} else if r.Kind == engine.KindFlow {
		f, err := e.flow(r.Path, int64(r.Hash))
		if err != nil {
			return uuid.Nil, err
		}
		job.Kind, job.Path, job.Hash, out.Result = engine.KindFlow, f.Path, f.Hash(), f.Value
	} else if r.Source != "" {
		job.Kind = engine.KindPreview
		if r.Kind != "" {
			job.Kind = r.Kind
		}
	} else {
		s, err := e.script(r)
		if err != nil {
			return uuid.Nil, err
		}
		job.Path, job.Hash, job.Language, out.Result = s.Path, s.Hash, s.Language, json.RawMessage(s.Content)
	}
	if e.Work != nil {
		out = e.Work(r)
	}
	e.add(job, out)
	if r.IdempotencyKey != "" {
		e.keys[r.IdempotencyKey] = job.ID
	}
	return job.ID, nil
}

func (e *Engine) script(r engine.RunRequest) (*engine.Script, error) {
	for _, s := range slices.Backward(e.scripts) {
		if (r.Hash != 0 && s.Hash == r.Hash) || (r.Hash == 0 && s.Path == r.Path && !s.Archived) {
			return s, nil
		}
	}
	return nil, &engine.Error{Code: engine.NotFound, Op: "script.get", Path: r.Path, Msg: "no such script", Hint: "deploy it first"}
}

func (e *Engine) add(job engine.Job, out *engine.Outcome) {
	began := job.CreatedAt.Add(time.Millisecond)
	j := &fakeJob{view: engine.JobView{Job: job, State: engine.StateQueued}, done: make(chan struct{}), watches: map[chan struct{}]struct{}{}}
	e.jobs[job.ID] = j
	e.order = append(e.order, job.ID)
	if job.ScheduledFor.After(job.CreatedAt) {
		return
	}
	j.view.State, j.view.StartedAt, j.view.WorkerName, j.view.Attempt = engine.StateRunning, &began, "fake", 1
	if out != nil {
		e.finish(j, out)
	}
}

func (e *Engine) finish(j *fakeJob, out *engine.Outcome) {
	ended := j.view.CreatedAt.Add(3 * time.Millisecond)
	j.view.State, j.view.FinishedAt, j.view.Result = out.State, &ended, out.Result
	j.view.CanceledBy, j.view.Reason, j.view.CPU, j.view.MemoryPeak = out.CanceledBy, out.Reason, out.CPU, out.MemoryPeak
	close(j.done)
	j.signal()
}

func (j *fakeJob) signal() {
	for w := range j.watches {
		select {
		case w <- struct{}{}:
		default:
		}
	}
}

// Print appends to the log and the result stream of a running job.
func (e *Engine) Print(id uuid.UUID, log, stream string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	j := e.jobs[id]
	j.log += log
	j.stream += stream
	j.signal()
}

// Finish completes a running job.
func (e *Engine) Finish(id uuid.UUID, out engine.Outcome) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.finish(e.jobs[id], &out)
}

// Wait implements api.Jobs.
func (e *Engine) Wait(ctx context.Context, _ engine.Principal, ws string, id uuid.UUID) (*engine.JobView, error) {
	e.mu.Lock()
	j, err := e.find(ws, id)
	e.mu.Unlock()
	if err != nil {
		return nil, err
	}
	select {
	case <-j.done:
		return e.copyOf(j), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (e *Engine) copyOf(j *fakeJob) *engine.JobView {
	e.mu.Lock()
	defer e.mu.Unlock()
	v := j.view
	return &v
}

// Get implements api.Jobs.
func (e *Engine) Get(_ context.Context, _ engine.Principal, ws string, id uuid.UUID, withLogs bool) (*engine.JobView, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	j, err := e.find(ws, id)
	if err != nil {
		return nil, err
	}
	v := j.view
	if withLogs {
		v.Logs = j.log
	}
	return &v, nil
}

// List implements api.Jobs; it knows the filters of states, kinds, paths, time order and pages.
func (e *Engine) List(_ context.Context, _ engine.Principal, ws string, f engine.JobFilter) ([]*engine.JobView, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.check(ws); err != nil {
		return nil, err
	}
	var found []*engine.JobView
	for _, id := range e.order {
		v := e.jobs[id].view
		if v.Workspace == ws && selects(f, &v) {
			found = append(found, &v)
		}
	}
	if !f.Ascending {
		slices.Reverse(found)
	}
	return page(found, f.Page, f.PerPage), nil
}

func selects(f engine.JobFilter, v *engine.JobView) bool {
	return (len(f.States) == 0 || slices.Contains(f.States, v.State)) &&
		(len(f.Kinds) == 0 || slices.Contains(f.Kinds, v.Kind)) &&
		(f.PathExact == "" || f.PathExact == v.Path) && (f.Schedule == "" || f.Schedule == v.TriggerPath) && strings.HasPrefix(v.Path, f.PathStart) &&
		(f.CreatedBefore.IsZero() || v.CreatedAt.Before(f.CreatedBefore))
}

func page[T any](all []T, n, per int) []T {
	from := min((max(n, 1)-1)*per, len(all))
	return all[from:min(from+per, len(all))]
}
