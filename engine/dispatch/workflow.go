package dispatch

import (
	"context"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
)

// parked is how many workflows may wait in this process without a slot, roughly: package workflow ends those that are too many.
const parked = 1024

// place is the slot of a running job, which a workflow leaves to others while it waits for them. When it takes it back, one more job may
// run than there are slots, until the next one ends.
type place struct {
	d *Dispatcher
	l *lane
}

func (p place) Leave()  { p.d.release(p.l, uuid.Nil) }
func (p place) Return() { p.l.free.Add(-1) }

// slot is the place of a job; of a lane with a gate it is kept, because what the gate gives out is still the job's.
func (d *Dispatcher) slot(l *lane) engine.Slot {
	if l.gate != nil {
		return nil
	}
	return place{d, l}
}

// suspend lets go of a workflow that waits. False: it is to be handed back.
func (d *Dispatcher) suspend(c *engine.Claim, s *engine.Suspension) bool {
	ok, err := d.cfg.Workflows.Suspend(context.Background(), c, s)
	if err != nil {
		d.cfg.Log.Warn().Err(err).Stringer("job", c.Job.ID).Msg("suspend a workflow; it is queued instead")
	}
	return ok
}

// taskOver tells a workflow that the job of one of its tasks is over, if its process is not here and has heard of it.
func (d *Dispatcher) taskOver(j *engine.Job) {
	if d.cfg.Workflows == nil || j.Trigger != engine.TriggerWorkflow || j.Parent == nil {
		return
	}
	d.mu.Lock()
	_, here := d.running[*j.Parent]
	d.mu.Unlock()
	if here {
		return
	}
	if err := d.cfg.Workflows.WakeWorkflow(context.Background(), *j.Parent, j.ID); err != nil {
		d.cfg.Log.Warn().Err(err).Stringer("job", *j.Parent).Msg("wake a workflow; it looks by itself after a while")
	}
}
