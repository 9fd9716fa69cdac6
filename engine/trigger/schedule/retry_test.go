package schedule

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store/storetest"
)

// retried gives a schedule a policy for further attempts.
func retried(policy string) func(*engine.Schedule) {
	return func(x *engine.Schedule) { x.Extra = map[string]json.RawMessage{"retry": json.RawMessage(policy)} }
}

// attempt ends the latest attempt of the nth line and lets a daemon work.
func (w *world) attempt(s *Schedules, n int, ok bool) {
	w.t.Helper()
	w.end(w.job(s, n), ok, false)
	w.work(s)
}

func TestRetry(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.daemon()
	w.create(s, func(x *engine.Schedule) {
		retried(`{"constant":{"attempts":1,"seconds":7},"exponential":{"attempts":1,"multiplier":2,"seconds":5}}`)(x)
		x.Cron, x.Args, x.Tag = "0 * * * *", json.RawMessage(`{"n":1}`), "heavy"
		x.OnFailure = &engine.Handler{Path: "script/f/ops/alert"}
	})
	w.pass(time.Hour, s)
	first := w.job(s, 0)
	if err := s.Update(context.Background(), ann, plain(func(x *engine.Schedule) { // other arguments, for later ticks
		retried(`{"constant":{"attempts":1,"seconds":7},"exponential":{"attempts":1,"multiplier":2,"seconds":5}}`)(x)
		x.Cron, x.Args, x.Tag = "0 * * * *", json.RawMessage(`{"n":2}`), "heavy"
		x.OnFailure = &engine.Handler{Path: "script/f/ops/alert"}
	})); err != nil {
		t.Fatal(err)
	}
	w.attempt(s, 0, false)
	second := w.job(s, 0)
	w.attempt(s, 0, false)
	third := w.job(s, 0)
	l := w.ledger(s)
	if l[0].State != engine.TickFired || l[0].Attempts != 3 || l[0].Success != nil || l[0].Drift != 0 {
		t.Errorf("line %+v", l[0])
	}
	w.attempt(s, 0, false)
	runs := w.runs()
	if len(runs) != 4 || *runs[1].ID != second || *runs[2].ID != third {
		t.Fatalf("ran %+v", runs)
	}
	for i, parent := range []any{first, second} {
		r := runs[i+1]
		if string(r.Args) != `{"n":1}` || r.Path != script || r.Tag != "heavy" || *r.Parent != parent || r.Trigger != "schedule" || r.TriggerPath != path {
			t.Errorf("attempt %d: %+v", i+2, r)
		}
	}
	if a, b := runs[1].ScheduledFor.Sub(w.clock.Now()), runs[2].ScheduledFor.Sub(w.clock.Now()); a != 7*time.Second || b != 50*time.Second {
		t.Errorf("delays %s %s", a, b)
	}
	// Only the end counts for handlers, and it is that of the last attempt.
	if l = w.ledger(s); l[0].State != engine.TickDone || *l[0].Success || l[0].Attempts != 3 || *l[0].JobID != third || *runs[3].ID != *l[0].Handler || *runs[3].Parent != third {
		t.Errorf("line %+v, ran %+v", l[0], runs[3])
	}
	// An attempt that succeeds is the last.
	w.pass(time.Hour, s)
	w.attempt(s, 1, false)
	w.attempt(s, 1, true)
	if l = w.ledger(s); l[1].State != engine.TickDone || !*l[1].Success || l[1].Attempts != 2 || l[1].Handler != nil {
		t.Errorf("line %+v", l[1])
	}
}

// A canceled attempt is the last, and so is one whose schedule was switched off.
func TestNoRetry(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.daemon()
	w.create(s, retried(`{"constant":{"attempts":5,"seconds":0}}`))
	w.pass(time.Minute, s)
	storetest.Exec(t, w.db, "insert into done (id, finished_at, worker, attempt, state, cpu_us, memory_peak, log_off) values ('"+
		w.job(s, 0).String()+"', now(), 1, 1, 4, 0, 0, 0)")
	w.work(s)
	w.want(s, "12:01 done")
	w.pass(time.Minute, s)
	if err := s.SetEnabled(context.Background(), ann, ws, path, false); err != nil {
		t.Fatal(err)
	}
	w.attempt(s, 1, false)
	w.want(s, "12:01 done, 12:02 done")
	if l := w.ledger(s); l[1].Attempts != 1 || len(w.runs()) != 2 {
		t.Errorf("line %+v", l[1])
	}
}

// While there are attempts left, the tick goes on: also between the end of a job and the moment in which somebody notes it.
func TestRetryOverlaps(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.daemon()
	w.create(s, func(x *engine.Schedule) {
		retried(`{"constant":{"attempts":1,"seconds":100}}`)(x)
		x.Overlap = engine.OverlapSkip
	})
	w.pass(time.Minute, s)
	w.end(w.job(s, 0), false, false)
	w.pass(time.Minute, s)
	w.pass(time.Minute, s)
	w.want(s, "12:01 fired, 12:02 skipped, 12:03 skipped")
	w.end(w.job(s, 0), false, false)
	w.pass(time.Minute, s)
	w.want(s, "12:01 done, 12:02 skipped, 12:03 skipped, 12:04 fired")
}

// A daemon dies after it has noted an end and before it pushes the next attempt: another one does, once.
func TestRetryAfterDeath(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first, second := w.daemon(), w.daemon()
	w.create(first, retried(`{"constant":{"attempts":1,"seconds":9}}`))
	w.pass(time.Minute, first)
	ctx, kill := context.WithCancel(context.Background())
	w.refuse = func(engine.RunRequest) error {
		kill()
		return engine.Errorf(engine.Unavailable, "job.push", "dead")
	}
	w.end(w.job(first, 0), false, false)
	first.polls = time.Time{}
	if _, err := first.settle(ctx, nil); err != nil {
		t.Fatal(err)
	}
	w.refuse = nil
	if len(w.runs()) != 1 || ctx.Err() == nil {
		t.Fatalf("ran %+v", w.runs())
	}
	id := w.job(second, 0)
	w.work(second)
	w.work(second)
	runs := w.runs()
	if len(runs) != 2 || *runs[1].ID != id || w.twice != 0 || !runs[1].ScheduledFor.Equal(w.clock.Now().Add(9*time.Second)) {
		t.Errorf("ran %+v, %d again", runs, w.twice)
	}
	w.attempt(second, 0, true)
	w.work(first)
	w.want(first, "12:01 done")
}

// An attempt that never can be pushed: the one before it was the last, and the line says why.
func TestRetryCannotStart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.daemon()
	w.create(s, func(x *engine.Schedule) {
		retried(`{"constant":{"attempts":3,"seconds":0}}`)(x)
		x.OnFailure = &engine.Handler{Path: "script/f/ops/alert"}
	})
	w.pass(time.Minute, s)
	id := w.job(s, 0)
	w.gone[script] = true
	w.attempt(s, 0, false)
	w.work(s)
	l := w.ledger(s)
	if l[0].State != engine.TickDone || *l[0].JobID != id || l[0].Attempts != 1 || !strings.Contains(l[0].Error, "no such script") || l[0].Handler == nil {
		t.Errorf("line %+v", l[0])
	}
}

func TestRetryPolicies(t *testing.T) {
	t.Parallel()
	for policy, want := range map[string]string{
		`7`: "must be an object", `[]`: "must be an object", `{"Constant":{}}`: `no "Constant"`, `{"constant":[]}`: "constant: must be an object",
		`{"constant":{"attempts":-1}}`: "attempts must be a whole number from 0 to 1000, not -1", `{"constant":{"attempts":1.5}}`: "whole number",
		`{"constant":{"attempts":1,"seconds":21601}}`: "seconds must be a whole number from 0 to 21600", `{"constant":{"tries":1}}`: `no "tries"`,
		`{"exponential":{"attempts":"3"}}`: "whole number", `{"exponential":{"attempts":1}}`: "seconds must be 1 or more",
		`{"exponential":{"attempts":1,"seconds":1,"multiplier":0}}`: "from 1 to 1000000", `{"exponential":{"random_factor":101}}`: "from 0 to 100",
		`{"constant":{"attempts":1},"retry_if":{"expr":"true"}}`: "no retry_if",
	} {
		_, err := parseRetry("op", json.RawMessage(policy))
		if engine.CodeOf(err) != engine.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want something about %q", policy, err, want)
		}
	}
	for policy, want := range map[string]int{``: 0, `null`: 0, `{}`: 0, `{"constant":null,"retry_if":null}`: 0, `{"constant":{"attempts":0,"seconds":5}}`: 0,
		`{"constant":{"attempts":2.0}}`: 2, `{"constant":{"attempts":2,"seconds":1},"exponential":{"attempts":3,"seconds":2,"multiplier":null}}`: 5} {
		if n := retries(&engine.Schedule{Extra: map[string]json.RawMessage{"retry": json.RawMessage(policy)}}); n != want {
			t.Errorf("%s: %d, want %d", policy, n, want)
		}
	}
	r, err := parseRetry("op", json.RawMessage(`{"constant":{"attempts":1,"seconds":4},"exponential":{"attempts":900,"multiplier":3,"seconds":2,"random_factor":50}}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		failed int
		chance float64
		want   time.Duration
	}{{1, 0, 4 * time.Second}, {2, 0.5, 12 * time.Second}, {3, 0, 12 * time.Second}, {3, 0.75, 30 * time.Second}, {900, 0, 3 * time.Hour}, {900, 0.9, 6 * time.Hour}} {
		if d := r.delay(c.failed, c.chance); d != c.want {
			t.Errorf("after %d: %s, want %s", c.failed, d, c.want)
		}
	}
}
