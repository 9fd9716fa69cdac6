package queue

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
)

// A claim may be committed and its answer lost, when a connection breaks at the wrong moment. By the books the job then runs at
// this process, and nobody here has heard of it; nor would anybody rescue it, because this process lives. So for some
// heartbeats after a lost answer the books are compared with what is in hand.
type strays struct {
	looks atomic.Int32         // heartbeats for which strays are still looked for
	seen  map[uuid.UUID]int32  // attempts that were not in hand at the last look; guarded by beatMu
	given map[uuid.UUID]parted // attempts that were handed back lately; guarded by runMu
}

// parted is an attempt that was handed back although nobody here had it in hand. Should it come into hand after all, because its answer
// was only late, it must not run: by then the job may be in another's.
type parted struct {
	attempt int32
	at      time.Time
}

// partedFor is how long that is remembered: longer than anything can be on its way.
func (q *Queue) partedFor() time.Duration { return 2*q.cfg.RetryFor + time.Minute }

// part gives an attempt up; false: it has come into hand meanwhile.
func (q *Queue) part(c *engine.Claim) bool {
	q.runMu.Lock()
	defer q.runMu.Unlock()
	if q.running[c.Job.ID].attempt == c.Attempt {
		return false
	}
	if q.strays.given == nil {
		q.strays.given = map[uuid.UUID]parted{}
	}
	q.strays.given[c.Job.ID] = parted{c.Attempt, time.Now()}
	return true
}

// forgetParted forgets attempts that were handed back long ago.
func (q *Queue) forgetParted() {
	q.runMu.Lock()
	defer q.runMu.Unlock()
	for id, p := range q.strays.given {
		if time.Since(p.at) > q.partedFor() {
			delete(q.strays.given, id)
		}
	}
}

// strayLooks: the server may still have been at work when the connection broke.
const strayLooks = 4

// suspect notes that a claim may have been committed unheard.
func (q *Queue) suspect() { q.strays.looks.Store(strayLooks) }

// handBackStrays hands back the attempts that are this process's by the books and not in its hands, if they were so at the last
// heartbeat too: others are only just on their way from one to the other.
func (q *Queue) handBackStrays(ctx context.Context) error {
	s := &q.strays
	q.forgetParted()
	if s.looks.Load() == 0 && len(s.seen) == 0 {
		return nil
	}
	mine, err := q.cfg.DB.JobRunning(ctx, q.worker.Load())
	if err != nil {
		return err
	}
	if s.looks.Load() > 0 {
		s.looks.Add(-1)
	}
	before := s.seen
	s.seen = map[uuid.UUID]int32{}
	var back []*engine.Claim
	for _, c := range mine {
		switch _, held := q.holding(c.Job.ID, c.Attempt); {
		case held:
		case before[c.Job.ID] == c.Attempt:
			if q.part(c) {
				back = append(back, c)
			}
		default:
			s.seen[c.Job.ID] = c.Attempt
		}
	}
	if len(back) > 0 {
		q.cfg.Log.Warn().Int("jobs", len(back)).Msg("claims whose answer was lost are queued again")
	}
	return q.handBack(ctx, back)
}
