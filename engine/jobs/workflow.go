package jobs

import (
	"context"
	"strings"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/flow/format"
	"github.com/millrace/millrace/engine/flow/runner"
)

// steps knows what workflows have asked for.
type steps interface {
	WorkflowSteps(ctx context.Context, job uuid.UUID) ([]engine.WorkflowStep, error)
}

// WorkflowSteps is what a workflow as code has asked for so far; of another job it is nothing.
func (s *Jobs) WorkflowSteps(ctx context.Context, p engine.Principal, ws string, id uuid.UUID) ([]engine.WorkflowStep, error) {
	_, err := s.Get(ctx, p, ws, id, false) // says who may know, and whether there is such a job
	if err != nil || s.cfg.Steps == nil {
		return nil, err
	}
	return s.cfg.Steps.WorkflowSteps(ctx, id)
}

// Task fills in what runs a deployed script, or a flow, for a workflow that runs as j's owner.
func (s *Jobs) Task(ctx context.Context, j *engine.Job, path string, flow bool) error {
	if !flow {
		err := s.Step(ctx, j, runner.StepOf{Module: &format.Module{Value: &format.Script{Path: path, TagOverride: j.Tag}}})
		if err == nil && j.Debounce != nil {
			err = &engine.Error{Code: engine.Invalid, Op: "workflow.task", Path: path, Msg: "the script is debounced, which tasks of workflows cannot be"}
		}
		return err
	}
	owner := engine.Principal{Username: strings.TrimPrefix(j.PermissionedAs, "u/"), Email: j.Email, Workspace: j.Workspace, Via: "job"}
	if err := s.cfg.Gate.Can(owner, "run", j.Workspace, path); err != nil {
		return err
	}
	j.Kind = engine.KindFlow
	return s.versionTarget(ctx, engine.RunRequest{Workspace: j.Workspace, Path: path}, j)
}
