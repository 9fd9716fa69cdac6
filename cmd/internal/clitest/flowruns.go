package clitest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/web/client"
)

func (d *Daemon) flowRunRoutes(mux *http.ServeMux) {
	const w = "/api/w/main/jobs/"
	mux.HandleFunc("POST "+w+"run/preview_flow", d.previewFlow)
	mux.HandleFunc("POST "+w+"restart/f/{id}", d.restartFlow)
	mux.HandleFunc("POST /api/w/main/jobs_u/flow/resume_suspended/{id}", d.resumeFlow)
}

// previewFlow runs a flow that is not deployed: what runs is named after the part of it that was asked for.
func (d *Daemon) previewFlow(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	var p client.FlowPreview
	if err := json.Unmarshal(body, &p); err != nil {
		http.Error(w, "Bad request: the body is not a flow", http.StatusBadRequest)
		return
	}
	d.Lock()
	defer d.Unlock()
	what := "the flow"
	switch {
	case p.UpTo != "":
		what += " up to " + p.UpTo
	case p.OnlyStep != "":
		what += ", only " + p.OnlyStep
	}
	if p.FromRun != nil {
		what += " from run " + p.FromRun.String()
	}
	out := d.Run(what, p.Args)
	out.Logs = what + "\n"
	w.WriteHeader(http.StatusCreated)
	fmt.Fprint(w, d.add(&client.Job{JobKind: "flowpreview", ScriptPath: &p.Path, Args: p.Args, RawFlow: p.Value}, out))
}

// restartFlow runs a job again; what was asked for becomes its arguments.
func (d *Daemon) restartFlow(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	d.Lock()
	defer d.Unlock()
	j := d.find(w, r)
	if j == nil {
		return
	}
	if j.Success == nil {
		http.Error(w, "Conflict: the flow has not ended; cancel it first", http.StatusConflict)
		return
	}
	w.WriteHeader(http.StatusCreated)
	fmt.Fprint(w, d.add(&client.Job{JobKind: j.JobKind, ScriptPath: j.ScriptPath, Args: body, RawFlow: j.RawFlow}, d.Run("again", body)))
}

// resumeFlow ends a flow that waits, with what it is told as the result.
func (d *Daemon) resumeFlow(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	d.Lock()
	defer d.Unlock()
	j := d.find(w, r)
	if j == nil {
		return
	}
	if j.Success != nil {
		http.Error(w, "Conflict: the flow does not wait for approval", http.StatusConflict)
		return
	}
	var said client.ResumeBody
	if err := json.Unmarshal(body, &said); err != nil || said.Approved == nil {
		http.Error(w, "Bad request: the body is not an answer", http.StatusBadRequest)
		return
	}
	if len(said.Payload) == 0 {
		said.Payload = json.RawMessage("null")
	}
	result, end := said.Payload, Noon.Add(time.Second)
	j.Success, j.Result, j.CompletedAt, j.Status, j.Type = said.Approved, &result, &end, "success", "CompletedJob"
	if !*said.Approved {
		j.Status = "failure"
	}
	d.end(j.ID)
	w.WriteHeader(http.StatusCreated)
	fmt.Fprint(w, "The flow was told.")
}

// asFlow gives a flow that ended as o says its steps: a, a loop b of three iterations of which one fails, and c.
func asFlow(j *client.Job, o Outcome) {
	if j.JobKind != "flow" && j.JobKind != "flowpreview" {
		return
	}
	yes, no, ms := true, false, func(f float64) *float64 { return &f }
	at := func(ms int) *time.Time { t := Noon.Add(time.Duration(ms) * time.Millisecond); return &t }
	step, three := uuid.MustParse("00000000-0000-7000-8000-00000000000c"), 3
	last := client.FlowModule{ID: "c", Type: engine.ModuleSuccess, Job: &step, StartedAt: at(2500), DurationMS: ms(61000)}
	switch {
	case o.Failed:
		last.Type = engine.ModuleFailure
	case o.Forever:
		last = client.FlowModule{ID: "c", Type: engine.ModuleWaitsForEvents, Count: 2}
	}
	j.FlowStatus = &client.FlowStatus{Step: 3, FailureModule: client.FlowModule{ID: "failure", Type: engine.ModuleWaitsForPrior}, Modules: []client.FlowModule{
		{ID: "a", Type: engine.ModuleSuccess, StartedAt: at(0), DurationMS: ms(35)},
		{ID: "b", Type: engine.ModuleSuccess, Iterator: &engine.FlowIterator{Index: 2, Len: &three}, FlowJobs: []uuid.UUID{step, step, step},
			JobsSuccess: []*bool{&yes, &no, &yes}, JobsDuration: &engine.FlowDurations{StartedAt: []*time.Time{at(40), at(50), at(60)}, DurationMS: []*float64{ms(10), ms(20), ms(2400)}}},
		last}}
}

// halfway is the status of a flow while its loop is at work; nil: of what is no flow.
func halfway(j *client.Job) *client.FlowStatus {
	if j.FlowStatus == nil {
		return nil
	}
	if j.Success == nil {
		return j.FlowStatus
	}
	s := *j.FlowStatus
	s.Modules = append([]client.FlowModule{}, s.Modules...)
	s.Modules[1] = client.FlowModule{ID: "b", Type: engine.ModuleInProgress, Iterator: s.Modules[1].Iterator, FlowJobs: s.Modules[1].FlowJobs[:1], JobsSuccess: []*bool{nil}}
	s.Modules[2] = client.FlowModule{ID: "c", Type: engine.ModuleWaitsForPrior}
	return &s
}

// AddStep makes the job that the steps of flows here have run as; a Run may call it.
func (d *Daemon) AddStep(id uuid.UUID, step, language, logs string) {
	started, end, yes := Noon.Add(1200*time.Microsecond), Noon.Add(4700*time.Microsecond), true
	d.jobs[id] = &client.Job{ID: id, JobKind: "script", FlowStepID: step, Language: language, Logs: logs, CreatedAt: Noon, StartedAt: &started, CompletedAt: &end, Success: &yes}
}
