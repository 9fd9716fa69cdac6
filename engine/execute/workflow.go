package execute

import (
	"context"
	"errors"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/pool"
	"github.com/millrace/millrace/engine/workflow"
)

// conversation is what a run has with the workflows of this process; it may be none.
type conversation struct{ session *workflow.Session }

// workflow lets a task ask for steps and jobs.
func (x *Executor) workflow(c *engine.Claim, t *pool.Task) conversation {
	if x.cfg.Workflows == nil {
		return conversation{}
	}
	s := x.cfg.Workflows(c)
	t.OnAsk = func(ask []byte, of pool.Process) { s.Ask(ask, of) }
	t.OnLeave = s.Hurry
	t.Replay = s.Replays()
	return conversation{s}
}

// ended looks why the process of a workflow has ended: with an outcome, because it waits, or because it could not go on.
func (c conversation) ended(ctx context.Context, res *pool.Result, out *engine.Outcome) error {
	if c.session == nil {
		return nil
	}
	waits, err := c.session.Outcome()
	if res.Stopped != pool.StoppedSuspended {
		waits, err = nil, nil
	}
	c.session.Close(waits == nil && !errors.Is(context.Cause(ctx), ErrShutdown) || isCanceled(ctx))
	out.Suspended = waits
	return err
}

// again says whether the run is to be repeated because its process has ended under it, and prepares for that. Nobody knows whether a
// suspect is to blame for it: in a process of its own it can only harm itself.
func (c conversation) again(res pool.Result, t *pool.Task, p *program) bool {
	if c.session == nil || res.Stopped != pool.StoppedLost && res.Stopped != pool.StoppedSuspect {
		return false
	}
	if res.Stopped == pool.StoppedSuspect {
		p.share = nil
	}
	c.session.Restart()
	t.Replay = true
	return true
}

// lost ends the conversation of a run that the host has failed.
func (c conversation) lost(ctx context.Context) {
	if c.session != nil {
		c.session.Close(!errors.Is(context.Cause(ctx), ErrShutdown))
	}
}

func isCanceled(ctx context.Context) bool {
	var canceled *Canceled
	return errors.As(context.Cause(ctx), &canceled)
}
