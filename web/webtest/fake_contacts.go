package webtest

import (
	"context"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
)

// WorkflowSteps implements api.Jobs: every job has called one step.
func (e *Engine) WorkflowSteps(_ context.Context, _ engine.Principal, ws string, id uuid.UUID) ([]engine.WorkflowStep, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, err := e.find(ws, id); err != nil {
		return nil, err
	}
	return []engine.WorkflowStep{{Key: "load_2", Kind: "step", State: engine.StateSuccess, EndedAt: &Hour}}, nil
}

// Contacts implements api.Jobs: every job has asked for one name and was refused one address.
func (e *Engine) Contacts(_ context.Context, _ engine.Principal, ws string, id uuid.UUID) ([]engine.Contact, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, err := e.find(ws, id); err != nil {
		return nil, err
	}
	return []engine.Contact{
		{Name: "api.example", Protocol: "dns", Count: 1},
		{Address: "10.0.0.1", Port: 5432, Protocol: "tcp", Refused: true, Count: 2},
	}, nil
}
