package dispatch

import "github.com/google/uuid"

// Gate lets jobs of a lane in, one by one. It is asked by every push of such a job and must answer at once.
type Gate interface {
	// Enter lets one more job in, or says that it had better stay in the queue.
	Enter() bool
	// Leave tells that a job that was let in is over; uuid.Nil: no job came.
	Leave(job uuid.UUID)
}

// Gated describes a lane with a gate, for jobs that need something of which there are few, such as GPUs: those that would have to
// wait stay queued and take no place from jobs that need nothing of the kind.
type Gated struct {
	Tags  []string
	Slots int // more jobs are never let in
	Gate  Gate
}

// Look makes the loop look for jobs again: a gate may have opened.
func (d *Dispatcher) Look() {
	select {
	case d.kick <- struct{}{}:
	default:
	}
}

// enter takes one slot of a gated lane: how many jobs its gate lets in is known only one by one.
func (l *lane) enter() int64 {
	if l.free.Add(-1) < 0 || !l.gate.Enter() {
		l.free.Add(1)
		return 0
	}
	return 1
}

// unused gives back n slots that were taken for claims that brought no job.
func (l *lane) unused(n int64) {
	l.free.Add(n)
	if l.gate != nil && n > 0 {
		l.gate.Leave(uuid.Nil)
	}
}
