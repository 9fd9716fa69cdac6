package queue

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store"
	"github.com/millrace/millrace/engine/store/storetest"
)

// TestClaimWithoutAnswer loses the answer to a claim: the worker lives and knows nothing of the jobs, and its heartbeats give
// them back, while those that it does know stay.
func TestClaimWithoutAnswer(t *testing.T) {
	t.Parallel()
	q := start(t, quiet(storetest.New(t), nil))
	awaitBeat(t, q)
	lost, kept := noop(), noop()
	push(t, q, kept)
	if list := claim(t, q, 1, "noop"); len(list) != 1 {
		t.Fatalf("claimed %d", len(list))
	}
	push(t, q, lost)
	c := &store.JobClaim{Lanes: q.lanes.ready([]string{"noop"}).lanes, Max: 1, Worker: q.Worker()}
	if err := q.cfg.DB.JobClaim(t.Context(), c); err != nil || len(c.Claims) != 1 {
		t.Fatalf("claimed %d, %v", len(c.Claims), err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := q.Claim(gone, []string{"noop"}, 1); err == nil {
		t.Fatal("a claim whose answer nobody waits for succeeded")
	}
	for range strayLooks {
		if list := claim(t, q, 5, "noop"); len(list) != 0 {
			t.Fatal("it was given back at the first look")
		}
		if _, err := q.beatOnce(t.Context()); err != nil {
			t.Fatal(err)
		}
		if q.unclear() == 0 {
			break
		}
	}
	if late := q.taken(t.Context(), slices.Clone(c.Claims)); len(late) != 0 {
		t.Fatal("an answer that came after the job was given back is taken all the same")
	}
	list := claim(t, q, 5, "noop")
	if len(list) != 1 || list[0].Job.ID != lost.ID || list[0].Attempt != 2 {
		t.Fatalf("claimed %+v", list)
	}
	if finish(t, q, success(c.Claims[0])) {
		t.Fatal("the lost claim's outcome was taken")
	}
	if len(q.strays.given) != 1 {
		t.Fatalf("%d attempts are remembered", len(q.strays.given))
	}
	q.strays.given[lost.ID] = parted{1, time.Now().Add(-2 * q.partedFor())}
	q.forgetParted()
	if len(q.strays.given) != 0 {
		t.Fatal("what was given back is remembered for ever")
	}
}

// TestComesIntoHandBeforeItIsGiven: an attempt that is in hand by the second look stays.
func TestComesIntoHandBeforeItIsGiven(t *testing.T) {
	t.Parallel()
	q := start(t, quiet(storetest.New(t), nil))
	awaitBeat(t, q)
	j := noop()
	push(t, q, j)
	c := &store.JobClaim{Lanes: q.lanes.ready([]string{"noop"}).lanes, Max: 1, Worker: q.Worker()}
	if err := q.cfg.DB.JobClaim(t.Context(), c); err != nil || len(c.Claims) != 1 {
		t.Fatalf("claimed %d, %v", len(c.Claims), err)
	}
	q.suspect()
	if _, err := q.beatOnce(t.Context()); err != nil || q.unclear() != 1 {
		t.Fatalf("%d are unclear, %v", q.unclear(), err)
	}
	if got := q.taken(t.Context(), c.Claims); len(got) != 1 || q.part(c.Claims[0]) {
		t.Fatalf("took %d, or gave up what is in hand", len(got))
	}
	for range strayLooks {
		if _, err := q.beatOnce(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if !finish(t, q, success(c.Claims[0])) {
		t.Fatal("it was given back")
	}
}

// unclear counts the attempts that want a second look.
func (q *Queue) unclear() int {
	q.beatMu.Lock()
	defer q.beatMu.Unlock()
	return len(q.strays.seen)
}

// TestEarlierAttemptComesLate: a push that is sent again, and learns late that its job is here, does not take a later attempt of it out
// of the books, whose job would be given back while it runs.
func TestEarlierAttemptComesLate(t *testing.T) {
	t.Parallel()
	q := start(t, quiet(storetest.New(t), nil))
	job := noop()
	attempt := func(n int32) *engine.Claim { return &engine.Claim{Job: job, Worker: q.Worker(), Attempt: n} }
	if !q.hold(attempt(2)) || q.hold(attempt(2)) || q.strays.looks.Load() != 0 || q.hold(attempt(1)) {
		t.Error("an attempt is held twice, or one before it")
	}
	if q.strays.looks.Load() == 0 {
		t.Error("if this process has that attempt by the books, no heartbeat will see it")
	}
	q.letGo(job.ID, 1)
	if h, ok := q.holding(job.ID, 2); !ok || h.attempt != 2 {
		t.Errorf("the attempt that runs is not in hand any more: %+v", h)
	}
	if !q.hold(attempt(3)) {
		t.Error("the next attempt is not taken")
	}
}
