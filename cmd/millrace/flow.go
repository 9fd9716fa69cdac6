package main

import (
	"context"
	"encoding/json"
	"os"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/bus"
	"github.com/millrace/millrace/engine/expr"
	"github.com/millrace/millrace/engine/flow/runner"
	"github.com/millrace/millrace/engine/queue"
)

// flows is the runner for the parts that are made before it.
type flows struct{ *runner.Runner }

// intake takes what is asked for: flows begin as they are pushed.
type intake struct {
	*queue.Queue
	flows *flows
}

// Push implements jobs.Queue.
func (a intake) Push(ctx context.Context, j *engine.Job) (engine.PushResult, error) {
	return a.flows.Push(ctx, j)
}

func (f *flows) answer(ctx context.Context, id uuid.UUID) (json.RawMessage, bool, error) {
	return f.Runner.Answer(ctx, id)
}

func (f *flows) folder(ctx context.Context, j *engine.Job) (uuid.UUID, error) {
	return f.Runner.Folder(ctx, j)
}

func (f *flows) squash(ctx context.Context, j *engine.Job) (string, error) {
	return f.Runner.Squash(ctx, j)
}

// expressions makes the evaluator of flows. What it must be able to kill runs in processes of this very binary.
func (d *daemon) expressions() *expr.Evaluator {
	cfg := expr.Config{}
	if self, err := os.Executable(); err == nil {
		cfg.Helper = []string{self}
	} else {
		d.log.Warn().Err(err).Msg("expressions of flows run inside of the daemon, where one that never ends cannot be stopped")
	}
	e := expr.New(cfg)
	d.onStop(func(context.Context) { e.Close() })
	return e
}

// ended tells those who wait of a run's end.
func ended(signals *bus.Bus, q *queue.Queue, log zerolog.Logger) func(*engine.Job, engine.Outcome) {
	return func(j *engine.Job, o engine.Outcome) {
		now := time.Now()
		started := j.CreatedAt
		signals.PublishDone(&engine.JobView{Job: *j, State: o.State, Attempt: o.Attempt, StartedAt: &started, FinishedAt: &now, Result: o.Result,
			CanceledBy: o.CanceledBy, Reason: o.Reason})
		if j.Trigger == engine.TriggerWorkflow && j.Parent != nil {
			if err := q.WakeWorkflow(context.Background(), *j.Parent, j.ID); err != nil {
				log.Warn().Err(err).Stringer("job", *j.Parent).Msg("wake a workflow; it looks by itself after a while")
			}
		}
	}
}
