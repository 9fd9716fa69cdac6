package queue

import (
	"testing"
	"time"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store/storetest"
)

func TestClockMoved(t *testing.T) {
	t.Parallel()
	began, now := time.Now(), time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	at := func(s float64) time.Time { return began.Add(time.Duration(s * float64(time.Second))) }
	for name, c := range map[string]struct {
		went        float64 // of the server's clock, since a heartbeat that was sent at 0 and answered at 0.1
		asked, back float64
		by          time.Duration
		without     float64
	}{
		"in step":                   {5, 5, 5.1, 0, 5},
		"late on its way":           {5, 5, 9, 0, 5},
		"sent late":                 {9, 5, 9, 0, 9},
		"an hour forward":           {3605, 5, 5.1, 3600*time.Second - 100*time.Millisecond, 5.1},
		"an hour back":              {-3595, 5, 5.1, -3600*time.Second + 100*time.Millisecond, 4.9},
		"stood still, with its own": {0, 0.2, 0.3, 0, 0},
	} {
		var k serverClock
		if by, _ := k.moved(now, at(0), at(0.1)); by != 0 {
			t.Fatalf("the first look found a jump of %s", by)
		}
		said := now.Add(time.Duration(c.went * float64(time.Second)))
		by, without := k.moved(said, at(c.asked), at(c.back))
		if want := now.Add(time.Duration(c.without * float64(time.Second))); by.Round(time.Millisecond) != c.by || !without.Round(time.Millisecond).Equal(want) {
			t.Errorf("%s: by %s, without %s; want %s, %s", name, by, without, c.by, want)
		}
	}
}

// TestClockSetBack leaves behind what an hour does that was taken back: heartbeats, starts and times due in the future.
func TestClockSetBack(t *testing.T) {
	t.Parallel()
	url := storetest.URL(t)
	db := storetest.Open(t, url)
	dead := start(t, quiet(storetest.Open(t, url), nil))
	q := start(t, quiet(db, nil))
	awaitBeat(t, q)
	running, queued, next, later := noop(), noop(), noop(), noop()
	push(t, dead, running)
	if list := claim(t, dead, 1, "noop"); len(list) != 1 {
		t.Fatalf("claimed %d", len(list))
	}
	push(t, q, queued)
	push(t, q, next)
	later.ScheduledFor = time.Now().Add(2 * time.Hour)
	push(t, q, later)
	storetest.Exec(t, db, "update worker set heartbeat = heartbeat + interval '1 hour'")
	storetest.Exec(t, db, "update q set scheduled_for = scheduled_for + interval '1 hour', started_at = started_at + interval '1 hour'")
	storetest.Exec(t, db, "update job set scheduled_for = scheduled_for + interval '1 hour'")
	q.shiftClock(time.Hour)
	set, err := q.beatOnce(t.Context())
	if err != nil || !set {
		t.Fatalf("the jump was not seen: %v", err)
	}
	if _, err := q.lookUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []*engine.Job{queued, next} { // one after the other: the first must not hide the second
		if list := claim(t, q, 1, "noop"); len(list) != 1 || list[0].Job.ID != want.ID {
			t.Fatalf("claimed %+v, want %s", list, want.ID)
		}
	}
	if list := claim(t, q, 1, "noop"); len(list) != 0 {
		t.Fatalf("claimed %+v, which is due in two hours", list)
	}
	for want := range int64(2) { // first its heartbeat is set right, then it runs out
		if n, err := db.WorkerBury(t.Context(), q.lastBeat(), 0); n != want || err != nil {
			t.Fatalf("look %d buried %d, %v", want, n, err)
		}
		if _, err := q.beatOnce(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	q.rescue(t.Context())
	if _, err := q.lookUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	if list := claim(t, q, 5, "noop"); len(list) != 1 || list[0].Job.ID != running.ID {
		t.Fatalf("rescued %+v", list)
	}
}

// TestClaimGoesByTheQueue claims jobs whose times due were moved, as a clock that was set back and forth leaves them: the first
// must not hide the second.
func TestClaimGoesByTheQueue(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	q := start(t, quiet(db, nil))
	for range 2 {
		push(t, q, noop())
	}
	storetest.Exec(t, db, "update q set scheduled_for = scheduled_for - interval '1 hour'")
	if _, err := q.lookUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		if list := claim(t, q, 1, "noop"); len(list) != 1 {
			t.Fatalf("claim %d got %d jobs", i, len(list))
		}
	}
}

// TestClockSetForward makes everybody's heartbeat look old: nobody is buried for that.
func TestClockSetForward(t *testing.T) {
	t.Parallel()
	url := storetest.URL(t)
	db := storetest.Open(t, url)
	start(t, quiet(storetest.Open(t, url), nil))
	q := start(t, quiet(db, nil))
	awaitBeat(t, q)
	beaten := q.lastBeat()
	storetest.Exec(t, db, "update worker set heartbeat = heartbeat - interval '1 hour'")
	q.shiftClock(-time.Hour)
	if n, err := db.WorkerBury(t.Context(), q.lastBeat(), time.Minute); n != 0 || err != nil {
		t.Fatalf("buried %d between heartbeat and look, %v", n, err)
	}
	if set, err := q.beatOnce(t.Context()); err != nil || !set {
		t.Fatalf("the jump was not seen: %v", err)
	}
	if n, err := db.WorkerBury(t.Context(), beaten, time.Minute); n != 1 || err != nil {
		t.Fatalf("%d were dead for an hour, %v", n, err)
	}
}

// shiftClock has the queue remember that the server's clock was off by d at the last heartbeat.
func (q *Queue) shiftClock(d time.Duration) {
	q.beatMu.Lock()
	defer q.beatMu.Unlock()
	q.clock.now = q.clock.now.Add(d)
}

// awaitBeat waits for the heartbeat that every start begins with; the next one of a quiet queue is an hour away.
func awaitBeat(t *testing.T, q *Queue) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for q.lastBeat().IsZero() {
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatal("no heartbeat")
		}
	}
}

// TestDueByTheServersClock: this host's clock may be hours off, and jobs become due by the server's.
func TestDueByTheServersClock(t *testing.T) {
	t.Parallel()
	s := newSlots(10)
	q := start(t, quiet(storetest.New(t), s))
	awaitBeat(t, q)
	for name, c := range map[string]struct {
		server time.Duration // ahead of this host
		due    time.Duration // from now on, as this host sees it
		runs   bool
	}{
		"in step, due":                        {0, -time.Minute, true},
		"in step, later":                      {0, time.Minute, false},
		"this host is behind, due over there": {3 * time.Hour, time.Hour, true},
		"this host is behind, later":          {3 * time.Hour, 4 * time.Hour, false},
		"this host is ahead, not due there":   {-3 * time.Hour, -time.Hour, false},
		"this host is ahead, due":             {-3 * time.Hour, -4 * time.Hour, true},
	} {
		q.sighted.Store(&sighting{there: time.Now().Add(c.server), here: time.Now()})
		j := noop()
		j.ScheduledFor = time.Now().Add(c.due)
		if res := push(t, q, j); res.Claimed != c.runs {
			t.Errorf("%s: %+v", name, res)
		} else if c.runs {
			finish(t, q, success(<-s.claims))
		}
	}
	q.sighted.Store(&sighting{there: time.Now().Add(-3 * time.Hour), here: time.Now()})
	push(t, q, noop()) // now is now, whatever the clocks say
	finish(t, q, success(<-s.claims))
}

// TestWaitByTheServersClock: the wait for the next job that becomes due is as long as the server's clock says.
func TestWaitByTheServersClock(t *testing.T) {
	t.Parallel()
	var l lanes
	l.init(func() time.Time { return time.Now().Add(5 * time.Hour) })
	l.added("noop", 0, time.Now().Add(5*time.Hour+time.Minute))
	if d := l.wait(time.Hour); d < 50*time.Second || d > time.Minute+time.Second {
		t.Errorf("it waits %s for what is due in a minute", d)
	}
	if ready := l.ready([]string{"noop"}); len(ready.lanes) != 0 {
		t.Errorf("not due yet: %+v", ready)
	}
	l.added("noop", 0, time.Now().Add(4*time.Hour))
	if ready := l.ready([]string{"noop"}); len(ready.lanes) != 1 {
		t.Errorf("due over there: %+v", ready)
	}
}
