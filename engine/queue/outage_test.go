package queue

import (
	"testing"
	"time"

	"github.com/millrace/millrace/engine/store"
	"github.com/millrace/millrace/engine/store/storetest"
)

// cut ends all connections to the queue's database but that of the test.
func cut(t *testing.T, q *Queue) {
	t.Helper()
	storetest.Exec(t, q.cfg.DB, "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()")
}

// TestPushLearnsOfItsSuccess: a push whose connection was lost finds its job running here although the first connection that it asks on
// was lost as well. Otherwise the job, which is this process's by the books, would wait for a heartbeat.
func TestPushLearnsOfItsSuccess(t *testing.T) {
	t.Parallel()
	s := newSlots(1)
	q := start(t, quiet(storetest.New(t), s))
	awaitBeat(t, q)
	j := noop()
	push(t, q, j)
	<-s.claims
	get(t, q, j.ID)
	cut(t, q)
	res, err := q.twice(t.Context(), &op{insert: &store.JobInsert{Job: j, Worker: q.Worker()}, retried: true})
	if err != nil || !res.Claimed || res.Duplicate {
		t.Fatalf("%+v, %v", res, err)
	}
}

// TestBeatsWhenTheDatabaseIsBack: who else is there, and what was left in doubt by an outage, is found out when it is over and not at
// the next heartbeat.
func TestBeatsWhenTheDatabaseIsBack(t *testing.T) {
	t.Parallel()
	q := start(t, quiet(storetest.New(t), nil)) // its next heartbeat would be in an hour
	awaitBeat(t, q)
	last := q.lastBeat()
	cut(t, q)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for q.lastBeat().Equal(last) || q.Others() != 0 {
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatal("no heartbeat")
		}
	}
}
