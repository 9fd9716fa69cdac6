package schedule

import (
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store"
)

const (
	maxDue    = 256                    // schedules that one transaction moves on
	maxTries  = 10                     // looks for the tick of a job that ended
	maxTaken  = 200                    // ticks that are taken over, released or ended at once
	busyPause = 20 * time.Millisecond  // somebody else holds what is due
	turnPause = 500 * time.Millisecond // ticks wait for runs that may end on another daemon
)

// loop sleeps until there is something to do.
func (s *Schedules) loop(ctx context.Context, changed <-chan store.Notification) {
	for ctx.Err() == nil {
		s.collect()
		pause, err := s.round(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return
			}
			s.cfg.Log.Warn().Err(err).Msg("look after schedules; will look again")
			pause = time.Second
		}
		timer, stop := s.cfg.Clock.After(pause)
		select {
		case <-ctx.Done():
		case <-timer:
		case <-s.kick:
		case <-changed:
		case id := <-s.ended:
			s.unsettled[id] = 0
		}
		stop()
	}
}

// collect takes the jobs that ended.
func (s *Schedules) collect() {
	for len(s.unsettled) < maxTaken {
		select {
		case id := <-s.ended:
			s.unsettled[id] = 0
		default:
			return
		}
	}
}

// settleEnded notes the ends that were told of. Some may be held by others: they are tried again, a few times, and then found by
// a poll.
func (s *Schedules) settleEnded(ctx context.Context) error {
	if len(s.unsettled) == 0 {
		return nil
	}
	ids := slices.Collect(maps.Keys(s.unsettled))
	found, err := s.settle(ctx, ids)
	if err != nil {
		return err
	}
	answered, err := s.settleGuards(ctx, ids)
	if err != nil {
		return err
	}
	maps.Copy(found, answered)
	for id, tries := range s.unsettled {
		if found[id] || tries == maxTries {
			delete(s.unsettled, id)
			continue
		}
		s.unsettled[id] = tries + 1
	}
	return nil
}

// round does what there is to do and returns for how long there is nothing more.
func (s *Schedules) round(ctx context.Context) (time.Duration, error) {
	now := s.cfg.Clock.Now()
	if !s.next.IsZero() && !now.Before(s.next) {
		if err := s.advance(ctx, now); err != nil {
			return 0, err
		}
	}
	if err := s.settleEnded(ctx); err != nil {
		return 0, err
	}
	pulse, err := s.cfg.DB.SchedulePulse(ctx)
	if err != nil {
		return 0, err
	}
	poll := s.poll(now)
	if pulse.Fired && (poll || pulse.Due) { // what is due may wait for them
		if _, err := s.settle(ctx, nil); err != nil {
			return 0, err
		}
	}
	if pulse.Guarded {
		if _, err := s.settleGuards(ctx, nil); err != nil {
			return 0, err
		}
	}
	if pulse.Due {
		if err := s.release(ctx); err != nil {
			return 0, err
		}
	}
	if poll && (pulse.Due || pulse.Pending) {
		if err := s.takeOver(ctx); err != nil {
			return 0, err
		}
	}
	return s.sleep(pulse), nil
}

// poll tells whether the time has come to look for what nobody told of. The clock may have jumped.
func (s *Schedules) poll(now time.Time) bool {
	if d := now.Sub(s.polls).Abs(); d < s.cfg.Poll {
		return false
	}
	s.polls = now.Add(-rand.N(s.cfg.Poll/4 + 1))
	return true
}

// sleep is how long to sleep after a pulse.
func (s *Schedules) sleep(p store.Pulse) time.Duration {
	pause := s.cfg.Poll - rand.N(s.cfg.Poll/4+1)
	if p.Due && p.Fired || p.Guarded {
		pause = min(pause, turnPause)
	}
	if len(s.unsettled) > 0 {
		pause = min(pause, busyPause)
	}
	if p.Next == nil {
		s.next = time.Time{}
		return pause
	}
	held := p.Next.Equal(s.next) // it was due, and somebody else had it
	s.next = *p.Next
	if wait := p.Next.Sub(s.cfg.Clock.Now()); wait > 0 || held {
		pause = min(pause, max(wait, busyPause))
	} else {
		pause = 0
	}
	return pause
}

// advance writes the ledger of all that is due, and pushes what is to be run.
func (s *Schedules) advance(ctx context.Context, now time.Time) error {
	for {
		var work []push
		n := 0
		err := s.cfg.DB.InTx(ctx, func(tx store.Tx) (err error) {
			work = work[:0]
			list, err := s.cfg.DB.ScheduleDue(ctx, tx, now, maxDue)
			if err != nil || len(list) == 0 {
				return err
			}
			n = len(list)
			work, err = s.write(ctx, tx, list, now)
			return err
		})
		if err != nil {
			return err
		}
		s.push(ctx, work)
		if n < maxDue {
			return nil
		}
	}
}

// write moves locked schedules on and returns what is to be pushed.
func (s *Schedules) write(ctx context.Context, tx store.Tx, list []engine.Schedule, now time.Time) ([]push, error) {
	var ticks []store.NewTick
	var moves []store.Advance
	owners := map[store.TickKey]*engine.Schedule{}
	for i := range list {
		x := &list[i]
		guarded := guardOf(x) != ""
		p, err := s.planOf(ctx, tx, x, now)
		if engine.CodeOf(err) == engine.Invalid { // it would be so for ever
			moves = append(moves, store.Advance{Workspace: x.Workspace, Path: x.Path, Error: reason(err)})
			continue
		}
		if err != nil {
			return nil, err
		}
		if p.replace {
			if err := s.cfg.DB.TickGiveUp(ctx, tx, store.TickKey{Workspace: x.Workspace, Path: x.Path}, engine.TickCoalesced, "", false); err != nil {
				return nil, err
			}
		}
		for i := range p.ticks {
			if guarded && p.ticks[i].Claimed {
				id := engine.NewJobID()
				p.ticks[i].Guard = &id
			}
		}
		ticks = append(ticks, p.ticks...)
		moves = append(moves, store.Advance{Workspace: x.Workspace, Path: x.Path, Next: p.next})
		owners[store.TickKey{Workspace: x.Workspace, Path: x.Path}] = x
	}
	var work []push
	if len(ticks) > 0 {
		fresh, err := s.cfg.DB.TickInsert(ctx, tx, ticks)
		if err != nil {
			return nil, err
		}
		for _, t := range ticks {
			if t.Claimed && fresh[t.TickKey] {
				work = append(work, push{store.TickPush{TickKey: t.TickKey, Job: *t.Job, Guard: t.Guard}, owners[store.TickKey{Workspace: t.Workspace, Path: t.Path}]})
			}
		}
	}
	return work, s.cfg.DB.ScheduleAdvance(ctx, tx, moves)
}

// planOf decides about one schedule. An error that is Invalid is the schedule's.
func (s *Schedules) planOf(ctx context.Context, tx store.Tx, x *engine.Schedule, now time.Time) (plan, error) {
	g, err := s.gridOf(x)
	if err != nil {
		return plan{}, engine.Errorf(engine.Invalid, "schedule.fire", "%v", err)
	}
	out, err := s.excluded(ctx, tx, x.Workspace, x.Calendars)
	if err != nil {
		return plan{}, err
	}
	p := planner{s: x, grid: g, out: out, now: now}
	if x.Overlap != engine.OverlapAllow {
		if p.open.waiting, p.open.running, err = s.cfg.DB.TickOpen(ctx, tx, store.TickKey{Workspace: x.Workspace, Path: x.Path}, retries(x)); err != nil {
			return plan{}, err
		}
	}
	return p.decide(), nil
}

const maxGrids = 10_000

// gridOf parses an expression once.
func (s *Schedules) gridOf(x *engine.Schedule) (*Grid, error) {
	k := gridKey{x.Cron, x.CronVersion, x.Timezone}
	if g, ok := s.grids[k]; ok {
		return g, nil
	}
	g, err := NewGrid(x.Cron, x.CronVersion, x.Timezone)
	if err != nil {
		return nil, err
	}
	if len(s.grids) >= maxGrids {
		clear(s.grids)
	}
	s.grids[k] = g
	return g, nil
}

// release pushes ticks that waited for an earlier run: the oldest when nothing is running, or all when they may overlap.
func (s *Schedules) release(ctx context.Context) error {
	keys, err := s.cfg.DB.TickWaiting(ctx, maxTaken)
	if err != nil {
		return err
	}
	for _, k := range keys {
		var work []push
		err := s.cfg.DB.InTx(ctx, func(tx store.Tx) error {
			x, err := s.cfg.DB.ScheduleLock(ctx, tx, k.Workspace, k.Path)
			if store.IsNotFound(err) {
				return nil
			}
			if err != nil {
				return err
			}
			limit := maxTaken
			if x.Overlap != engine.OverlapAllow {
				limit = 1
				if _, running, err := s.cfg.DB.TickOpen(ctx, tx, k, retries(x)); err != nil || running > 0 {
					return err
				}
			}
			list, err := s.cfg.DB.TickRelease(ctx, tx, k, limit, guardOf(x) != "")
			for _, t := range list {
				work = append(work, push{t, x})
			}
			return err
		})
		if err != nil {
			return err
		}
		if len(work) > 1 {
			s.wake() // there may be more
		}
		s.push(ctx, work)
	}
	return nil
}

// takeOver goes on with what somebody began who may be dead.
func (s *Schedules) takeOver(ctx context.Context) error {
	list, err := s.cfg.DB.TickStale(ctx, s.cfg.Late, maxTaken)
	if err != nil {
		return err
	}
	if err := s.pushAll(ctx, list); err != nil {
		return err
	}
	todo, err := s.cfg.DB.TickPending(ctx, s.cfg.Late, maxTaken)
	if err != nil {
		return err
	}
	var guarded []store.TickPush
	for _, t := range todo {
		switch t.State {
		case engine.TickDue:
			guarded = append(guarded, store.TickPush{TickKey: t.TickKey, Job: t.Job, Backfill: t.Backfill, Guard: t.Guard})
		case engine.TickFired:
			s.retry(ctx, store.TickRetry{TickKey: t.TickKey, Job: t.Job, Former: *t.Former, Due: *t.RetryAt})
		default:
			s.handle(ctx, t.TickHandler)
		}
	}
	return s.pushAll(ctx, guarded)
}
