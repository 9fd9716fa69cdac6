package webtest

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
)

// Signature is the one that links of the fake engine have.
const Signature = "5161"

// FlowRuns makes an Engine the front's FlowRuns: a flow there has one step, a, which waits for approval.
type FlowRuns struct{ *Engine }

// Status implements api.FlowRuns.
func (e FlowRuns) Status(_ context.Context, _ engine.Principal, ws string, id uuid.UUID) (*engine.FlowStatus, json.RawMessage, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, err := e.find(ws, id); err != nil {
		return nil, nil, err
	}
	return &engine.FlowStatus{Step: 1, Modules: []engine.FlowStatusModule{{ID: "a", Type: engine.ModuleSuccess}, {ID: "a-v", Type: engine.ModuleWaitsForEvents, Count: 1}},
		FailureModule: engine.FlowStatusModule{ID: "failure", Type: engine.ModuleWaitsForPrior}}, json.RawMessage(`{"modules":[]}`), nil
}

// UserState implements api.FlowRuns.
func (e FlowRuns) UserState(_ context.Context, _ engine.Principal, ws string, id uuid.UUID, key string) (json.RawMessage, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, err := e.find(ws, id); err != nil {
		return nil, err
	}
	if v := e.states[key]; v != nil {
		return v, nil
	}
	return json.RawMessage("null"), nil
}

// SetUserState implements api.FlowRuns.
func (e FlowRuns) SetUserState(_ context.Context, _ engine.Principal, ws string, id uuid.UUID, key string, value json.RawMessage) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, err := e.find(ws, id); err != nil {
		return err
	}
	if !json.Valid(value) {
		return engine.Errorf(engine.Invalid, "flow.state", "the value is not JSON")
	}
	e.states[key] = value
	return nil
}

// Sign implements api.FlowRuns.
func (e FlowRuns) Sign(_ context.Context, _ engine.Principal, l engine.ApprovalLink) (string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	_, err := e.find(l.Workspace, l.Job)
	return Signature, err
}

// URLs implements api.FlowRuns.
func (e FlowRuns) URLs(ctx context.Context, p engine.Principal, l engine.ApprovalLink) (*engine.ApprovalURLs, error) {
	s, err := e.Sign(ctx, p, l)
	return &engine.ApprovalURLs{ApprovalPage: "http://mill/approve/" + s, Resume: "http://mill/resume/" + s, Cancel: "http://mill/cancel/" + s}, err
}

// Vote implements api.FlowRuns.
func (e FlowRuns) Vote(_ context.Context, who engine.Principal, a engine.Answer) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if a.Signature != Signature {
		return engine.Errorf(engine.Forbidden, "flow.approve", "the link is not valid")
	}
	if e.asks != nil && e.asks.Login && who.Username == "" {
		return engine.Errorf(engine.Unauthorized, "flow.approve", "this approval needs an account")
	}
	return e.answered(who, a)
}

// Resume implements api.FlowRuns.
func (e FlowRuns) Resume(_ context.Context, who engine.Principal, a engine.Answer) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.answered(who, a)
}

func (e FlowRuns) answered(who engine.Principal, a engine.Answer) error {
	if _, err := e.find(a.Workspace, a.Job); err != nil {
		return err
	}
	if len(a.Payload) > 0 && !json.Valid(a.Payload) {
		return engine.Errorf(engine.Invalid, "flow.approve", "the answer is not JSON")
	}
	if who.Username != "" {
		a.Approver = who.Username
	}
	e.answers = append(e.answers, a)
	return nil
}

// Answers returns what Vote and Resume were told.
func (e *Engine) Answers() []engine.Answer {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.answers)
}

// Ask sets what the approvals of flows ask.
func (e *Engine) Ask(a *engine.Approval) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.asks = a
}

// Approval implements api.FlowRuns.
func (e FlowRuns) Approval(_ context.Context, a engine.Answer) (*engine.Approval, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if a.Signature != Signature {
		return nil, engine.Errorf(engine.Forbidden, "flow.approve", "the link is not valid")
	}
	if _, err := e.find(a.Workspace, a.Job); err != nil {
		return nil, err
	}
	out := engine.Approval{State: engine.ApprovalWaiting, Step: "a", Required: 1}
	if e.asks != nil {
		out = *e.asks
	}
	out.Workspace, out.Flow = a.Workspace, a.Job
	for _, one := range e.answers {
		if one.Job == a.Job && one.ResumeID == a.ResumeID {
			out.State, out.Mine = engine.ApprovalAnswered, &engine.Answered{Approved: one.Approved, Approver: one.Approver, At: Hour}
		}
	}
	return &out, nil
}

// Waiting implements api.FlowRuns.
func (e FlowRuns) Waiting(_ context.Context, _ engine.Principal, a engine.Answer) (*engine.JobView, []engine.FlowApprover, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if a.Signature != Signature {
		return nil, nil, engine.Errorf(engine.Forbidden, "flow.approve", "the link is not valid")
	}
	j, err := e.find(a.Workspace, a.Job)
	if err != nil {
		return nil, nil, err
	}
	v := j.view
	return &v, []engine.FlowApprover{}, nil
}

// Restart implements api.FlowRuns.
func (e FlowRuns) Restart(_ context.Context, _ engine.Principal, ws string, id uuid.UUID, r engine.RestartRequest) (uuid.UUID, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.restarts = append(e.restarts, r)
	_, err := e.find(ws, id)
	return id, err
}

// Restarts returns what Restart was asked.
func (e *Engine) Restarts() []engine.RestartRequest {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.restarts)
}

// Test implements api.FlowRuns.
func (e FlowRuns) Test(ctx context.Context, p engine.Principal, run engine.RunRequest, t engine.FlowTest) (uuid.UUID, error) {
	e.mu.Lock()
	e.tests = append(e.tests, t)
	e.mu.Unlock()
	return e.Run(ctx, p, run)
}

// Tests returns what Test was asked.
func (e *Engine) Tests() []engine.FlowTest {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.tests)
}
