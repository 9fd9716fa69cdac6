package schedule

import (
	"context"
	"sync"
	"time"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store"
)

const maxPushes = 16 // at the same time

// push is a tick that is to be pushed.
type push struct {
	store.TickPush
	schedule *engine.Schedule
}

// push pushes the jobs of claimed ticks, and of those that have one the guard.
func (s *Schedules) push(ctx context.Context, work []push) {
	var guarded, plain []push
	for _, w := range work {
		if w.Guard != nil {
			guarded = append(guarded, w)
		} else {
			plain = append(plain, w)
		}
	}
	s.ask(ctx, guarded)
	s.fire(ctx, plain)
}

// fire pushes the jobs of ticks, all at the same time, and marks those that are pushed.
func (s *Schedules) fire(ctx context.Context, work []push) {
	fired := make([]time.Time, len(work))
	room := make(chan struct{}, maxPushes)
	var wg sync.WaitGroup
	for i := range work {
		room <- struct{}{}
		wg.Go(func() {
			defer func() { <-room }()
			fired[i] = s.pushOne(ctx, &work[i])
		})
	}
	wg.Wait()
	var keys []store.TickKey
	var when []time.Time
	for i, t := range fired {
		if !t.IsZero() {
			keys, when = append(keys, work[i].TickKey), append(when, t)
		}
	}
	if len(keys) == 0 {
		return
	}
	if err := s.cfg.DB.TickFired(context.WithoutCancel(ctx), keys, when); err != nil {
		s.cfg.Log.Warn().Err(err).Msg("note fired ticks; they will be pushed again under the same ids")
		return
	}
	for i, t := range fired {
		if !t.IsZero() {
			s.watch(ctx, work[i].Job)
		}
	}
}

// pushOne pushes the job of a tick and returns when; zero: it is not pushed.
func (s *Schedules) pushOne(ctx context.Context, w *push) time.Time {
	r, err := request(w.schedule)
	if err == nil {
		r.ID, r.ScheduledFor = &w.Job, w.At
		if w.Backfill {
			r.Priority = -1
		}
		_, err = s.cfg.Jobs.Run(ctx, s.owner(w.schedule), r)
	}
	if err == nil {
		return s.cfg.Clock.Now()
	}
	if ctx.Err() != nil {
		return time.Time{}
	}
	log := s.cfg.Log.Warn().Err(err).Str("workspace", w.Workspace).Str("schedule", w.Path).Time("tick", w.At)
	if !permanent(err) {
		log.Msg("start a scheduled run; will try again")
		return time.Time{}
	}
	log.Msg("a scheduled run cannot start")
	if err := s.cfg.DB.TickFail(ctx, w.TickKey, reason(err), hopeless(err)); err != nil {
		s.cfg.Log.Warn().Err(err).Msg("note a tick that cannot be fired; will try again")
	}
	return time.Time{}
}

// request is the run that a schedule asks for.
func request(x *engine.Schedule) (engine.RunRequest, error) {
	kind, path, err := runnableOf("schedule.run", kindOf(x.IsFlow)+x.ScriptPath)
	if err != nil {
		return engine.RunRequest{}, err
	}
	return engine.RunRequest{Workspace: x.Workspace, Kind: kind, Path: path, Args: x.Args, Tag: x.Tag,
		Trigger: "schedule", TriggerPath: x.Path}, nil
}

// owner is who the runs of a schedule belong to. What the owner may was asked when the schedule was stored.
func (s *Schedules) owner(x *engine.Schedule) engine.Principal {
	name := x.EditedBy
	if len(x.PermissionedAs) > 2 {
		name = x.PermissionedAs[2:] // u/<user>
	}
	return engine.Principal{Username: name, Email: x.Email, Workspace: x.Workspace, Via: "schedule"}
}

// permanent tells whether pushing the same job again would fail again.
func permanent(err error) bool {
	switch engine.CodeOf(err) {
	case engine.Unavailable, engine.TooMany, engine.Internal:
		return false
	}
	return true
}

// hopeless tells whether the following ticks would fail too.
func hopeless(err error) bool {
	switch engine.CodeOf(err) {
	case engine.NotFound, engine.Invalid, engine.Forbidden, engine.Unauthorized:
		return true
	}
	return false
}

// reason is what an error says to people.
func reason(err error) string {
	const most = 2000
	text := err.Error()
	if len(text) > most {
		text = text[:most]
	}
	return text
}
