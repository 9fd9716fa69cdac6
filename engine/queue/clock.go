package queue

import (
	"context"
	"time"
)

// Times in the queue are the server's. When somebody sets its clock, heartbeats and times due suddenly lie in the past or the
// future. Each heartbeat therefore compares how far the server's clock went with how long that took here, by a clock that
// nobody can set:
//
//	forward   everybody's heartbeat looks old: the others get the time of a lease before anybody is buried
//	back      what was due is due again in an hour, say: it is made due now
//
// Heartbeats that lie in the future are set right by whoever buries (WorkerBury).
type serverClock struct {
	now       time.Time // the server's, as of the last heartbeat
	asked, at time.Time // when that heartbeat was sent and answered, by the monotonic clock
}

// clockSlack is what a clock may go wrong between two heartbeats without anybody having set it.
const clockSlack = time.Second

// moved takes in what the server's clock says and returns how far it was set since, at least, and what it would show if it
// had not been. What is merely late, here or on the way, is no jump.
func (c *serverClock) moved(now, asked, at time.Time) (by time.Duration, without time.Time) {
	last := *c
	*c = serverClock{now: now, asked: asked, at: at}
	if last.now.IsZero() {
		return 0, now
	}
	went, least, most := now.Sub(last.now), asked.Sub(last.at), at.Sub(last.asked)
	switch {
	case went < least-clockSlack:
		return went - least, last.now.Add(least)
	case went > most+clockSlack:
		return went - most, last.now.Add(most)
	}
	return 0, now
}

// sighting is a moment by the server's clock and by the one here that nobody can set.
type sighting struct{ there, here time.Time }

// now is the server's clock as far as known here. Whether a job is due is asked of it, not of this host's clock, which may be
// hours off, and may be set. Before the first heartbeat there is no better one.
func (q *Queue) now() time.Time {
	if s := q.sighted.Load(); s != nil {
		return s.there.Add(time.Since(s.here))
	}
	return time.Now()
}

// lastBeat is what the server's clock said at the last heartbeat.
func (q *Queue) lastBeat() time.Time {
	q.beatMu.Lock()
	defer q.beatMu.Unlock()
	return q.clock.now
}

// forget has the next claims look from the beginning: what was known is by another clock.
func (l *lanes) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.all {
		e.mark, e.top = time.Time{}, time.Time{}
		e.gen++
	}
}

// clockMoved repairs what a clock that was set leaves behind; true: it was set.
func (q *Queue) clockMoved(ctx context.Context, now, asked time.Time) (bool, error) {
	at := time.Now()
	q.sighted.Store(&sighting{there: now, here: asked.Add(at.Sub(asked) / 2)})
	by, without := q.clock.moved(now, asked, at)
	if by == 0 {
		return false, nil
	}
	q.cfg.Log.Warn().Dur("by_ms", by).Msg("the database's clock was set")
	defer signal(q.look)
	q.lanes.forget()
	if by > 0 {
		return true, nil
	}
	_, err := q.cfg.DB.JobDueAgain(ctx, without)
	return true, err
}
