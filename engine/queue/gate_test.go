package queue

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store"
	"github.com/millrace/millrace/engine/store/storetest"
)

// limited is a job of the limit key.
func limited(key string, n int) *engine.Job {
	j := noop()
	j.Limit = &engine.Limit{Key: key, Slots: n}
	return j
}

// states returns how many jobs with a limit are queued, running and waiting.
func states(t testing.TB, db *store.DB) (queued, running, waits int) {
	t.Helper()
	storetest.Row(t, db, `select count(*) filter (where state = 0), count(*) filter (where state = 1), count(*) filter (where state = 5)
		from q where gate is not null`, &queued, &running, &waits)
	return
}

func TestLimitDirect(t *testing.T) {
	t.Parallel()
	db, s := storetest.New(t), newSlots(10)
	q := start(t, quiet(db, s))
	a, b, other := limited("k", 1), limited("k", 1), limited("other", 1)
	if res := push(t, q, a); !res.Claimed {
		t.Fatalf("the first waits: %+v", res)
	}
	first := <-s.claims
	if first.Gate == 0 || first.Attempt != 1 || first.Worker != q.Worker() {
		t.Fatalf("got %+v", first)
	}
	if res := push(t, q, b); res.Claimed || s.left() != 9 {
		t.Fatalf("over the limit: %+v, %d slots are free", res, s.left())
	}
	if v := get(t, q, b.ID); v.State != engine.StateQueued {
		t.Fatalf("a waiting job is %s", v.State)
	}
	if res := push(t, q, other); !res.Claimed {
		t.Fatal("limits of two keys touch")
	}
	why, err := q.Why(t.Context(), "main", b.ID)
	if err != nil || !strings.Contains(strings.Join(why.Reasons, "; "), "it waits for the limit k: 1 of 1 run: "+a.ID.String()) {
		t.Fatalf("got %+v, %v", why, err)
	}
	if list := claim(t, q, 5, "noop"); len(list) != 0 {
		t.Fatalf("claimed %d over the limit", len(list))
	}
	flushes := q.Flushes()
	finish(t, q, success(first))
	if q.Flushes() != flushes+1 {
		t.Fatalf("%d flushes for a finish and an admission", q.Flushes()-flushes)
	}
	<-q.Wake()
	list := claim(t, q, 5, "noop")
	if len(list) != 1 || list[0].Job.ID != b.ID || list[0].Gate != first.Gate {
		t.Fatalf("got %+v", list)
	}
	if v := get(t, q, a.ID); v.State != engine.StateSuccess {
		t.Fatalf("got %+v", v)
	}
}

// TestLimitChain gets the next job of a limit with the finish of the one before: one transaction a job.
func TestLimitChain(t *testing.T) {
	t.Parallel()
	q := start(t, quiet(storetest.New(t), nil))
	var jobs []*engine.Job
	for range 5 {
		jobs = append(jobs, limited("k", 1))
		push(t, q, jobs[len(jobs)-1])
	}
	c := claim(t, q, 9, "noop")[0]
	flushes := q.Flushes()
	for _, j := range jobs[1:] {
		ok, next, err := q.FinishAndClaim(t.Context(), success(c), []string{"noop"})
		if err != nil || !ok || next == nil || next.Job.ID != j.ID || next.Gate != c.Gate {
			t.Fatalf("%v %+v %v", ok, next, err)
		}
		c = next
	}
	if n := q.Flushes() - flushes; n != 4 {
		t.Fatalf("%d flushes for 4 jobs", n)
	}
}

func TestLimitOrder(t *testing.T) {
	t.Parallel()
	q := start(t, quiet(storetest.New(t), nil))
	first := limited("k", 1)
	push(t, q, first)
	prio := []int16{0, 5, 0, 9, 5}
	var want []uuid.UUID
	jobs := make([]*engine.Job, len(prio))
	for i, p := range prio {
		jobs[i] = limited("k", 1)
		jobs[i].Priority = p
		push(t, q, jobs[i])
	}
	for _, i := range []int{3, 1, 4, 0, 2} {
		want = append(want, jobs[i].ID)
	}
	c := claim(t, q, 9, "noop")
	for _, id := range want {
		if len(c) != 1 {
			t.Fatalf("claimed %d", len(c))
		}
		finish(t, q, success(c[0]))
		c = claim(t, q, 9, "noop")
		if len(c) != 1 || c[0].Job.ID != id {
			t.Fatalf("got %+v, want %s", c, id)
		}
	}
}

func TestLimitDueLater(t *testing.T) {
	t.Parallel()
	q := start(t, quiet(storetest.New(t), nil)) // polls once an hour: it is the timer that admits
	j := limited("k", 1)
	j.ScheduledFor = time.Now().Add(200 * time.Millisecond)
	push(t, q, j)
	for {
		<-q.Wake()
		if list := claim(t, q, 1, "noop"); len(list) == 1 {
			if list[0].Job.ID != j.ID || list[0].Started.Before(j.ScheduledFor.Truncate(time.Microsecond)) {
				t.Fatalf("%+v was started before %s", list[0], j.ScheduledFor)
			}
			return
		}
	}
}

func TestLimitCancel(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	q := start(t, quiet(db, nil))
	admitted, waiting, last := limited("k", 1), limited("k", 1), limited("k", 1)
	for _, j := range []*engine.Job{admitted, waiting, last} {
		push(t, q, j)
	}
	if err := q.Cancel(t.Context(), "main", waiting.ID, "bob", ""); err != nil {
		t.Fatal(err)
	}
	if a, _, w := states(t, db); a != 1 || w != 1 {
		t.Fatalf("%d queued, %d waiting", a, w)
	}
	if err := q.Cancel(t.Context(), "main", admitted.ID, "bob", ""); err != nil {
		t.Fatal(err)
	}
	if list := claim(t, q, 9, "noop"); len(list) != 1 || list[0].Job.ID != last.ID {
		t.Fatalf("got %+v", list)
	}
	for _, j := range []*engine.Job{admitted, waiting} {
		if v := get(t, q, j.ID); v.State != engine.StateCanceled {
			t.Fatalf("got %+v", v)
		}
	}
}

func TestLimitRescue(t *testing.T) {
	t.Parallel()
	url := storetest.URL(t)
	db := storetest.Open(t, url)
	s := newSlots(9)
	dead := start(t, quiet(storetest.Open(t, url), s))
	lost, canceled, next := limited("k", 2), limited("k", 2), limited("k", 2)
	for _, j := range []*engine.Job{lost, canceled, next} {
		push(t, dead, j)
	}
	if err := dead.Cancel(t.Context(), "main", canceled.ID, "bob", ""); err != nil {
		t.Fatal(err)
	}
	q := start(t, quiet(storetest.Open(t, url), nil))
	if err := db.WorkerLeave(t.Context(), dead.Worker()); err != nil {
		t.Fatal(err)
	}
	q.rescue(t.Context())
	if a, r, w := states(t, db); a != 2 || r != 0 || w != 0 {
		t.Fatalf("%d queued, %d running, %d waiting: the lost one keeps its place, the ended one gives its to the next", a, r, w)
	}
	list := claim(t, q, 9, "noop")
	if len(list) != 2 {
		t.Fatalf("claimed %d", len(list))
	}
	after := limited("k", 2)
	push(t, q, after)
	for _, c := range list {
		finish(t, q, success(c))
	}
	if list := claim(t, q, 9, "noop"); len(list) != 1 || list[0].Job.ID != after.ID {
		t.Fatalf("got %+v", list)
	}
}

func TestLimitFail(t *testing.T) {
	t.Parallel()
	s := newSlots(9)
	q := start(t, quiet(storetest.New(t), s))
	hasty := func() *engine.Job {
		j := limited("k", 1)
		j.Limit.Fail = true
		return j
	}
	if res := push(t, q, hasty()); !res.Claimed || res.Ended {
		t.Fatalf("got %+v", res)
	}
	j := hasty()
	if res := push(t, q, j); res.Claimed || !res.Ended {
		t.Fatalf("got %+v", res)
	}
	v := get(t, q, j.ID)
	if v.State != engine.StateFailure || !strings.Contains(string(v.Result), `{"error":{"name":"ConcurrencyLimit","message":"the limit k is reached: 1 at the same time"}}`) {
		t.Fatalf("got %+v %s", v, v.Result)
	}
	many, err := q.PushMany(t.Context(), []*engine.Job{hasty(), limited("k", 1)})
	if err != nil || !many[0].Ended || many[1].Ended {
		t.Fatalf("got %+v, %v", many, err)
	}
	finish(t, q, success(<-s.claims))
	if list := claim(t, q, 9, "noop"); len(list) != 1 || list[0].Job.ID != many[1].ID {
		t.Fatalf("got %+v", list)
	}
}

// TestLimitBulk admits jobs that are stored in bulk, and again after their process died between storing and admitting.
func TestLimitBulk(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	q := start(t, quiet(db, nil))
	var jobs []*engine.Job
	for i := range 30 {
		jobs = append(jobs, limited(fmt.Sprint(i%3), 2))
	}
	if _, err := q.PushMany(t.Context(), jobs); err != nil {
		t.Fatal(err)
	}
	if a, _, w := states(t, db); a != 6 || w != 24 {
		t.Fatalf("%d queued, %d waiting", a, w)
	}
	storetest.Exec(t, db, "update q set state = 5")
	ids, err := db.GateLook(t.Context())
	if err != nil || len(ids) != 3 {
		t.Fatalf("found %v, %v", ids, err)
	}
	q.admitAt(t.Context(), ids)
	if a, _, w := states(t, db); a != 6 || w != 24 {
		t.Fatalf("%d queued, %d waiting", a, w)
	}
	if ids, err := db.GateLook(t.Context()); err != nil || len(ids) != 0 {
		t.Fatalf("full gates are found: %v, %v", ids, err)
	}
}

// TestLimitTwice pushes the id of a waiting job again while its gate is free and a slot too.
func TestLimitTwice(t *testing.T) {
	t.Parallel()
	db, s := storetest.New(t), newSlots(1)
	cfg := quiet(db, nil)
	j := limited("k", 1)
	push(t, start(t, cfg), j)
	storetest.Exec(t, db, "update q set state = 5")
	q := start(t, quiet(db, s))
	again := *j
	if res := push(t, q, &again); !res.Duplicate || res.Claimed || s.left() != 1 {
		t.Fatalf("got %+v, %d slots", res, s.left())
	}
	if list := claim(t, q, 9, "noop"); len(list) != 1 || list[0].Job.ID != j.ID {
		t.Fatalf("it was lost: %+v", list)
	}
}

func TestLimitChanges(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	q := start(t, quiet(db, nil))
	for range 4 {
		push(t, q, limited("k", 1))
	}
	push(t, q, limited("k", 3))
	if a, _, w := states(t, db); a != 3 || w != 2 {
		t.Fatalf("%d queued, %d waiting after the limit was raised", a, w)
	}
	for _, l := range []engine.Limit{{Key: "k"}, {Slots: 1}, {Key: "k", Slots: 1, Window: -1}, {Key: "\xff", Slots: 1}} {
		j := noop()
		j.Limit = &l
		if _, err := q.Push(t.Context(), j); engine.CodeOf(err) != engine.Invalid {
			t.Errorf("%+v: %v", l, err)
		}
	}
	if n, err := db.GateSweep(t.Context(), 0); n != 0 || err != nil {
		t.Fatalf("forgot %d gates in use, %v", n, err)
	}
	storetest.Exec(t, db, "delete from q")
	if n, err := db.GateSweep(t.Context(), 0); n != 1 || err != nil {
		t.Fatalf("forgot %d gates, %v", n, err)
	}
}
