package schedule

import (
	"context"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store/storetest"
)

func TestCreateAndRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.daemon()
	ctx := context.Background()
	if err := s.PutCalendar(ctx, ann, engine.Calendar{Workspace: ws, Path: "f/cal/berlin", Days: []string{"2026-05-05"}}); err != nil {
		t.Fatal(err)
	}
	x := engine.Schedule{Workspace: ws, Path: path, Summary: "s", Description: "d", Cron: "0 30 2 * * *", CronVersion: "v2", Timezone: "Europe/Berlin",
		Enabled: true, ScriptPath: script, Args: json.RawMessage(`{"z": 1, "a": [2]}`), Tag: "heavy", Missed: engine.MissedCatchUp,
		Overlap: engine.OverlapSkip, CatchUpLimit: 7, Grace: 90 * time.Second, Calendars: []string{"f/cal/berlin"},
		OnFailure: &engine.Handler{Path: "script/f/ops/alert", Times: 3, Exact: true, Extra: json.RawMessage(`{"c":"#ops"}`)},
		OnSuccess: &engine.Handler{Path: "script/f/ops/good"},
		Extra:     map[string]json.RawMessage{"labels": json.RawMessage(`["a<b"]`), "retry": json.RawMessage("null")}}
	if err := s.Create(ctx, ann, x); err != nil {
		t.Fatal(err)
	}
	got, err := s.Get(ctx, ann, ws, path)
	if err != nil {
		t.Fatal(err)
	}
	if got.NextAt == nil || !got.NextAt.Equal(at(t, "2026-05-05T00:30:00Z")) || got.EditedBy != "ann" || got.PermissionedAs != "u/ann" || got.Email != "ann@example.com" {
		t.Errorf("%+v", got)
	}
	x.PermissionedAs, x.Email, x.EditedBy, x.EditedAt, x.NextAt = got.PermissionedAs, got.Email, got.EditedBy, got.EditedAt, got.NextAt
	if !reflect.DeepEqual(*got, x) {
		t.Errorf("read  %+v\nwrote %+v", *got, x)
	}
	if err := s.Create(ctx, ann, x); engine.CodeOf(err) != engine.Conflict {
		t.Errorf("once more: %v", err)
	}
	// The excluded day of Berlin, of which the tick is on the evening before in UTC.
	ticks, err := s.Preview(ctx, ann, ws, x, 2)
	if err != nil || len(ticks) != 2 || !ticks[0].Equal(at(t, "2026-05-06T00:30:00Z")) || !ticks[1].Equal(at(t, "2026-05-07T00:30:00Z")) {
		t.Errorf("preview %v %v", ticks, err)
	}
	if err := s.DeleteCalendar(ctx, ann, ws, "f/cal/berlin"); engine.CodeOf(err) != engine.Conflict || !strings.Contains(err.Error(), path) {
		t.Errorf("deleted a calendar in use: %v", err)
	}
	for name, f := range map[string]engine.ScheduleFilter{
		"all": {}, "path": {PathExact: path}, "start": {PathStart: "f/cron"}, "script": {ScriptPath: script}, "enabled": {Enabled: new(true)}, "flow": {IsFlow: new(false)},
	} {
		if list, err := s.List(ctx, ann, ws, f); err != nil || len(list) != 1 {
			t.Errorf("%s: %d %v", name, len(list), err)
		}
	}
	for name, f := range map[string]engine.ScheduleFilter{
		"path": {PathExact: "f/x"}, "script": {ScriptPath: "f/x"}, "enabled": {Enabled: new(false)}, "flow": {IsFlow: new(true)}, "page": {Page: 2}, "nul": {PathExact: "\x00"},
	} {
		if list, err := s.List(ctx, ann, ws, f); err != nil || len(list) != 0 {
			t.Errorf("%s: %d %v", name, len(list), err)
		}
	}
	if ok, err := s.Exists(ctx, ann, ws, path); err != nil || !ok {
		t.Error(ok, err)
	}
	if err := s.Delete(ctx, ann, ws, path); err != nil {
		t.Fatal(err)
	}
	if ok, err := s.Exists(ctx, ann, ws, path); err != nil || ok {
		t.Error(ok, err)
	}
	for name, err := range map[string]error{
		"delete": s.Delete(ctx, ann, ws, path), "enable": s.SetEnabled(ctx, ann, ws, path, true), "pause": s.Pause(ctx, ann, ws, path, nil), "update": s.Update(ctx, ann, x),
	} {
		if engine.CodeOf(err) != engine.NotFound {
			t.Errorf("%s of none: %v", name, err)
		}
	}
	if err := s.DeleteCalendar(ctx, ann, ws, "f/cal/berlin"); err != nil {
		t.Error(err)
	}
	if _, err := s.GetCalendar(ctx, ann, ws, "f/cal/berlin"); engine.CodeOf(err) != engine.NotFound {
		t.Error(err)
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.daemon()
	w.gone["f/no/such"] = true
	w.answers["run f/secret/x"] = &engine.Error{Code: engine.Forbidden, Op: "run", Msg: "ann may not"}
	w.answers["admin "] = &engine.Error{Code: engine.Forbidden, Op: "admin", Msg: "ann may not"}
	raw := func(v string) json.RawMessage { return json.RawMessage(v) }
	for want, change := range map[string]func(*engine.Schedule){
		"the field hour":         func(x *engine.Schedule) { x.Cron = "* 77 * * *" },
		"no moment":              func(x *engine.Schedule) { x.Cron = "0 0 31 2 *" },
		"not a time zone":        func(x *engine.Schedule) { x.Timezone = "Mars" },
		"version":                func(x *engine.Schedule) { x.CronVersion = "v9" },
		"script is not there":    func(x *engine.Schedule) { x.ScriptPath = "f/no/such" },
		"not a valid path":       func(x *engine.Schedule) { x.Path = "nightly" },
		"flow is not there":      func(x *engine.Schedule) { x.IsFlow, x.ScriptPath = true, "f/no/such" },
		"may not":                func(x *engine.Schedule) { x.ScriptPath = "f/secret/x" },
		"ann may not":            func(x *engine.Schedule) { x.PermissionedAs = "u/bob" },
		"cannot own":             func(x *engine.Schedule) { x.PermissionedAs = "g/team" },
		"policy for missed":      func(x *engine.Schedule) { x.Missed = "later" },
		"policy for overlapping": func(x *engine.Schedule) { x.Overlap = "maybe" },
		"caught up":              func(x *engine.Schedule) { x.CatchUpLimit = -1 },
		"grace":                  func(x *engine.Schedule) { x.Grace = -time.Second },
		"args must be":           func(x *engine.Schedule) { x.Args = raw(`[1]`) },
		"without the character":  func(x *engine.Schedule) { x.Args = raw(`{"a": "\u0000"}`) },
		"UTF-8":                  func(x *engine.Schedule) { x.Summary = "\x00" },
		"no such calendar":       func(x *engine.Schedule) { x.Calendars = []string{"f/cal/none"} },
		"runs in a row":          func(x *engine.Schedule) { x.OnFailure = &engine.Handler{Path: "script/f/a/b", Times: -1} },
		"not a runnable":         func(x *engine.Schedule) { x.OnSuccess = &engine.Handler{Path: "f/a/b"} },
		"f/no/such: the flow":    func(x *engine.Schedule) { x.OnRecovery = &engine.Handler{Path: "flow/f/no/such"} },
		"extra arguments":        func(x *engine.Schedule) { x.OnFailure = &engine.Handler{Path: "script/f/a/b", Extra: raw("7")} },
		"dynamic_skip must be":   func(x *engine.Schedule) { x.Extra = map[string]json.RawMessage{"dynamic_skip": raw(`7`)} },
		"f/no/such: the script":  func(x *engine.Schedule) { x.Extra = map[string]json.RawMessage{"dynamic_skip": raw(`"f/no/such"`)} },
	} {
		err := s.Create(context.Background(), ann, plain(change))
		if code := engine.CodeOf(err); code != engine.Invalid && code != engine.Forbidden || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want something about %q", err, want)
		}
	}
	if list, err := s.List(context.Background(), ann, ws, engine.ScheduleFilter{}); err != nil || len(list) != 0 {
		t.Errorf("%d %v", len(list), err)
	}
	for _, n := range []int{-1, 1001} {
		if _, err := s.Preview(context.Background(), ann, ws, plain(), n); engine.CodeOf(err) != engine.Invalid {
			t.Errorf("%d ticks: %v", n, err)
		}
	}
}

func TestOwnership(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.daemon()
	w.create(s, func(x *engine.Schedule) { x.PermissionedAs, x.Email = "u/bob", "bob@example.com" })
	w.pass(time.Minute, s)
	if j := w.jobs[w.job(s, 0)]; j.CreatedBy != "bob" || j.Email != "bob@example.com" {
		t.Errorf("it belongs to %s %s", j.CreatedBy, j.Email)
	}
	x, err := s.Get(context.Background(), ann, ws, path)
	if err != nil || x.EditedBy != "ann" || x.PermissionedAs != "u/bob" {
		t.Errorf("%+v %v", x, err)
	}
	id, err := s.Run(context.Background(), ann, ws, path)
	if err != nil || w.jobs[id].CreatedBy != "ann" || len(w.ledger(s)) != 1 {
		t.Errorf("%v %v", w.jobs[id], err)
	}
}

func TestUpdateEnablePause(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.daemon()
	ctx := context.Background()
	next := func(want string) {
		t.Helper()
		x, err := s.Get(ctx, ann, ws, path)
		if err != nil {
			t.Fatal(err)
		}
		got := "none"
		if x.NextAt != nil {
			got = x.NextAt.UTC().Format("02 15:04:05")
		}
		if got != want {
			t.Errorf("next is %s, want %s", got, want)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	w.create(s)
	next("04 12:01:00")
	must(s.Update(ctx, ann, plain(func(x *engine.Schedule) { x.Cron = "0 6 * * *" })))
	next("05 06:00:00")
	must(s.SetEnabled(ctx, ann, ws, path, false))
	next("none")
	w.pass(48*time.Hour, s)
	must(s.SetEnabled(ctx, ann, ws, path, true))
	next("07 06:00:00") // what passed meanwhile was not missed
	until := at(t, "2026-05-09T06:00:00Z")
	must(s.Pause(ctx, ann, ws, path, &until))
	next("09 06:00:00")
	must(s.SetEnabled(ctx, ann, ws, path, false))
	must(s.SetEnabled(ctx, ann, ws, path, true))
	next("09 06:00:00")
	must(s.Pause(ctx, ann, ws, path, nil))
	next("07 06:00:00")
	w.want(s, "")
	// An edit at the moment of a tick does not lose it.
	w.clock.set(at(t, "2026-05-07T06:00:00.2Z"))
	must(s.Update(ctx, ann, plain(func(x *engine.Schedule) { x.Cron, x.Summary = "0 6 * * *", "new" })))
	w.work(s)
	w.want(s, "06:00 fired")
	next("08 06:00:00")
}

// With a real clock, two daemons and one-second schedules: every second once, told of at once, and idle in between.
func TestLoop(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	real := func(c *Config) { c.Clock, c.Poll, c.Late = nil, 5*time.Second, 10*time.Second }
	one, two := w.daemon(real), w.daemon(real)
	for _, s := range []*Schedules{one, two} {
		if err := s.Start(context.Background()); err != nil {
			t.Fatal(err)
		}
		if err := s.Start(context.Background()); err == nil {
			t.Error("started twice")
		}
	}
	w.create(one, func(x *engine.Schedule) { x.Cron, x.Grace = "* * * * * *", 5*time.Second }) // the others hear of it
	var last uuid.UUID
	for range 4 {
		last = <-w.pushed
		w.end(last, true, true)
	}
	if err := one.SetEnabled(context.Background(), ann, ws, path, false); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(4 * time.Second) // a poll would be later
	for look := time.NewTicker(20 * time.Millisecond); ; <-look.C {
		l := w.ledger(one)
		done := map[uuid.UUID]bool{}
		for i, x := range l {
			if i > 0 && x.At.Sub(l[i-1].At) != time.Second {
				t.Fatalf("a second is missing before %s", x.At)
			}
			if x.State == engine.TickDone {
				done[*x.JobID] = true
			}
		}
		if done[last] {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("nobody heard of the end: %+v", l)
		}
	}
	one.Stop()
	one.Stop()
	two.Stop()
	if w.twice > 0 {
		t.Errorf("%d jobs were pushed twice", w.twice)
	}
}

func TestLedgerPages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.daemon()
	ctx := context.Background()
	w.create(s, func(x *engine.Schedule) { x.Missed = engine.MissedSkip })
	w.pass(time.Minute, s)
	w.pass(10*time.Minute+30*time.Second, s)
	for name, c := range map[string]struct {
		f    engine.TickFilter
		want int
	}{
		"all": {engine.TickFilter{}, 11}, "states": {engine.TickFilter{States: []engine.TickState{engine.TickMissed}}, 10},
		"after": {engine.TickFilter{After: at(t, "2026-05-04T12:09:00Z")}, 2}, "before": {engine.TickFilter{Before: at(t, "2026-05-04T12:03:00Z")}, 2},
		"page": {engine.TickFilter{PerPage: 4, Page: 3}, 3}, "other": {engine.TickFilter{Schedule: "f/x/y"}, 0},
	} {
		if l, err := s.Ticks(ctx, ann, ws, c.f); err != nil || len(l) != c.want {
			t.Errorf("%s: %d lines, want %d: %v", name, len(l), c.want, err)
		}
	}
	storetest.Exec(t, w.db, "update tick set at = at - interval '100 years' where state = 'missed'")
	if n, err := w.db.TickExpire(ctx, 30*365*24*time.Hour); err != nil || n != 10 {
		t.Errorf("%d lines expired: %v", n, err)
	}
}
