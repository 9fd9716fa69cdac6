package dispatch

import (
	"runtime"
	"testing"

	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"github.com/millrace/millrace/engine"
)

// TestUrgentPassesTheLine fills the slots of kept processes: an urgent job starts all the same, in one of those to spare, which
// afterwards take no other.
func TestUrgentPassesTheLine(t *testing.T) {
	t.Parallel()
	g, m := newGate(), newMemory()
	d, err := New(Config{Executor: g, ProcessSlots: 1, ProcessTags: []string{"python3"}, NativeTags: []string{"noop"}, DedicatedSlots: 8, DedicatedTags: []string{"kept"}, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	start(t, d, m)
	settle(d)
	dedicated := d.lanes[2]
	for dedicated.backlog.Load() {
		runtime.Gosched()
	}
	of := func(tag string, priority int16) *engine.Job {
		return &engine.Job{ID: engine.NewJobID(), Kind: engine.KindScript, Tag: tag, Priority: priority}
	}
	running := map[uuid.UUID]bool{}
	for range 8 {
		if !push(d, m, of("kept", 0)) {
			t.Fatal("a slot is free and was refused")
		}
		running[<-g.started] = true
	}
	line := of("kept", 0)
	if push(d, m, line) {
		t.Fatal("a ninth job was let in")
	}
	urgent, second := of("kept", 10), of("kept", 10)
	if !push(d, m, urgent) {
		t.Fatal("an urgent job had to wait")
	}
	if id := <-g.started; id != urgent.ID {
		t.Fatalf("%v started, not the urgent one", id)
	}
	if push(d, m, second) {
		t.Fatal("more urgent jobs than there are slots to spare")
	}
	g.let <- struct{}{} // the slot to spare comes back: nobody starts in its place
	<-m.stored
	<-g.over
	select {
	case id := <-g.started:
		t.Fatalf("%v started beyond the size of the lane", id)
	default:
	}
	g.let <- struct{}{}
	if id := <-g.started; id != line.ID && id != second.ID {
		t.Fatalf("%v started", id)
	}
	for range 9 {
		g.let <- struct{}{}
	}
	for range 10 {
		<-m.stored
	}

	if !push(d, m, of("python3", 0)) {
		t.Fatal("the slot is free")
	}
	<-g.started
	if push(d, m, of("python3", 10)) {
		t.Fatal("there is no second sandbox, for nobody")
	}
	g.let <- struct{}{}
	g.let <- struct{}{}
}
