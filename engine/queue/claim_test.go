package queue

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store"
	"github.com/millrace/millrace/engine/store/storetest"
)

func TestOrder(t *testing.T) {
	t.Parallel()
	q := start(t, quiet(storetest.New(t), nil))
	now := time.Now()
	var want []uuid.UUID
	for i, x := range []struct {
		prio int16
		tag  string
		due  time.Duration
	}{{0, "noop", -time.Second}, {5, "noop", -3 * time.Second}, {5, "other", -4 * time.Second}, {0, "gpu", -time.Minute}, {9, "other", time.Hour}, {-1, "noop", -time.Hour}} {
		j := noop()
		j.Priority, j.Tag, j.ScheduledFor = x.prio, x.tag, now.Add(x.due)
		push(t, q, j)
		want = append(want, j.ID)
		_ = i
	}
	var got []uuid.UUID
	for _, c := range claim(t, q, 10, "noop", "other") {
		got = append(got, c.Job.ID)
	}
	order := []uuid.UUID{want[2], want[1], want[0], want[5]}
	if fmt.Sprint(got) != fmt.Sprint(order) {
		t.Fatalf("got %v\nwant %v", got, order)
	}
}

// Jobs become due one after another, and nobody looks at the queue but its own loop, whose poll is an hour away.
func TestScheduledFor(t *testing.T) {
	t.Parallel()
	s := newSlots(5)
	q := start(t, quiet(storetest.New(t), s))
	now := time.Now()
	for _, due := range []time.Duration{1200 * time.Millisecond, 600 * time.Millisecond, 1800 * time.Millisecond} {
		j := noop()
		j.ScheduledFor = now.Add(due)
		if res := push(t, q, j); res.Claimed {
			t.Fatal("started before its time")
		}
	}
	if list := claim(t, q, 1, "noop"); len(list) != 0 {
		t.Fatal("claimed before its time")
	}
	for got := 0; got < 3; {
		<-q.Wake()
		for _, c := range claim(t, q, 5, "noop") {
			if early := time.Until(c.Job.ScheduledFor); early > 5*time.Millisecond {
				t.Fatalf("claimed %s early", early)
			}
			got++
		}
	}
}

func TestHandBack(t *testing.T) {
	t.Parallel()
	s := newSlots(1)
	q := start(t, quiet(storetest.New(t), s))
	old := noop()
	old.ScheduledFor = time.Now().Add(-time.Minute)
	push(t, q, old)
	c := <-s.claims
	push(t, q, noop())
	if list := claim(t, q, 1, "noop"); len(list) != 1 { // moves the mark beyond it
		t.Fatalf("got %+v", list)
	}
	if err := q.HandBack(t.Context(), []*engine.Claim{c}); err != nil {
		t.Fatal(err)
	}
	list := claim(t, q, 1, "noop")
	if len(list) != 1 || list[0].Attempt != 2 {
		t.Fatalf("got %+v", list)
	}
	if finish(t, q, success(c)) {
		t.Fatal("the former attempt was taken")
	}
	if !finish(t, q, success(list[0])) {
		t.Fatal("refused")
	}
}

func TestPushMany(t *testing.T) {
	t.Parallel()
	q := start(t, quiet(storetest.New(t), newSlots(10)))
	var jobs []*engine.Job
	for range 1201 {
		jobs = append(jobs, noop())
	}
	jobs[700].IdempotencyKey = "k"
	jobs = append(jobs, jobs[3])
	res, err := q.PushMany(t.Context(), jobs)
	if err != nil || len(res) != len(jobs) {
		t.Fatalf("%d results, %v", len(res), err)
	}
	if !res[1201].Duplicate || res[1200].Duplicate {
		t.Fatalf("got %+v %+v", res[1201], res[1200])
	}
	queued, running, err := q.Counts(t.Context(), "main")
	if queued != 1200 || running != 1 || err != nil { // the one with a key found a slot
		t.Fatalf("%d queued, %d running, %v", queued, running, err)
	}
	seen := map[uuid.UUID]bool{}
	for {
		list := claim(t, q, 500, "noop")
		if len(list) == 0 {
			break
		}
		for _, c := range list {
			if seen[c.Job.ID] {
				t.Fatal("claimed twice")
			}
			seen[c.Job.ID] = true
		}
	}
	if len(seen) != 1200 {
		t.Fatalf("claimed %d", len(seen))
	}
}

func TestFinishAndClaim(t *testing.T) {
	t.Parallel()
	s := newSlots(1)
	q := start(t, quiet(storetest.New(t), s))
	push(t, q, noop())
	first := <-s.claims
	next := noop()
	push(t, q, next)
	ok, c, err := q.FinishAndClaim(t.Context(), success(first), []string{"noop"})
	if err != nil || !ok || c == nil || c.Job.ID != next.ID || c.Attempt != 1 {
		t.Fatalf("%v %+v %v", ok, c, err)
	}
	ok, none, err := q.FinishAndClaim(t.Context(), success(c), []string{"noop"})
	if err != nil || !ok || none != nil {
		t.Fatalf("%v %+v %v", ok, none, err)
	}
}

// TestDueBehindDue: what is not due yet is not forgotten behind what is, whoever put it there.
func TestDueBehindDue(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	q := start(t, quiet(db, nil))
	awaitBeat(t, q)
	now := time.Now()
	for _, due := range []time.Duration{-time.Second, -time.Second, time.Minute, time.Hour} {
		j := noop()
		j.ScheduledFor = now.Add(due)
		push(t, q, j)
	}
	q.lanes.mu.Lock()
	q.lanes.next = time.Time{} // as if another process had pushed them
	q.lanes.mu.Unlock()
	if due, err := q.lookUp(t.Context()); err != nil || !due {
		t.Fatalf("due: %t, %v", due, err)
	}
	if list := claim(t, q, 5, "noop"); len(list) != 2 {
		t.Fatalf("claimed %d, want 2", len(list))
	}
	if d := q.lanes.wait(10 * time.Hour); d < 50*time.Second || d > time.Minute+time.Second {
		t.Errorf("it waits %s for what is due in a minute", d)
	}
}

// TestPushInTheFlushThatFreesASlot: a job that somebody waits for, and that no slot is free for, is stored and claimed by the flush of
// an outcome.
func TestPushInTheFlushThatFreesASlot(t *testing.T) {
	t.Parallel()
	s := newSlots(1)
	q := start(t, quiet(storetest.New(t), s))
	awaitBeat(t, q)
	push(t, q, noop())
	first := <-s.claims
	j := noop()
	j.Awaited = true
	i, err := q.prepare(t.Context(), j)
	if err != nil {
		t.Fatal(err)
	}
	in := &op{insert: i, done: make(chan struct{})}
	if in.patient = q.canWait(in); !in.patient {
		t.Fatal("it is flushed at once")
	}
	end, err := q.outcome(t.Context(), success(first))
	if err != nil {
		t.Fatal(err)
	}
	end.claim, end.done = &ask{tags: []string{"noop"}, most: 1}, make(chan struct{})
	before := q.Flushes()
	release := holdWriter(q)
	q.writer.group.addLater(in)
	q.writer.group.add(end)
	release()
	<-in.done
	<-end.done
	if in.err != nil || end.err != nil || len(end.claim.got) != 1 || end.claim.got[0].Job.ID != j.ID || q.Flushes() != before+1 {
		t.Fatalf("%v %v, claimed %v, %d flushes", in.err, end.err, end.claim.got, q.Flushes()-before)
	}
	select {
	case <-q.Wake():
		t.Error("somebody was woken for a job that runs")
	default:
	}
}

// TestPushesThatCannotWait: others wait for them, or for what comes of them.
func TestPushesThatCannotWait(t *testing.T) {
	t.Parallel()
	q := start(t, quiet(storetest.New(t), newSlots(0)))
	awaitBeat(t, q)
	for name, change := range map[string]func(o *op){
		"nobody waits for the outcome": func(o *op) { o.insert.Job.Awaited = false },
		"it begins at once":            func(o *op) { o.insert.Worker = 1 },
		"urgent":                       func(o *op) { o.urgent = true },
		"another process takes it":     func(o *op) { o.insert.Job.Tag = "foreign" },
		"it has a limit":               func(o *op) { o.insert.Gate = 7 },
		"it is a workflow's task":      func(o *op) { o.mark = &store.Checkpoint{} },
	} {
		j := noop()
		j.Awaited = true
		o := &op{insert: &store.JobInsert{Job: j}}
		if !q.canWait(o) {
			t.Fatal("the plain one cannot")
		}
		if change(o); q.canWait(o) {
			t.Errorf("%s: it waits", name)
		}
	}
	q.others.Store(1)
	j := noop()
	j.Awaited = true
	if q.canWait(&op{insert: &store.JobInsert{Job: j}}) {
		t.Error("it waits although another process may have a slot")
	}
}
