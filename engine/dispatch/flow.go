package dispatch

import (
	"context"

	"github.com/millrace/millrace/engine"
)

// begun makes a run of a flow's job. False: it is no flow, or one that cannot be begun, which is executed as a job that says why.
func (d *Dispatcher) begun(c *engine.Claim) bool {
	if d.cfg.Flows == nil || (c.Job.Kind != engine.KindFlow && c.Job.Kind != engine.KindFlowPreview) {
		return false
	}
	err := d.cfg.Flows.Begin(context.Background(), c)
	switch {
	case err == nil:
		return true
	case engine.CodeOf(err) == engine.Unavailable:
		d.cfg.Log.Warn().Err(err).Stringer("job", c.Job.ID).Msg("begin a flow; it is handed back")
		if err := d.queue.HandBack(context.Background(), []*engine.Claim{c}); err != nil {
			d.cfg.Log.Warn().Err(err).Stringer("job", c.Job.ID).Msg("hand job back; the rescuer will find it")
		}
		return true
	}
	c.Broken = err
	return false
}

// ofFlow stores the outcome of a step. When its flow is not there any more, retention has taken it, the outcome is stored alone.
func (d *Dispatcher) ofFlow(ctx context.Context, l *lane, c *engine.Claim, out engine.Outcome) (bool, *engine.Claim, error) {
	var tags []string
	if l.gate == nil && d.taking.Load() {
		tags = l.tags
	}
	accepted, next, err := d.cfg.Flows.Finish(ctx, c, out, tags)
	if engine.CodeOf(err) == engine.NotFound {
		accepted, err = d.queue.Finish(ctx, out)
		return accepted, nil, err
	}
	return accepted, next, err
}
