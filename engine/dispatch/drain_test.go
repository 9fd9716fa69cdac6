package dispatch

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/rs/zerolog"

	"github.com/millrace/millrace/engine"
)

// reserve takes a slot for a job that is yet to be inserted.
func reserve(t *testing.T, d *Dispatcher) {
	t.Helper()
	if !d.TryReserve("python3", 0) {
		t.Fatal("no slot is free")
	}
}

// drain begins a drain and tells of its end.
func drain(patience context.Context, d *Dispatcher) <-chan struct{} {
	drained := make(chan struct{})
	go func() {
		d.Drain(patience)
		close(drained)
	}()
	return drained
}

// TestDrainWaitsForReservedSlots: a job that is being inserted as running here when a drain begins is run, not left to be rescued.
func TestDrainWaitsForReservedSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, m, g := setup(t, 1)
		start(t, d, m)
		synctest.Wait()
		reserve(t, d)
		drained := drain(context.Background(), d)
		synctest.Wait()
		if d.TryReserve("noop", 0) {
			t.Fatal("a slot is given after the drain began")
		}
		j := job()
		d.Deliver(&engine.Claim{Job: j, Attempt: 1})
		synctest.Wait()
		select {
		case id := <-g.started:
			if id != j.ID {
				t.Fatalf("job %s has begun", id)
			}
		default:
			t.Fatal("the job has not begun")
		}
		select {
		case <-drained:
			t.Fatal("drained beside a running job")
		default:
		}
		g.let <- struct{}{}
		<-drained
		if len(m.finished) != 1 || len(m.back) != 0 {
			t.Fatalf("%d finished, %d handed back", len(m.finished), len(m.back))
		}
	})
}

// TestDrainEndsWithoutTheJobOfAReservedSlot: a push that fails gives its slot back, and nobody waits for it any more.
func TestDrainEndsWithoutTheJobOfAReservedSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, m, _ := setup(t, 1)
		start(t, d, m)
		synctest.Wait()
		reserve(t, d)
		drained := drain(context.Background(), d)
		synctest.Wait()
		d.Release("python3")
		<-drained
	})
}

// slow is a gate whose stopped jobs take their time to end.
type slow struct {
	*gate
	end chan struct{}
}

func (s slow) Execute(ctx context.Context, c *engine.Claim) (engine.Outcome, bool) {
	o, done := s.gate.Execute(ctx, c)
	if !done {
		<-s.end
	}
	return o, done
}

// TestDrainStopsLateJobs: a job that comes when the others have been stopped already is handed back like them.
func TestDrainStopsLateJobs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, m := slow{newGate(), make(chan struct{})}, newMemory()
		d, err := New(Config{Executor: g, ProcessSlots: 2, ProcessTags: []string{"python3"}, Log: zerolog.Nop()})
		if err != nil {
			t.Fatal(err)
		}
		start(t, d, m)
		synctest.Wait()
		push(d, m, job())
		reserve(t, d)
		patience, end := context.WithCancel(t.Context())
		drained := drain(patience, d)
		synctest.Wait()
		end()
		synctest.Wait()
		d.Deliver(&engine.Claim{Job: job(), Attempt: 1})
		synctest.Wait()
		close(g.end)
		<-drained
		if len(m.back) != 2 || len(m.finished) != 0 {
			t.Fatalf("%d handed back, %d finished", len(m.back), len(m.finished))
		}
	})
}
