package schedule

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store/storetest"
)

const guard = "f/ops/skip"

func guarded(x *engine.Schedule) {
	x.Extra = map[string]json.RawMessage{"dynamic_skip": json.RawMessage(`"` + guard + `"`)}
}

// guard is the run that decides about the nth line.
func (w *world) guard(s *Schedules, n int) uuid.UUID {
	w.t.Helper()
	l := w.ledger(s)
	if n >= len(l) || l[n].Guard == nil {
		w.t.Fatalf("line %d of %d has no guard", n, len(l))
	}
	return *l[n].Guard
}

// answer ends a guard with a result, or "": as failed.
func (w *world) answer(id uuid.UUID, result string) {
	w.t.Helper()
	state := 2
	if result == "" {
		state, result = 3, `{"error":{"name":"Boom"}}`
	}
	storetest.Exec(w.t, w.db, fmt.Sprintf(`insert into done (id, finished_at, worker, attempt, state, cpu_us, memory_peak, log_off, result)
		values ('%s', now(), 1, 1, %d, 0, 0, 0, '%s')`, id, state, result))
}

func TestGuard(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.daemon()
	w.create(s, guarded)
	for i, c := range []struct {
		answer string
		state  engine.TickState
		why    string
	}{{"true", engine.TickFired, ""}, {"false", engine.TickSkipped, "skipped by " + guard}, {"", engine.TickFired, "dynamic_skip failed"},
		{`"false"`, engine.TickFired, "neither true nor false"}, {"null", engine.TickFired, "neither true nor false"}} {
		w.pass(time.Minute, s)
		asked := w.runs()[len(w.runs())-1]
		var args map[string]any
		if err := json.Unmarshal(asked.Args, &args); err != nil {
			t.Fatal(err)
		}
		if asked.Path != guard || *asked.ID != w.guard(s, i) || args["schedule_path"] != path || args["script_path"] != script ||
			args["scheduled_for"] != w.clock.Now().Format(time.RFC3339) || len(args) != 3 || asked.Trigger == "schedule" {
			t.Errorf("asked %+v %v", asked, args)
		}
		if l := w.ledger(s); l[i].State != engine.TickDue {
			t.Errorf("line %+v", l[i])
		}
		w.clock.set(w.clock.Now().Add(time.Second))
		w.answer(w.guard(s, i), c.answer)
		w.work(s)
		l := w.ledger(s)[i]
		if l.State != c.state || !strings.Contains(l.Error, c.why) || (c.why == "") != (l.Error == "") {
			t.Errorf("%s: line %+v", c.answer, l)
		}
		if last := w.runs()[len(w.runs())-1]; c.state == engine.TickFired && (l.JobID == nil || *last.ID != *l.JobID || l.Drift != time.Second || l.Attempts != 1) ||
			c.state == engine.TickSkipped && (*last.ID != *asked.ID || l.JobID != nil || l.Attempts != 0) {
			t.Errorf("%s: ran %+v for %+v", c.answer, last, l)
		}
		w.clock.set(w.clock.Now().Add(-time.Second))
	}
	// A note of the guard stays when the job is done, with a handler or not.
	w.attempt(s, 2, true)
	if l := w.ledger(s)[2]; l.State != engine.TickDone || !strings.Contains(l.Error, "dynamic_skip failed") {
		t.Errorf("line %+v", l)
	}
}

// A tick whose guard has not answered is on its way; those that wait for it are asked about in their turn.
func TestGuardInTurn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.daemon()
	w.create(s, func(x *engine.Schedule) { guarded(x); x.Overlap = engine.OverlapQueue })
	w.pass(time.Minute, s)
	w.pass(time.Minute, s)
	w.want(s, "12:01 due, 12:02 due")
	if len(w.runs()) != 1 {
		t.Fatalf("ran %+v", w.runs())
	}
	w.answer(w.guard(s, 0), "false")
	w.work(s)
	w.want(s, "12:01 skipped, 12:02 due")
	w.answer(w.guard(s, 1), "true")
	w.work(s)
	w.want(s, "12:01 skipped, 12:02 fired")
	// What was skipped can be backfilled, and is asked about again.
	old := w.guard(s, 0)
	if n, err := s.Backfill(context.Background(), ann, ws, path, w.ledger(s)[0].At, w.ledger(s)[0].At); err != nil || n != 1 {
		t.Fatal(n, err)
	}
	w.attempt(s, 1, true)
	if id := w.guard(s, 0); id == old {
		t.Error("it was not asked again")
	}
	w.answer(w.guard(s, 0), "true")
	w.work(s)
	w.want(s, "12:01 fired, 12:02 done")
}

// Daemons die before a guard is pushed, and after its answer was noted: others go on.
func TestGuardAfterDeath(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first, second := w.daemon(), w.daemon()
	w.create(first, guarded)
	ctx, kill := context.WithCancel(context.Background())
	w.refuse = func(engine.RunRequest) error { kill(); return engine.Errorf(engine.Unavailable, "job.push", "dead") }
	w.clock.set(w.clock.Now().Add(time.Minute))
	if err := first.advance(ctx, w.clock.Now()); err != nil {
		t.Fatal(err)
	}
	id := w.guard(second, 0)
	w.refuse = nil
	w.work(second)
	w.work(second)
	if runs := w.runs(); len(runs) != 1 || *runs[0].ID != id || w.twice != 0 {
		t.Fatalf("ran %+v, %d again", runs, w.twice)
	}
	again, killAgain := context.WithCancel(context.Background())
	w.refuse = func(engine.RunRequest) error {
		killAgain()
		return engine.Errorf(engine.Unavailable, "job.push", "dead")
	}
	w.answer(id, "true")
	if _, err := first.settleGuards(again, nil); err != nil {
		t.Fatal(err)
	}
	w.refuse = nil
	w.want(second, "12:01 due")
	w.work(second)
	w.work(first)
	w.want(second, "12:01 fired")
	if runs := w.runs(); len(runs) != 2 || *runs[1].ID != w.job(second, 0) || w.twice != 0 {
		t.Errorf("ran %+v, %d again", runs, w.twice)
	}
}

// A guard that is gone does not keep the schedule from running; one that answers after the schedule was switched off does nothing.
func TestGuardTrouble(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.daemon()
	w.create(s, guarded)
	w.gone[guard] = true
	w.pass(time.Minute, s)
	w.want(s, "12:01 fired")
	if l := w.ledger(s)[0]; !strings.Contains(l.Error, "not asked: dynamic_skip "+guard) {
		t.Errorf("line %+v", l)
	}
	w.gone[guard] = false
	w.pass(time.Minute, s)
	if err := s.SetEnabled(context.Background(), ann, ws, path, false); err != nil {
		t.Fatal(err)
	}
	w.answer(w.guard(s, 1), "true")
	w.work(s)
	w.want(s, "12:01 fired, 12:02 skipped")
	if l := w.ledger(s)[1]; l.Error != "the schedule was switched off" {
		t.Errorf("line %+v", l)
	}
}
