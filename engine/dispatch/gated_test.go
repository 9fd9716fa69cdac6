package dispatch

import (
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"github.com/millrace/millrace/engine"
)

// door is a gate with a number of places.
type door struct {
	mu     sync.Mutex
	places int
	inside int
	most   int
	left   []uuid.UUID
}

func (g *door) Enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.inside == g.places {
		return false
	}
	g.inside++
	g.most = max(g.most, g.inside)
	return true
}

func (g *door) Leave(job uuid.UUID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inside--
	g.left = append(g.left, job)
}

func (g *door) set(places int) {
	g.mu.Lock()
	g.places = places
	g.mu.Unlock()
}

func gatedSetup(t *testing.T, places int) (*Dispatcher, *memory, *gate, *door) {
	t.Helper()
	g, m, door := newGate(), newMemory(), &door{places: places}
	d, err := New(Config{Executor: g, ProcessSlots: 1, ProcessTags: []string{"python3"}, NativeTags: []string{"noop"}, Log: zerolog.Nop(),
		Gated: &Gated{Tags: []string{"gpu:1", "gpu:2"}, Slots: 4, Gate: door}})
	if err != nil {
		t.Fatal(err)
	}
	start(t, d, m)
	for places > 0 && d.byTag["gpu:1"].backlog.Load() { // until the look for rows of an earlier life is over
		runtime.Gosched()
	}
	return d, m, g, door
}

func TestAGatedLaneClaimsWhatItsGateLetsIn(t *testing.T) {
	t.Parallel()
	d, m, g, door := gatedSetup(t, 2)
	const n = 20
	for k := range n {
		j := job()
		j.Tag = []string{"gpu:1", "gpu:2"}[k%2]
		push(d, m, j)
	}
	other := job() // the process lane has a free slot all the while
	push(d, m, other)
	seen := map[uuid.UUID]bool{}
	for range 3 {
		seen[<-g.started] = true
	}
	if !seen[other.ID] {
		t.Error("a job without need waits for those that have one")
	}
	select {
	case <-g.started:
		t.Fatal("a third job was let in")
	default:
	}
	for range n + 1 {
		g.let <- struct{}{}
		<-m.stored
	}
	for range n + 1 {
		<-g.over
	}
	for { // the last ones leave after they are over
		door.mu.Lock()
		inside, most, left := door.inside, door.most, slices.Clone(door.left)
		door.mu.Unlock()
		if inside > 0 {
			continue
		}
		left = slices.DeleteFunc(left, func(id uuid.UUID) bool { return id == uuid.Nil })
		if most != 2 || len(left) != n {
			t.Errorf("at most %d inside, %d left", most, len(left))
		}
		return
	}
}

func TestAGateThatOpensByItself(t *testing.T) {
	t.Parallel()
	d, m, g, door := gatedSetup(t, 0)
	j := job()
	j.Tag = "gpu:1"
	if push(d, m, j) {
		t.Fatal("it was let in through a closed gate")
	}
	door.set(1)
	d.Look()
	if id := <-g.started; id != j.ID {
		t.Fatal("another job")
	}
	if !d.Cancel(j.ID, "ann", "") {
		t.Fatal("it does not run here")
	}
	<-m.stored
	<-g.over
	next := job()
	next.Tag = "gpu:1"
	push(d, m, next)
	if id := <-g.started; id != next.ID {
		t.Fatal("the canceled job still has the place")
	}
	g.let <- struct{}{}
	<-m.stored
}

// TestUrgentDoesNotPassAGate pushes urgent jobs: what they need is not there sooner for their priority.
func TestUrgentDoesNotPassAGate(t *testing.T) {
	t.Parallel()
	d, m, g, door := gatedSetup(t, 1)
	first, second := job(), job()
	for _, j := range []*engine.Job{first, second} {
		j.Tag, j.Priority = "gpu:1", 100
	}
	if !push(d, m, first) {
		t.Fatal("the gate is open")
	}
	<-g.started
	if push(d, m, second) {
		t.Fatal("an urgent job passed the gate")
	}
	g.let <- struct{}{}
	if id := <-g.started; id != second.ID {
		t.Fatalf("%v started", id)
	}
	g.let <- struct{}{}
	<-m.stored
	<-m.stored
	door.mu.Lock()
	defer door.mu.Unlock()
	if door.most != 1 {
		t.Errorf("%d jobs were behind the gate at the same time", door.most)
	}
}
