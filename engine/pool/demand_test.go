package pool

import (
	"testing"
	"time"

	"github.com/rs/zerolog"
)

func TestDemand(t *testing.T) {
	t.Parallel()
	begin := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, c := range []struct {
		name  string
		every time.Duration // between two of a minute's runs
		boot  time.Duration
		after time.Duration // the last of them
		want  int
	}{
		{"rare", 20 * time.Second, 12 * time.Millisecond, 0, 1},
		{"thirty a second", 33 * time.Millisecond, 12 * time.Millisecond, 0, 3},
		{"as many as the cores boot", 12 * time.Millisecond, 100 * time.Millisecond, 0, 17},
		{"ten seconds later", 12 * time.Millisecond, 100 * time.Millisecond, 10 * time.Second, 9},
		{"a minute later", 12 * time.Millisecond, 100 * time.Millisecond, time.Minute, 1},
		{"nobody came", 12 * time.Millisecond, 100 * time.Millisecond, 10 * time.Minute, 0},
	} {
		var d demand
		now := begin
		for ; now.Sub(begin) < time.Minute; now = now.Add(c.every) {
			d.arrived(now)
			d.booted(c.boot)
		}
		if got := d.wanted(d.last.Add(c.after), 10*time.Minute); got != c.want {
			t.Errorf("%s: %d processes should wait, want %d", c.name, got, c.want)
		}
	}
	if got := new(demand).wanted(begin, time.Hour); got != 0 {
		t.Errorf("%d for a class that nobody has asked for", got)
	}
}

// TestPoolFollowsArrivals: a crowd leaves as many processes waiting as another would need, the rest of it has its own booted when
// it comes, and when nobody comes any more first the processes go and then the slots, but those that are kept.
func TestPoolFollowsArrivals(t *testing.T) {
	t.Parallel()
	f := &fake{}
	p, err := New(Config{Isolator: f, MaxSlots: 8, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	p.now = func() time.Time { return now }
	p.since = func(time.Time) time.Duration { return time.Second } // a boot: in a moment, by this clock
	l := launch("warm", "echo")
	if err := p.Keep(t.Context(), l, 2); err != nil {
		t.Fatal(err)
	}
	p.work.Wait()
	crowd := func() {
		t.Helper()
		var list []*Worker
		for range 8 {
			w, err := p.Acquire(t.Context(), l)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, w)
		}
		for _, w := range list {
			if r, err := w.Run(t.Context(), Task{}); err != nil || r.Failure != nil {
				t.Fatal(r, err)
			}
			w.Release()
		}
		p.work.Wait() // until all that was started is ready
	}
	expect := func(when string, open, warm int) {
		t.Helper()
		if s := p.Stats(); s.Open != open || s.Idle != open || s.Warm != warm {
			t.Errorf("%s: %+v, want %d open and %d of them warm", when, s, open, warm)
		}
	}
	expect("kept", 2, 2)
	crowd()
	expect("after eight in a moment", 8, 4)
	starts := f.starts.Load()
	crowd()
	expect("after eight more", 8, 6)
	if n := f.starts.Load() - starts; n != 4+6 {
		t.Errorf("%d processes were started for the second crowd, want 4 for those who found none and 6 for the next", n)
	}
	p.shrink(now)
	expect("at once", 8, 6)
	now = now.Add(30 * time.Second)
	p.shrink(now)
	expect("half a minute later", 8, 2)
	now = now.Add(p.cfg.IdleAfter)
	p.shrink(now)
	p.closeIdle(now)
	expect("long after", 2, 2)
}
