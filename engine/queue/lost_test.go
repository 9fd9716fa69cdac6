package queue

import (
	"context"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store/storetest"
)

// How often a job may lose its worker with MaxLost 3: the first loss over that ends it.
const (
	lostAlone = 4
	lostCrowd = 13
)

// rounds has workers come and die, n times; in each of them fn claims what the worker dies with.
func rounds(t *testing.T, url string, n int, fn func(q *Queue, round int)) {
	t.Helper()
	for i := range n {
		q := start(t, quiet(storetest.Open(t, url), nil))
		fn(q, i)
		q.Stop() // leaves; what it still owns is lost
	}
}

func ended(t *testing.T, url string, id uuid.UUID) bool {
	t.Helper()
	v := get(t, start(t, quiet(storetest.Open(t, url), nil)), id)
	if v.State == engine.StateFailure && !strings.Contains(string(v.Result), "WorkerLost") {
		t.Fatalf("it failed otherwise: %s", v.Result)
	}
	return v.State == engine.StateFailure
}

// TestPoisonAlone: a job that kills each worker that has it, and nothing else, is given up soon.
func TestPoisonAlone(t *testing.T) {
	t.Parallel()
	url := storetest.URL(t)
	poison := noop()
	lose := func(q *Queue, round int) {
		if round == 0 {
			push(t, q, poison)
		}
		if list := claim(t, q, 2, "noop"); len(list) != 1 {
			t.Fatalf("round %d: claimed %d", round, len(list))
		}
	}
	rounds(t, url, lostAlone, lose)
	if !ended(t, url, poison.ID) {
		t.Fatal("it goes on")
	}
}

// TestCrowdLost: jobs that are lost together, as often as one alone would not survive, all run once more.
func TestCrowdLost(t *testing.T) {
	t.Parallel()
	url := storetest.URL(t)
	crowd := []*engine.Job{noop(), noop(), noop()}
	lose := func(q *Queue, round int) {
		for _, j := range crowd {
			if round == 0 {
				push(t, q, j)
			}
		}
		if list := claim(t, q, 4, "noop"); len(list) != len(crowd) {
			t.Fatalf("round %d: claimed %d", round, len(list))
		}
	}
	rounds(t, url, lostCrowd-1, lose)
	q := start(t, quiet(storetest.Open(t, url), nil))
	list := claim(t, q, 4, "noop")
	if len(list) != len(crowd) {
		t.Fatalf("claimed %d", len(list))
	}
	for _, c := range list {
		if !finish(t, q, success(c)) {
			t.Fatal("refused")
		}
	}
}

// TestPoisonInCrowd: a job that kills its workers is given up although each had another one too, and those others are not.
func TestPoisonInCrowd(t *testing.T) {
	t.Parallel()
	url := storetest.URL(t)
	poison := noop()
	var last *engine.Job
	rounds(t, url, lostCrowd, func(q *Queue, round int) {
		if round == 0 {
			push(t, q, poison)
		}
		before := last
		last = noop()
		push(t, q, last)
		seen := map[uuid.UUID]*engine.Claim{}
		for _, c := range claim(t, q, 4, "noop") {
			seen[c.Job.ID] = c
		}
		if seen[poison.ID] == nil || seen[last.ID] == nil {
			t.Fatalf("round %d: claimed %v", round, seen)
		}
		if before != nil && !finish(t, q, success(seen[before.ID])) {
			t.Fatal("refused")
		}
	})
	if !ended(t, url, poison.ID) {
		t.Fatal("it goes on")
	}
	q := start(t, quiet(storetest.Open(t, url), nil))
	if v, err := q.Get(context.Background(), "main", last.ID); err != nil || v.State != engine.StateQueued {
		t.Fatalf("the innocent one is %+v, %v", v, err)
	}
}
