package schedule

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store/storetest"
)

func TestFire(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.daemon()
	w.create(s, func(x *engine.Schedule) { x.Args, x.Tag = json.RawMessage(`{"n": 1}`), "heavy" })
	w.pass(59*time.Second, s)
	w.want(s, "")
	w.pass(time.Second, s)
	w.want(s, "12:01 fired")
	r := w.runs()[0]
	if r.Kind != engine.KindScript || r.Path != script || string(r.Args) != `{"n": 1}` || r.Tag != "heavy" || r.Trigger != "schedule" ||
		r.TriggerPath != path || r.Workspace != ws || !r.ScheduledFor.Equal(w.clock.Now()) {
		t.Errorf("asked for %+v", r)
	}
	j := w.jobs[*r.ID]
	if j.CreatedBy != "ann" || j.Email != "ann@example.com" || j.PermissionedAs != "u/ann" {
		t.Errorf("it belongs to %s %s %s", j.CreatedBy, j.Email, j.PermissionedAs)
	}
	w.pass(60*time.Second+200*time.Millisecond, s)
	w.end(w.job(s, 0), true, false)
	w.end(w.job(s, 1), false, false)
	w.work(s)
	w.want(s, "12:01 done, 12:02 done")
	l := w.ledger(s)
	if !*l[0].Success || *l[1].Success || l[0].Drift != 0 || l[1].Drift != 200*time.Millisecond || l[1].Count != 1 {
		t.Errorf("lines %+v", l)
	}
}

// A schedule of a flow runs it, and so do its further attempts and handlers.
func TestSchedulesOfFlows(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.daemon()
	w.create(s, func(x *engine.Schedule) {
		x.IsFlow, x.OnFailure = true, &engine.Handler{Path: "flow/f/ops/alert"}
		x.Extra = map[string]json.RawMessage{"retry": json.RawMessage(`{"constant":{"attempts":1,"seconds":0}}`)}
	})
	w.pass(time.Minute, s)
	for range 2 {
		w.end(w.job(s, 0), false, false)
		w.work(s)
	}
	var ran []string
	for _, r := range w.runs() {
		ran = append(ran, string(r.Kind)+" "+r.Path)
	}
	if got, want := strings.Join(ran, ", "), "flow "+script+", flow "+script+", flow f/ops/alert"; got != want {
		t.Errorf("ran %s, want %s", got, want)
	}
}

// However many daemons there are, whoever dies when, and wherever clocks jump to: one line and one job a tick.
func TestManyDaemons(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	rnd := rand.New(rand.NewPCG(7, 7))
	var mu sync.Mutex
	down := errors.New("the connection was lost")
	w.refuse = func(engine.RunRequest) error {
		mu.Lock()
		defer mu.Unlock()
		if rnd.IntN(3) == 0 { // the daemon dies before the push
			return &engine.Error{Code: engine.Unavailable, Op: "job.push", Err: down}
		}
		return nil
	}
	dead, cancel := context.WithCancel(context.Background())
	cancel()
	daemons := []*Schedules{w.daemon(), w.daemon(), w.daemon()}
	w.create(daemons[0], func(x *engine.Schedule) { x.Cron, x.Missed = "*/10 * * * * *", engine.MissedCatchUp })
	begin := w.clock.Now()
	for range 60 {
		d := time.Duration(rnd.IntN(40)) * time.Second
		if rnd.IntN(6) == 0 {
			d = -d
		}
		w.clock.set(w.clock.Now().Add(d))
		var wg sync.WaitGroup
		for _, s := range daemons {
			wg.Go(func() {
				s.round(context.Background()) //nolint:errcheck // one that dies fails
				s.round(dead)                 //nolint:errcheck // likewise
			})
		}
		wg.Wait()
	}
	w.refuse = nil
	w.clock.set(begin.Add(time.Hour))
	w.work(daemons[1])
	l := w.ledger(daemons[0])
	if len(l) != 360 {
		t.Fatalf("%d lines", len(l))
	}
	fired := 0
	for i, x := range l {
		if !x.At.Equal(begin.Add(time.Duration(i+1) * 10 * time.Second)) {
			t.Fatalf("line %d is %+v", i, x)
		}
		switch x.State {
		case engine.TickFired:
			fired++
		case engine.TickMissed: // older than the last hundred of a long jump
		default:
			t.Fatalf("line %d is %+v", i, x)
		}
	}
	runs := map[string]bool{}
	for _, r := range w.runs() {
		if runs[r.ID.String()] {
			t.Fatal("a job was pushed twice")
		}
		runs[r.ID.String()] = true
	}
	if fired != len(runs) {
		t.Errorf("%d ticks were fired with %d jobs", fired, len(runs))
	}
}

// A daemon that dies after the push, before it is noted: the next one pushes the same id, and that is one job.
func TestDiesAfterPush(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, kill := context.WithCancel(context.Background())
	first, second := w.daemon(), w.daemon()
	w.create(first)
	w.refuse = func(engine.RunRequest) error { kill(); return nil } // the push goes through, and then it is dead
	w.clock.set(w.clock.Now().Add(time.Minute))
	storetest.Exec(t, w.db, "create function stop() returns trigger language plpgsql as 'begin raise exception ''dead''; end'")
	storetest.Exec(t, w.db, "create trigger stop before update on tick for each row execute function stop()")
	for range 3 {
		first.round(ctx) //nolint:errcheck // it dies
	}
	w.want(second, "12:01 due")
	storetest.Exec(t, w.db, "drop trigger stop on tick")
	w.refuse = nil
	w.work(second)
	w.want(second, "12:01 fired")
	if len(w.runs()) != 1 || w.twice != 1 {
		t.Errorf("%d jobs, %d pushes of an id that was there", len(w.runs()), w.twice)
	}
}

func TestClockJumps(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.daemon()
	w.create(s)
	w.pass(time.Minute, s)
	w.pass(-30*time.Minute, s) // backwards: nothing is fired again
	w.pass(30*time.Minute, s)
	w.want(s, "12:01 fired")
	w.pass(10*time.Minute, s) // forwards: one run stands for what was left out
	if got := w.states(s); strings.Count(got, "fired") != 2 || strings.Count(got, "coalesced") != 9 {
		t.Error(got)
	}
	// An edit while the clock is behind the ledger finds the lines taken.
	w.pass(-5*time.Minute, s)
	if err := s.Update(context.Background(), ann, plain(func(x *engine.Schedule) { x.Cron = "*/1 * * * *" })); err != nil {
		t.Fatal(err)
	}
	before := len(w.runs())
	w.pass(time.Minute, s)
	if len(w.runs()) != before {
		t.Error("a tick was fired twice")
	}
}

func TestOverlaps(t *testing.T) {
	for _, c := range []struct {
		overlap                    engine.OverlapPolicy
		busy, after1, after2, runs string
	}{
		{engine.OverlapSkip, "12:01 fired, 12:02 skipped, 12:03 skipped", "12:01 done, 12:02 skipped, 12:03 skipped, 12:04 fired", "", "2"},
		{engine.OverlapQueue, "12:01 fired, 12:02 due, 12:03 due", "12:01 done, 12:02 fired, 12:03 due, 12:04 due", "12:01 done, 12:02 done, 12:03 fired, 12:04 due", "3"},
		{engine.OverlapCoalesce, "12:01 fired, 12:02 coalesced, 12:03 due", "12:01 done, 12:02 coalesced, 12:03 fired, 12:04 due", "12:01 done, 12:02 coalesced, 12:03 done, 12:04 fired", "3"},
		{engine.OverlapAllow, "12:01 fired, 12:02 fired, 12:03 fired", "12:01 done, 12:02 fired, 12:03 fired, 12:04 fired", "", "4"},
	} {
		t.Run(string(c.overlap), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			s := w.daemon()
			w.create(s, func(x *engine.Schedule) { x.Overlap = c.overlap })
			for range 3 {
				w.pass(time.Minute, s)
			}
			w.want(s, c.busy)
			w.end(w.job(s, 0), true, false)
			w.work(s)
			w.pass(time.Minute, s)
			w.want(s, c.after1)
			if c.after2 != "" {
				for i, l := range w.ledger(s) {
					if l.State == engine.TickFired {
						w.end(w.job(s, i), true, false)
					}
				}
				w.work(s)
				w.want(s, c.after2)
			}
			if got := len(w.runs()); got != int(c.runs[0]-'0') {
				t.Errorf("%d runs", got)
			}
		})
	}
}

// What waits is given up when the schedule is switched off.
func TestSwitchedOffWhileWaiting(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.daemon()
	w.create(s, func(x *engine.Schedule) { x.Overlap = engine.OverlapQueue })
	w.pass(time.Minute, s)
	w.pass(time.Minute, s)
	if err := s.SetEnabled(context.Background(), ann, ws, path, false); err != nil {
		t.Fatal(err)
	}
	w.end(w.job(s, 0), true, false)
	w.pass(time.Minute, s)
	w.want(s, "12:01 done, 12:02 skipped")
	if l := w.ledger(s); !strings.Contains(l[1].Error, "switched off") {
		t.Error(l[1].Error)
	}
}

func TestScriptVanishes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.daemon()
	w.create(s)
	w.pass(time.Minute, s)
	w.gone[script] = true
	w.pass(time.Minute, s)
	w.pass(time.Minute, s)
	w.want(s, "12:01 fired, 12:02 failed")
	x, err := s.Get(context.Background(), ann, ws, path)
	if err != nil || x.Enabled || x.NextAt != nil || !strings.Contains(x.Error, "no such script") {
		t.Errorf("%+v %v", x, err)
	}
	if l := w.ledger(s); !strings.Contains(l[1].Error, "no such script") {
		t.Error(l[1].Error)
	}
	if err := s.SetEnabled(context.Background(), ann, ws, path, true); engine.CodeOf(err) != engine.Invalid {
		t.Errorf("switched on without its script: %v", err)
	}
	w.gone[script] = false
	if err := s.SetEnabled(context.Background(), ann, ws, path, true); err != nil {
		t.Fatal(err)
	}
	w.pass(time.Minute, s)
	if x, err := s.Get(context.Background(), ann, ws, path); err != nil || x.Error != "" || !x.Enabled {
		t.Errorf("%+v %v", x, err)
	}
	w.want(s, "12:01 fired, 12:02 failed, 12:04 fired")
}

func TestBrokenExpression(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.daemon()
	w.create(s)
	storetest.Exec(t, w.db, "update schedule set timezone = 'Mars/Olympus'")
	w.pass(time.Minute, s)
	x, err := s.Get(context.Background(), ann, ws, path)
	if err != nil || x.Enabled || !strings.Contains(x.Error, "time zone") || len(w.runs()) != 0 {
		t.Errorf("%+v %v", x, err)
	}
}

// A full queue and a lost database are waited for.
func TestPushAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.daemon()
	w.create(s)
	w.refuse = func(engine.RunRequest) error { return engine.Errorf(engine.TooMany, "job.push", "full") }
	w.pass(time.Minute, s)
	w.want(s, "12:01 due")
	w.refuse = nil
	w.pass(10*time.Second, s)
	w.want(s, "12:01 fired")
	if l := w.ledger(s); l[0].Drift < 10*time.Second {
		t.Errorf("drift is %s", l[0].Drift)
	}
}

func TestHandlers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.daemon()
	w.create(s, func(x *engine.Schedule) {
		x.OnFailure = &engine.Handler{Path: "script/f/ops/alert", Times: 2, Extra: json.RawMessage(`{"channel": "#ops", "email": "ops"}`)}
		x.OnRecovery = &engine.Handler{Path: "script/f/ops/fine"}
		x.OnSuccess = &engine.Handler{Path: "script/f/ops/good", Times: 2}
	})
	for i, ok := range []bool{false, false, true, true} {
		w.pass(time.Minute, s)
		w.end(w.job(s, i), ok, false)
		w.work(s)
	}
	var got []string
	byPath := map[string]engine.RunRequest{}
	for _, r := range w.runs() {
		got = append(got, r.Path[len(r.Path)-4:])
		byPath[r.Path] = r
	}
	if strings.Join(got, " ") != "work work lert work fine work good" {
		t.Fatalf("ran %v", got)
	}
	alert := byPath["f/ops/alert"]
	var args map[string]any
	if err := json.Unmarshal(alert.Args, &args); err != nil {
		t.Fatal(err)
	}
	l := w.ledger(s)
	for name, want := range map[string]any{
		"workspace_id": ws, "job_id": l[1].JobID.String(), "path": script, "is_flow": false, "email": "ops", "schedule_path": path,
		"failed_times": 2.0, "channel": "#ops", "started_at": "2026-05-04T12:02:00Z",
	} {
		if args[name] != want {
			t.Errorf("%s is %v, want %v", name, args[name], want)
		}
	}
	if e, _ := args["error"].(map[string]any); e["name"] != "Boom" {
		t.Errorf("error is %v", args["error"])
	}
	if *alert.Parent != *l[1].JobID || alert.Trigger == "schedule" || *alert.ID != *l[1].Handler {
		t.Errorf("asked for %+v", alert)
	}
	if l[0].Handler != nil || *l[2].Recovery != *byPath["f/ops/fine"].ID || l[2].Handler != nil || *l[3].Handler != *byPath["f/ops/good"].ID {
		t.Errorf("lines %+v", l)
	}
	args = nil
	if err := json.Unmarshal(byPath["f/ops/fine"].Args, &args); err != nil || args["success_times"] != 1.0 || args["result"].(map[string]any)["rows"] != 3.0 {
		t.Errorf("args %v %v", args, err)
	}
}

// A handler that cannot start says so in the ledger; one that cannot start now is started later, once.
func TestHandlerTrouble(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.daemon()
	w.create(s, func(x *engine.Schedule) { x.OnFailure = &engine.Handler{Path: "script/f/ops/alert"} })
	w.pass(time.Minute, s)
	w.refuse = func(engine.RunRequest) error { return engine.Errorf(engine.Unavailable, "job.push", "down") }
	w.end(w.job(s, 0), false, false)
	w.work(s)
	w.refuse = nil
	w.work(s)
	if runs := w.runs(); len(runs) != 2 || *runs[1].ID != *w.ledger(s)[0].Handler || w.twice != 0 {
		t.Errorf("ran %+v", runs)
	}
	w.pass(time.Minute, s)
	w.gone["f/ops/alert"] = true
	w.end(w.job(s, 1), false, false)
	w.work(s)
	if l := w.ledger(s); l[1].State != engine.TickDone || !strings.Contains(l[1].Error, "no such script") {
		t.Errorf("line %+v", l[1])
	}
	if x, err := s.Get(context.Background(), ann, ws, path); err != nil || !x.Enabled {
		t.Errorf("a handler switched its schedule off: %v", err)
	}
}

func TestBackfill(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.daemon()
	ctx := context.Background()
	w.create(s, func(x *engine.Schedule) { x.Missed = engine.MissedSkip })
	w.pass(time.Minute, s)
	w.pass(4*time.Minute+30*time.Second, s) // 12:02 to 12:05 are missed
	w.want(s, "12:01 fired, 12:02 missed, 12:03 missed, 12:04 missed, 12:05 missed")
	from, to := at(t, "2026-05-04T11:58:00Z"), at(t, "2026-05-04T12:03:30Z")
	n, err := s.Backfill(ctx, ann, ws, path, from, to)
	if err != nil || n != 5 {
		t.Fatalf("%d %v", n, err)
	}
	w.work(s)
	w.want(s, "11:58 fired, 11:59 fired, 12:00 fired, 12:01 fired, 12:02 fired, 12:03 fired, 12:04 missed, 12:05 missed")
	if n, err = s.Backfill(ctx, ann, ws, path, from, to); err != nil || n != 0 {
		t.Errorf("once more: %d %v", n, err)
	}
	runs := w.runs()
	if last := runs[len(runs)-1]; last.Priority != -1 || len(runs) != 6 {
		t.Errorf("ran %+v", runs)
	}
	if _, err := s.Backfill(ctx, ann, ws, path, from, w.clock.Now().Add(time.Hour)); engine.CodeOf(err) != engine.Invalid {
		t.Errorf("the future: %v", err)
	}
	if _, err := s.Backfill(ctx, ann, ws, path, from.AddDate(-1, 0, 0), to); engine.CodeOf(err) != engine.Invalid {
		t.Errorf("a year of minutes: %v", err)
	}
	if _, err := s.Backfill(ctx, ann, ws, "f/no/such", from, to); engine.CodeOf(err) != engine.NotFound {
		t.Errorf("no schedule: %v", err)
	}
}

// Backfilled ticks of a schedule whose runs must not overlap run one after the other, also when it is switched off.
func TestBackfillInTurn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.daemon()
	w.create(s, func(x *engine.Schedule) { x.Overlap, x.Enabled = engine.OverlapSkip, false })
	if n, err := s.Backfill(context.Background(), ann, ws, path, at(t, "2026-05-04T11:58:00Z"), at(t, "2026-05-04T11:59:00Z")); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	w.work(s)
	w.want(s, "11:58 fired, 11:59 due")
	w.end(w.job(s, 0), true, false)
	w.work(s)
	w.want(s, "11:58 done, 11:59 fired")
}
