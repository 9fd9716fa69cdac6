package pool

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/millrace/millrace/runtimes"
	"github.com/millrace/millrace/runtimes/mock"
	"github.com/millrace/millrace/sandbox"
)

// baker is a pool whose mock processes are forks of a zygote in name.
type baker struct {
	*Pool
	language *mock.Runtime
	door     *door
}

// door opens a slot once nobody holds it.
type door struct {
	*mock.Isolator
	sync.Mutex
}

func (d *door) Open(ctx context.Context, t sandbox.Template) (sandbox.Slot, error) {
	d.Lock()
	defer d.Unlock()
	return d.Isolator.Open(ctx, t)
}

func bake(t *testing.T) *baker {
	t.Helper()
	b := &baker{language: mock.New(), door: &door{Isolator: mock.NewIsolator(nil)}}
	var err error
	if b.Pool, err = New(Config{Isolator: b.door, MaxSlots: 8, Log: zerolog.Nop()}); err != nil {
		t.Fatal(err)
	}
	b.hots.on = true
	t.Cleanup(b.Stop)
	return b
}

// run runs source once for a tenant; with want it must say that it ran in that slot.
func (b *baker) run(t *testing.T, tenant, source, want string) {
	t.Helper()
	l, err := b.language.Launch(runtimes.Host{}, runtimes.Program{Source: source + "; slot"}, runtimes.Artifact{})
	if err != nil {
		t.Fatal(err)
	}
	l.Template.Zygote, l.Template.Tenant = []string{"/mock"}, tenant
	res, err := b.RunHot(t.Context(), l, Program{Key: tenant + source, Preloader: b.language}, Task{})
	if err != nil || res.Failure != nil || string(res.Value) != `"`+want+`"` {
		t.Errorf("%s: ran in %s, want %s (%v, %v)", source, res.Value, want, res.Failure, err)
	}
}

// slots counts those whose zygote has imported something.
func (b *baker) slots() (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.classes {
		if c.hot {
			n += c.slots
		}
	}
	return n
}

// settle waits for slots that are being opened.
func (b *baker) settle(t *testing.T) {
	t.Helper()
	b.work.Wait()
}

func TestHotAfterThree(t *testing.T) {
	b := bake(t)
	const source = "import pandas; import numpy"
	for range hotAfter {
		b.run(t, "ann", source, "ann:/mock")
	}
	b.settle(t)
	for range 3 {
		b.run(t, "ann", source, "ann:/mock pandas,numpy")
	}
	b.run(t, "bob", source, "bob:/mock") // another tenant has nothing of it
}

// Whoever finds the only slot with imports done ahead about to be free waits for it, and has a second one opened for the next time.
// TestHotInAFullPool: slots that others have left idle make room.
func TestHotInAFullPool(t *testing.T) {
	b := bake(t)
	for _, tenant := range strings.Fields("a b c d e f g h") {
		b.run(t, tenant, "log hi", tenant+":/mock")
	}
	for range hotAfter {
		b.run(t, "ann", "import pandas; import numpy", "ann:/mock")
		b.settle(t)
	}
	if n := b.slots(); n != 1 {
		t.Errorf("%d slots with imports done ahead", n)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open > b.cfg.MaxSlots {
		t.Errorf("%d slots are open, %d may be", b.open, b.cfg.MaxSlots)
	}
}

func TestHotIsTwo(t *testing.T) {
	b := bake(t)
	const source = "import pandas"
	for range hotAfter {
		b.run(t, "ann", source, "ann:/mock")
	}
	b.settle(t)
	var use runtimes.Launch
	for _, h := range b.hots.habits {
		use = h.launch
	}
	for want := 2; want <= 3; want++ { // the third is not opened
		var taken []*Worker
		for range want - 1 {
			w, err := b.acquireHot(t.Context(), use, "", 0)
			if err != nil || w == nil {
				t.Fatal(w, err)
			}
			taken = append(taken, w)
		}
		c := taken[0].entry.class
		b.coming(c, len(taken))
		b.door.Lock() // what is being opened is not there yet
		if w, err := b.acquireHot(t.Context(), use, "", 0); w != nil || err != nil {
			t.Errorf("got %v, %v of slots that are busy", w, err)
		}
		b.door.Unlock()
		b.coming(c, -len(taken))
		for _, w := range taken {
			w.Release()
		}
		b.settle(t)
		if b.slots() != 2 {
			t.Fatalf("%d slots, want 2", b.slots())
		}
	}
}

// What cannot be imported ahead, or is not worth it, stays as it was.
func TestHotNever(t *testing.T) {
	b := bake(t)
	for _, source := range []string{"import never", "log x"} {
		for range hotAfter + 2 {
			b.run(t, "ann", source, "ann:/mock")
			b.settle(t)
		}
	}
	for _, h := range b.hots.habits {
		if h.state != cold {
			t.Errorf("%+v", h)
		}
	}
}

// A module that only some runs import is not imported ahead.
func TestHotIntersection(t *testing.T) {
	h := hots{habits: map[string]*habit{}}
	prog := Program{Key: "x", Preloader: mock.New()}
	h.look("x")
	var use runtimes.Launch
	var ready bool
	for _, said := range []string{`{"modules":["a","b","c"],"ms":9}`, `{"modules":["c","a"],"ms":9}`, `{"modules":["a","c","d"],"ms":9}`} {
		use, ready = h.learn(prog, runtimes.Launch{Template: sandbox.Template{Zygote: []string{"/mock"}}}, []byte(said))
	}
	if !ready || use.Template.Zygote[1] != "a,c" {
		t.Errorf("%v, %v", ready, use.Template.Zygote)
	}
	h.look("y")
	prog.Key = "y"
	for range 5 {
		if _, ready := h.learn(prog, runtimes.Launch{}, []byte(`{"modules":["a"],"ms":0.1}`)); ready {
			t.Error("an import of no time is done ahead")
		}
	}
	if _, ready := h.learn(prog, runtimes.Launch{}, []byte(strings.Repeat("[", 99))); ready {
		t.Error("nonsense was learned")
	}
}

// Without memory nothing is opened ahead, and what is idle goes.
func TestHotMemory(t *testing.T) {
	b := bake(t)
	const source = "import pandas"
	for range hotAfter {
		b.run(t, "ann", source, "ann:/mock")
	}
	b.settle(t)
	if b.slots() != 1 {
		t.Fatalf("%d slots were opened", b.slots())
	}
	real := memoryFor
	t.Cleanup(func() { memoryFor = real })
	memoryFor = func() bool { return false }
	b.coolDown()
	if b.slots() != 0 {
		t.Error("the slot is still there")
	}
	b.run(t, "ann", source, "ann:/mock")
}

// Who waits for a hot slot goes on doing so while others get theirs, but not for ever.
func TestStillServed(t *testing.T) {
	began := time.Now()
	for name, c := range map[string]struct {
		now, served time.Duration // after began
		more        bool
	}{
		"nobody got one":       {20 * time.Millisecond, -time.Hour, false},
		"long ago":             {20 * time.Millisecond, 5 * time.Millisecond, false},
		"a moment ago":         {20 * time.Millisecond, 15 * time.Millisecond, true},
		"but it takes forever": {hotWait, hotWait - time.Millisecond, false},
	} {
		p := &Pool{now: func() time.Time { return began.Add(c.now) }}
		if got := p.stillServed(&class{served: began.Add(c.served)}, began, 10*time.Millisecond); (got > 0) != c.more {
			t.Errorf("%s: %v more", name, got)
		}
	}
}
