package schedule

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store"
)

// A schedule's dynamic_skip is its guard: a script that is asked before each tick's job. Its id is in the line of the tick before it is
// pushed; while it has not answered the tick is due, and counts as one that is on its way.

// guardOf is the path of the script that is a schedule's guard; "": none.
func guardOf(x *engine.Schedule) string {
	var path string
	if json.Unmarshal(x.Extra["dynamic_skip"], &path) != nil {
		return ""
	}
	return path
}

// checkGuard verifies that dynamic_skip is the path of a script that p may run.
func (s *Schedules) checkGuard(ctx context.Context, p engine.Principal, op string, x *engine.Schedule) error {
	raw := x.Extra["dynamic_skip"]
	if len(raw) == 0 || isNull(raw) {
		return nil
	}
	var path string
	if json.Unmarshal(raw, &path) != nil {
		return engine.Errorf(engine.Invalid, op, "dynamic_skip must be the path of a script")
	}
	if path == "" {
		return nil
	}
	return s.checkRunnable(ctx, p, op, x.Workspace, "script/"+path)
}

// ask pushes the guards of ticks, all at the same time.
func (s *Schedules) ask(ctx context.Context, work []push) {
	asked := make([]bool, len(work))
	room := make(chan struct{}, maxPushes)
	var wg sync.WaitGroup
	for i := range work {
		room <- struct{}{}
		wg.Go(func() {
			defer func() { <-room }()
			asked[i] = s.askOne(ctx, &work[i])
		})
	}
	wg.Wait()
	var guards []uuid.UUID
	for i := range work {
		if asked[i] {
			guards = append(guards, *work[i].Guard)
		}
	}
	if len(guards) == 0 {
		return
	}
	if err := s.cfg.DB.TickGuarded(context.WithoutCancel(ctx), guards); err != nil {
		s.cfg.Log.Warn().Err(err).Msg("note guards of ticks; they will be pushed again under the same ids")
		return
	}
	for _, id := range guards {
		s.watch(ctx, id)
	}
}

// askOne pushes the guard of a tick; false: it is not pushed. A tick whose guard cannot be asked runs.
func (s *Schedules) askOne(ctx context.Context, w *push) bool {
	x := w.schedule
	path := guardOf(x)
	err := s.pushGuard(ctx, w, path)
	if err == nil {
		return true
	}
	if ctx.Err() != nil {
		return false
	}
	log := s.cfg.Log.Warn().Err(err).Str("workspace", w.Workspace).Str("schedule", w.Path).Time("tick", w.At)
	if !permanent(err) {
		log.Msg("ask whether a scheduled run is to be skipped; will try again")
		return false
	}
	log.Msg("cannot ask whether a scheduled run is to be skipped; it runs")
	v := store.TickVerdict{Guard: *w.Guard, Run: true, Why: fmt.Sprintf("not asked: dynamic_skip %s: %s", path, reason(err))}
	if path == "" {
		v.Why = "" // taken away meanwhile
	}
	won := map[uuid.UUID]bool{}
	err = s.cfg.DB.InTx(ctx, func(tx store.Tx) (err error) {
		won, err = s.cfg.DB.TickGuardEnd(ctx, tx, []store.TickVerdict{v})
		return err
	})
	if err != nil {
		s.cfg.Log.Warn().Err(err).Msg("note that a tick runs unasked; will try again")
		return false
	}
	if won[*w.Guard] {
		w.Guard = nil
		s.push(ctx, []push{*w})
	}
	return false
}

func (s *Schedules) pushGuard(ctx context.Context, w *push, path string) error {
	x := w.schedule
	if path == "" {
		return engine.Errorf(engine.Invalid, "schedule.dynamic_skip", "it was taken away")
	}
	args, err := json.Marshal(map[string]string{"scheduled_for": w.At.UTC().Format(time.RFC3339Nano), "schedule_path": x.Path, "script_path": x.ScriptPath})
	if err != nil {
		return engine.Errorf(engine.Invalid, "schedule.dynamic_skip", "%v", err)
	}
	r := engine.RunRequest{Workspace: x.Workspace, Kind: engine.KindScript, Path: path, Args: args, ID: w.Guard,
		Trigger: "schedule_guard", TriggerPath: x.Path}
	if w.Backfill {
		r.Priority = -1
	}
	_, err = s.cfg.Jobs.Run(ctx, s.owner(x), r)
	return err
}

// settleGuards goes on with ticks whose guard is done, of the given guards or, with nil, of all, and returns whose it has noted.
func (s *Schedules) settleGuards(ctx context.Context, guards []uuid.UUID) (map[uuid.UUID]bool, error) {
	found := map[uuid.UUID]bool{}
	for {
		var work []store.TickPush
		n := 0
		err := s.cfg.DB.InTx(ctx, func(tx store.Tx) error {
			work = work[:0]
			list, err := s.cfg.DB.TickGuardEnded(ctx, tx, guards, maxTaken)
			if err != nil || len(list) == 0 {
				return err
			}
			n = len(list)
			verdicts := make([]store.TickVerdict, n)
			for i := range list {
				t := &list[i]
				verdicts[i] = verdict(t)
				found[*t.Guard] = true
				if verdicts[i].Run {
					t.Guard = nil
					work = append(work, t.TickPush)
				}
			}
			_, err = s.cfg.DB.TickGuardEnd(ctx, tx, verdicts)
			return err
		})
		if err != nil {
			return nil, err
		}
		if err := s.pushAll(ctx, work); err != nil {
			return nil, err
		}
		if n < maxTaken {
			return found, nil
		}
	}
}

// verdict is what follows from an answer: true runs, false skips. Whatever else comes does not keep a schedule from running, but is
// said in the ledger.
func verdict(t *store.TickAnswer) store.TickVerdict {
	v := store.TickVerdict{Guard: *t.Guard, Run: true}
	switch answer := string(bytes.TrimSpace(t.Result)); {
	case !t.Live:
		v.Run, v.Why = false, "the schedule was switched off"
	case !t.Success:
		v.Why = fmt.Sprintf("dynamic_skip failed (job %s), so the tick was run", v.Guard)
	case answer == "false":
		v.Run, v.Why = false, "skipped by "+t.Skip
	case answer != "true":
		v.Why = fmt.Sprintf("dynamic_skip answered neither true nor false (job %s), so the tick was run", v.Guard)
	}
	return v
}

// pushAll pushes claimed ticks, or their guards, of whatever schedules.
func (s *Schedules) pushAll(ctx context.Context, list []store.TickPush) error {
	type name struct{ ws, path string }
	schedules := map[name]*engine.Schedule{}
	var work []push
	for _, t := range list {
		k := name{t.Workspace, t.Path}
		if _, ok := schedules[k]; !ok {
			x, err := s.cfg.DB.ScheduleGet(ctx, t.Workspace, t.Path)
			if err != nil && !store.IsNotFound(err) {
				return err
			}
			schedules[k] = x // nil: deleted meanwhile, with its ticks
		}
		if x := schedules[k]; x != nil {
			work = append(work, push{t, x})
		}
	}
	s.push(ctx, work)
	return nil
}
