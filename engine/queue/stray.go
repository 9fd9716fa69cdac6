package queue

import (
	"context"
	"sync/atomic"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
)

// A claim may be committed and its answer lost, when a connection breaks at the wrong moment. By the books the job then runs at
// this process, and nobody here has heard of it; nor would anybody rescue it, because this process lives. So for some
// heartbeats after a lost answer the books are compared with what is in hand.
type strays struct {
	looks atomic.Int32        // heartbeats for which strays are still looked for
	seen  map[uuid.UUID]int32 // attempts that were not in hand at the last look; guarded by beatMu
}

// strayLooks: the server may still have been at work when the connection broke.
const strayLooks = 4

// suspect notes that a claim may have been committed unheard.
func (q *Queue) suspect() { q.strays.looks.Store(strayLooks) }

// handBackStrays hands back the attempts that are this process's by the books and not in its hands, if they were so at the last
// heartbeat too: others are only just on their way from one to the other.
func (q *Queue) handBackStrays(ctx context.Context) error {
	s := &q.strays
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
			back = append(back, c)
		default:
			s.seen[c.Job.ID] = c.Attempt
		}
	}
	if len(back) > 0 {
		q.cfg.Log.Warn().Int("jobs", len(back)).Msg("claims whose answer was lost are queued again")
	}
	return q.handBack(ctx, back)
}
