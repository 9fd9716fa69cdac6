package pool

import (
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// TestWornSlotsAreRenewed: by count and by age, without giving up their place, and without a second one for a run that comes meanwhile.
func TestWornSlotsAreRenewed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		config Config
		age    time.Duration // that each slot has after its job
		opened int64         // for four jobs and one more
	}{
		"count": {Config{Recycle: 3}, 0, 2},
		"age":   {Config{MaxAge: time.Hour}, 2 * time.Hour, 5},
		"young": {Config{MaxAge: time.Hour}, time.Minute, 1},
	} {
		f := &fake{}
		c.config.Isolator, c.config.Log, c.config.MaxSlots = f, zerolog.Nop(), 2
		p, err := New(c.config)
		if err != nil {
			t.Fatal(err)
		}
		run := func() *Worker {
			w, err := p.Acquire(t.Context(), launch("x", "echo"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.Run(t.Context(), Task{}); err != nil {
				t.Fatal(err)
			}
			return w
		}
		for range 4 {
			w := run()
			w.entry.since = time.Now().Add(-c.age)
			w.Release()
		}
		w := run()
		if n, s := f.opened.Load(), p.Stats(); n != c.opened || s.Open != 1 {
			t.Errorf("%s: %d slots opened, want %d; %+v", name, n, c.opened, s)
		}
		w.Release()
		p.Stop()
		if o, closed := f.opened.Load(), f.closed.Load(); o != closed {
			t.Errorf("%s: %d slots opened, %d closed", name, o, closed)
		}
	}
}

// TestSlotThatCannotBeRenewed: its place is free for another.
func TestSlotThatCannotBeRenewed(t *testing.T) {
	t.Parallel()
	f := &fake{}
	p, err := New(Config{Isolator: f, MaxSlots: 1, Recycle: 1, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Stop()
	do(t, p, launch("x", "echo"), Task{})
	w, err := p.Acquire(t.Context(), launch("x", "echo"))
	if err != nil {
		t.Fatal(err)
	}
	f.fail.Store(true)
	w.Release()
	p.work.Wait()
	if s := p.Stats(); s.Open != 0 {
		t.Errorf("%+v", s)
	}
	f.fail.Store(false)
	do(t, p, launch("x", "echo"), Task{})
}
