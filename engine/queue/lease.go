package queue

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store"
)

// The lease of all jobs of a process is the heartbeat of its row in worker. A worker whose heartbeat is older than Lease is
// marked as gone by whoever sees it, for ever: should it only have been slow, it registers anew under another number, and
// what it still runs is refused at Finish. Jobs of workers that are gone are rescued: queued again, or failed when that has
// happened to them too often: a job that kills its worker must not go round for ever. A loss counts in full when the worker had
// that job alone, and a quarter when it had others, too: with MaxLost 3 the fourth loss of a job that is always alone ends it, and the
// 13th of one that never is. Any number of processes may rescue at the same time.

// orphansEvery is how often jobs are looked for whose worker is gone although nobody was marked as gone just now.
const orphansEvery = time.Minute

// beatAgain is how long after a heartbeat that failed the next one is tried.
const beatAgain = time.Second

// beat keeps the lease, and looks after those that lost theirs.
func (q *Queue) beat(ctx context.Context) {
	tick := time.NewTicker(q.cfg.Heartbeat)
	defer tick.Stop()
	steady := time.Now() // since when heartbeats have been going well
	var swept, homes time.Time
	for {
		set, err := q.beatOnce(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			q.cfg.Log.Warn().Err(err).Msg("heartbeat; will try again")
			steady = time.Time{}
			tick.Reset(min(q.cfg.Heartbeat, beatAgain))
		case steady.IsZero() || set:
			steady = time.Now()
		}
		// After an outage, or when the clock was set, everybody's heartbeat is old: give the others the time of a lease to come back.
		if err == nil && time.Since(steady) >= q.cfg.Lease {
			n, err := q.cfg.DB.WorkerBury(ctx, q.lastBeat(), q.cfg.Lease)
			if err != nil && ctx.Err() == nil {
				q.cfg.Log.Warn().Err(err).Msg("look for dead workers; will try again")
			}
			if n > 0 || time.Since(swept) > orphansEvery {
				q.rescue(ctx)
				swept = time.Now()
				homes = time.Time{}
			}
			if time.Since(homes) > q.cfg.Lease {
				homes = time.Now()
				q.sweepHomes(ctx)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-q.beatNow:
		case <-tick.C:
		}
		tick.Reset(q.cfg.Heartbeat) // two looks for strays are a heartbeat apart
	}
}

// beatOnce renews the lease and catches up on what messages may have missed; set: the server's clock was set since the last one.
func (q *Queue) beatOnce(ctx context.Context) (set bool, err error) {
	q.beatMu.Lock()
	defer q.beatMu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, max(q.cfg.Lease/3, time.Second))
	defer cancel()
	q.runMu.Lock()
	busy, unsure := len(q.running), q.unsure
	q.unsure = nil
	q.runMu.Unlock()
	asked := time.Now()
	others, now, err := q.cfg.DB.WorkerBeat(ctx, q.worker.Load(), busy, q.executed.Load(), q.cfg.Lease)
	if store.IsNotFound(err) {
		err = q.comeBack(ctx)
	} else if err == nil {
		q.others.Store(int32(others))
		set, err = q.clockMoved(ctx, now, asked)
	}
	if err == nil {
		err = q.handBackStrays(ctx)
	}
	if len(unsure) > 0 {
		err = errors.Join(err, q.handBack(ctx, unsure))
	}
	return set, errors.Join(err, q.killCanceled(ctx))
}

// comeBack registers anew after this process was given up. Its jobs are others' by now: they are stopped here.
func (q *Queue) comeBack(ctx context.Context) error {
	id, err := q.cfg.DB.WorkerInsert(ctx, q.info)
	if err != nil {
		return err
	}
	q.cfg.Log.Warn().Int32("was", q.worker.Load()).Int32("now", id).Msg("this worker was taken for dead; its jobs were given to others")
	q.worker.Store(id)
	q.executed.Store(0)
	q.runMu.Lock()
	lost := q.running
	q.running = map[uuid.UUID]held{}
	q.runMu.Unlock()
	for job := range lost {
		if q.cfg.OnCancel != nil {
			q.cfg.OnCancel(job, "system", "the worker was taken for dead")
		}
	}
	q.rescue(ctx) // what was inserted under the old number since
	return nil
}

// rescue takes the jobs of workers that are gone.
func (q *Queue) rescue(ctx context.Context) {
	lost := failure("WorkerLost", "the worker that ran the job vanished, again and again")
	canceled := failure("Canceled", "canceled, and then its worker vanished")
	r, err := q.cfg.DB.JobRescue(ctx, q.cfg.MaxLost, lost, canceled)
	if err != nil && ctx.Err() == nil {
		q.cfg.Log.Warn().Err(err).Msg("rescue jobs; will try again")
	}
	q.admit(ctx, r.Gates)
	if err := q.endLostSteps(ctx); err != nil && ctx.Err() == nil {
		q.cfg.Log.Warn().Err(err).Msg("end steps of workers that are gone; will try again")
	}
	if r.Requeued == 0 && len(r.Ended) == 0 {
		return
	}
	q.cfg.Log.Warn().Int64("requeued", r.Requeued).Int("ended", len(r.Ended)).Msg("rescued jobs of a worker that is gone")
	if r.Requeued > 0 {
		signal(q.look)
		q.news.all()
		q.left()
	}
}

// buryPredecessors marks workers of this host whose process is no more as gone at once, so that after a crash and restart
// nobody waits for a lease to run out.
func (q *Queue) buryPredecessors(ctx context.Context, me int32) {
	list, err := q.cfg.DB.WorkerList(ctx, 10*365*24*time.Hour)
	if err != nil {
		q.cfg.Log.Warn().Err(err).Msg("look for predecessors; their leases will run out")
		return
	}
	for _, w := range list {
		if w.ID == me || !q.dead(w) {
			continue
		}
		if err := q.cfg.DB.WorkerLeave(ctx, w.ID); err != nil {
			q.cfg.Log.Warn().Err(err).Msg("bury a predecessor; its lease will run out")
			continue
		}
		q.rescue(ctx)
	}
}

// dead says whether w was a process of this host that is no more. A process under this one's own number can only be an
// earlier one, unless it is this one (tests run several workers in a process).
func (q *Queue) dead(w engine.WorkerView) bool {
	if w.Host != q.info.Host || w.PID <= 0 || w.PID == q.info.PID {
		return false
	}
	return errors.Is(syscall.Kill(w.PID, 0), syscall.ESRCH) || isZombie(w.PID)
}

// isZombie says whether pid has ended and only waits for its parent to ask. In a container the first process, which inherits
// orphans, may take its time.
func isZombie(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	_, after, _ := bytes.Cut(stat[bytes.LastIndexByte(stat, ')')+1:], []byte(" ")) // the name before it may hold anything
	return bytes.HasPrefix(after, []byte("Z"))
}
