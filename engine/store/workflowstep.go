package store

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/millrace/millrace/engine"
)

// WorkflowSteps lists what a workflow has asked for, without results, in its order; the first 10,000.
func (db *DB) WorkflowSteps(ctx context.Context, job uuid.UUID) (out []engine.WorkflowStep, err error) {
	err = db.read(ctx, func() error {
		rows, err := db.quick.Query(ctx, q("CheckpointSteps"), [16]byte(job))
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, readWorkflowStep)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the steps of job %s: %w", job, err)
	}
	return out, nil
}

func readWorkflowStep(row pgx.CollectableRow) (s engine.WorkflowStep, err error) {
	var ok, over *bool
	var at time.Time
	var due, finished, answered *time.Time
	var state *int16
	err = row.Scan(&s.Key, &s.Kind, &ok, &s.Job, &s.Tries, &at, &due, &over, &state, &finished, &answered, &s.Approved)
	s.StartedAt, s.State = &at, engine.StateWaiting
	switch {
	case s.Kind == "step":
		s.StartedAt, s.EndedAt = nil, &at
	case state != nil:
		s.State, s.EndedAt = stateName(int64(*state)), finished
	case answered != nil:
		s.EndedAt = answered
	case over != nil && *over:
		s.EndedAt = due
	}
	switch {
	case state != nil || s.EndedAt == nil:
	case ok != nil && !*ok || s.Kind == "approval" && answered == nil:
		s.State = engine.StateFailure
	default:
		s.State = engine.StateSuccess
	}
	return s, err
}
