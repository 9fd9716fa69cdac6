package schedule

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/engine"
)

// decided runs the planner for a schedule that was last looked at when next was to come.
func decided(t *testing.T, s engine.Schedule, o open, next, now time.Time, calendars ...engine.Calendar) plan {
	t.Helper()
	g := grid(t, s.Cron, s.CronVersion, s.Timezone)
	out, err := exclude(calendars)
	if err != nil {
		t.Fatal(err)
	}
	if s.Missed == "" {
		s.Missed = engine.MissedCoalesce
	}
	s.NextAt = &next
	p := planner{s: &s, grid: g, out: out, open: o, now: now}
	return p.decide()
}

// lines writes a plan as "12:01:00 due! 12:02:00 missed*3": ! is claimed, * a count.
func lines(p plan) string {
	var out []string
	for _, t := range p.ticks {
		l := t.At.Format("15:04:05") + " " + string(t.State)
		if t.Claimed {
			l += "!"
		}
		if t.Count > 1 {
			l += fmt.Sprintf("*%d", t.Count)
		}
		if (t.State == engine.TickDue) != (t.Job != nil) {
			l += " with the wrong job"
		}
		out = append(out, l)
	}
	if p.replace {
		out = append(out, "replace")
	}
	return strings.Join(out, ", ")
}

func TestPolicies(t *testing.T) {
	noon := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name    string
		missed  engine.MissedPolicy
		limit   int
		overlap engine.OverlapPolicy
		open    open
		late    time.Duration // now, after noon; minutely ticks, noon is the next
		want    string
	}{
		{"on time", "", 0, "", open{}, 0, "12:00:00 due!"},
		{"within the grace", engine.MissedSkip, 0, "", open{}, time.Second, "12:00:00 due!"},
		{"late, skip", engine.MissedSkip, 0, "", open{}, 2 * time.Minute, "12:00:00 missed, 12:01:00 missed, 12:02:00 due!"},
		{"late, skip, none on time", engine.MissedSkip, 0, "", open{}, 90 * time.Second, "12:00:00 missed, 12:01:00 missed"},
		{"late, coalesce", "", 0, "", open{}, 90 * time.Second, "12:00:00 coalesced, 12:01:00 due!"},
		{"late, coalesce into the one on time", "", 0, "", open{}, 2 * time.Minute, "12:00:00 coalesced, 12:01:00 coalesced, 12:02:00 due!"},
		{"late, catch up", engine.MissedCatchUp, 0, "", open{}, 90 * time.Second, "12:00:00 due!, 12:01:00 due!"},
		{"late, catch up one", engine.MissedCatchUp, 1, "", open{}, 150 * time.Second, "12:00:00 missed, 12:01:00 missed, 12:02:00 due!"},
		{"busy, allow", "", 0, engine.OverlapAllow, open{0, 3}, 0, "12:00:00 due!"},
		{"busy, skip", "", 0, engine.OverlapSkip, open{0, 1}, 0, "12:00:00 skipped"},
		{"idle, skip", "", 0, engine.OverlapSkip, open{}, 0, "12:00:00 due!"},
		{"idle, skip, several", engine.MissedCatchUp, 0, engine.OverlapSkip, open{}, 90 * time.Second, "12:00:00 due!, 12:01:00 skipped"},
		{"busy, queue", "", 0, engine.OverlapQueue, open{1, 1}, 0, "12:00:00 due"},
		{"idle, queue, several", engine.MissedCatchUp, 0, engine.OverlapQueue, open{}, 2 * time.Minute, "12:00:00 due!, 12:01:00 due, 12:02:00 due"},
		{"full, queue", "", 0, engine.OverlapQueue, open{maxWaiting, 1}, 0, "12:00:00 skipped"},
		{"busy, coalesce", "", 0, engine.OverlapCoalesce, open{0, 1}, 0, "12:00:00 due"},
		{"busy and one waits, coalesce", "", 0, engine.OverlapCoalesce, open{1, 1}, 0, "12:00:00 due, replace"},
		{"idle, coalesce, several", engine.MissedCatchUp, 0, engine.OverlapCoalesce, open{}, 2 * time.Minute, "12:00:00 due!, 12:01:00 coalesced, 12:02:00 due"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := engine.Schedule{Cron: "* * * * *", Missed: c.missed, CatchUpLimit: c.limit, Overlap: c.overlap}
			p := decided(t, s, c.open, noon, noon.Add(c.late))
			if got := lines(p); got != c.want {
				t.Errorf("%s\nwant %s", got, c.want)
			}
			if p.next == nil || !p.next.After(noon.Add(c.late)) {
				t.Errorf("next is %v", p.next)
			}
		})
	}
}

// A year of seconds is told in few lines and in steps, and what the policy wants is run at the end.
func TestLongOutage(t *testing.T) {
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	now := begin.Add(100_000*time.Second + 500*time.Millisecond)
	for _, c := range []struct {
		missed engine.MissedPolicy
		limit  int
		run    int
	}{{engine.MissedSkip, 0, 2}, {engine.MissedCoalesce, 0, 2}, {engine.MissedCatchUp, 0, 102}, {engine.MissedCatchUp, 7, 9}} {
		s := engine.Schedule{Cron: "* * * * * *", Missed: c.missed, CatchUpLimit: c.limit, Grace: 1500 * time.Millisecond}
		next, steps, written, run, stood := begin, 0, 0, 0, 0
		for !next.After(now) {
			p := decided(t, s, open{}, next, now)
			if p.next == nil || !p.next.After(next) {
				t.Fatalf("%s: no way on from %s: %v", c.missed, next, p.next)
			}
			for _, l := range p.ticks {
				written, stood = written+1, stood+l.Count
				if l.State == engine.TickDue {
					run++
				}
			}
			next = *p.next
			steps++
		}
		if stood != 100_001 || run != c.run || written > 1200+run || steps > 8 {
			t.Errorf("%s: %d lines for %d ticks, %d of them to be run, in %d steps", c.missed, written, stood, run, steps)
		}
	}
}

func TestExcluded(t *testing.T) {
	holiday := engine.Calendar{Days: []string{"2026-12-24/2026-12-26", "*-05-01"}, Weekdays: []string{"SUN"}}
	from, to := at(t, "2026-12-23T12:00:00Z"), at(t, "2026-12-28T08:00:00Z")
	s := engine.Schedule{Cron: "0 8,20 * * *", Missed: engine.MissedCatchUp}
	p := decided(t, s, open{}, grid(t, s.Cron, "", "").Next(from), to, holiday)
	want := "08:00:00 excluded*2, 08:00:00 excluded*2, 08:00:00 excluded*2, 08:00:00 excluded*2, 20:00:00 due!, 08:00:00 due!"
	if got := lines(p); got != want { // Thursday to Saturday, and Sunday
		t.Errorf("%s\nwant %s", got, want)
	}
	// The day is the day of the zone: 23:30 UTC is the holiday already.
	s = engine.Schedule{Cron: "30 0 * * *", Timezone: "Europe/Berlin"}
	when := at(t, "2026-04-30T22:30:00Z")
	if got := lines(decided(t, s, open{}, when, when, holiday)); got != "22:30:00 excluded" {
		t.Error(got)
	}
	// Later ticks of a day are counted in the line of its first.
	s = engine.Schedule{Cron: "0 * * * *"}
	p = decided(t, s, open{}, at(t, "2026-05-01T09:00:00Z"), at(t, "2026-05-01T11:00:00Z"), holiday)
	if got := lines(p); got != "00:00:00 excluded*3" {
		t.Error(got)
	}
}

func TestBadCalendars(t *testing.T) {
	for _, c := range []engine.Calendar{
		{Days: []string{"2026-13-01"}}, {Days: []string{"christmas"}}, {Days: []string{"2026-12-25/2026-12-24"}}, {Days: []string{"*-02-30"}},
		{Days: []string{"2026-12-25/"}}, {Weekdays: []string{"someday"}},
	} {
		if _, err := exclude([]engine.Calendar{c}); err == nil {
			t.Errorf("%v is taken", c)
		}
	}
	x, err := exclude([]engine.Calendar{{Days: []string{"*-02-29"}}})
	if err != nil || !x.has(time.Date(2028, 2, 29, 0, 0, 0, 0, time.UTC)) || x.has(time.Date(2027, 3, 1, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("the 29th of February: %v", err)
	}
}

func TestHandlerCounts(t *testing.T) {
	run := func(fail, recover, success *engine.Handler, ends string) string {
		var out strings.Builder
		var list []ended
		for _, e := range ends {
			list = append(list, ended{Success: e == '+', OnFailure: fail, OnRecovery: recover, OnSuccess: success})
		}
		got, _ := judgeAll(list)
		for _, e := range got {
			c := "."
			switch {
			case e.Recovery != nil && e.Handler != nil:
				c = "B"
			case e.Recovery != nil:
				c = "R"
			case e.Handler != nil:
				c = "H"
			}
			out.WriteString(c)
		}
		return out.String()
	}
	h := func(times int, exact bool) *engine.Handler { return &engine.Handler{Times: times, Exact: exact} }
	for _, c := range []struct {
		fail, recover, success *engine.Handler
		ends, want             string
	}{
		{h(0, false), nil, nil, "-+--", "H.HH"},
		{h(2, false), nil, nil, "-+---", "...HH"},
		{h(2, true), nil, nil, "---+--", ".H...H"},
		{h(1, false), h(1, false), nil, "+-++", ".HR."},
		{h(1, false), h(2, false), nil, "-+-++", "H.H.R"},
		{h(2, false), h(1, false), nil, "-+--+", "...HR"}, // one failure was none to report
		{nil, h(1, false), h(1, false), "-+", ".B"},
		{nil, nil, h(3, true), "++++", "..H."},
	} {
		if got := run(c.fail, c.recover, c.success, c.ends); got != c.want {
			t.Errorf("after %s come %s, want %s", c.ends, got, c.want)
		}
	}
	if !reflect.DeepEqual(times(nil), 1) {
		t.Error("no handler counts to one")
	}
}
