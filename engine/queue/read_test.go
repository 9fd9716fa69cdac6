package queue

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store/storetest"
)

func TestList(t *testing.T) {
	t.Parallel()
	s := newSlots(4)
	q := start(t, quiet(storetest.New(t), s))
	base := time.Now().Add(-time.Hour).Truncate(time.Millisecond)
	var ids []uuid.UUID
	for i := range 10 {
		j := noop()
		j.CreatedAt = base.Add(time.Duration(i/2) * time.Second) // pairs of one moment: the id decides
		j.Path = fmt.Sprintf("u/ann/s%d", i)
		j.Args = json.RawMessage(fmt.Sprintf(`{"i": %d, "odd": %v}`, i, i%2 == 1))
		if i == 5 {
			j.Parent = &ids[4]
			j.CreatedBy = "bob"
		}
		if i >= 7 {
			j.Trigger, j.TriggerPath = []string{"webhook", "schedule", "schedule"}[i-7], "f/a/nightly"
		}
		push(t, q, j) // four run, six wait
		ids = append(ids, j.ID)
	}
	for i := range 3 {
		o := success(<-s.claims)
		if o.Result = json.RawMessage(`{"n": 1}`); i == 2 {
			o.State, o.Result = engine.StateFailure, json.RawMessage(`{"error": {"name": "X"}}`)
		}
		finish(t, q, o)
	}
	list := func(f engine.JobFilter) (got []int) {
		t.Helper()
		views, err := q.List(t.Context(), "main", f)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range views {
			for i, id := range ids {
				if v.ID == id {
					got = append(got, i)
				}
			}
		}
		return got
	}
	states := func(s ...engine.JobState) engine.JobFilter { return engine.JobFilter{States: s, Ascending: true} }
	for i, c := range []struct {
		f    engine.JobFilter
		want []int
	}{
		{engine.JobFilter{}, []int{9, 8, 7, 6, 5, 4, 3, 2, 1, 0}},
		{engine.JobFilter{PerPage: 3}, []int{9, 8, 7}},
		{engine.JobFilter{PerPage: 3, Page: 4}, []int{0}},
		{engine.JobFilter{PerPage: 3, Page: 5}, nil},
		{states(engine.StateQueued), []int{4, 5, 6, 7, 8, 9}},
		{states(engine.StateRunning), []int{3}},
		{states(engine.StateSuccess), []int{0, 1}},
		{states(engine.StateFailure, engine.StateCanceled), []int{2}},
		{states(engine.StateRunning, engine.StateFailure), []int{2, 3}},
		{engine.JobFilter{PathExact: "u/ann/s7"}, []int{7}},
		{engine.JobFilter{PathStart: "u/ann/s", CreatedBy: "bob"}, []int{5}},
		{engine.JobFilter{Parent: &ids[4]}, []int{5}},
		{engine.JobFilter{HasNoParent: true, CreatedAfter: base.Add(1500 * time.Millisecond), CreatedBefore: base.Add(2500 * time.Millisecond)}, []int{4}},
		{engine.JobFilter{Args: json.RawMessage(`{"odd": true}`), PerPage: 2}, []int{9, 7}},
		{engine.JobFilter{Result: json.RawMessage(`{"n": 1}`)}, []int{1, 0}},
		{engine.JobFilter{Kinds: []engine.JobKind{engine.KindScript}}, nil},
		{engine.JobFilter{Tag: "other"}, nil},
		{engine.JobFilter{Schedule: "f/a/nightly"}, []int{9, 8}},
		{engine.JobFilter{Schedule: "f/a/nightly", PathExact: "u/ann/s8", States: []engine.JobState{engine.StateQueued}}, []int{8}},
		{engine.JobFilter{Worker: q.info.Name, Ascending: true}, []int{0, 1, 2, 3}},
	} {
		if got := list(c.f); fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%d: %+v: got %v, want %v", i, c.f, got, c.want)
		}
	}
	for _, f := range []engine.JobFilter{{Page: -1}, {PerPage: 1001}, {States: []engine.JobState{"x"}}, {Args: json.RawMessage("{")}} {
		if _, err := q.List(t.Context(), "main", f); engine.CodeOf(err) != engine.Invalid {
			t.Errorf("%+v: %v", f, err)
		}
	}
	if views, err := q.List(t.Context(), "other", engine.JobFilter{}); len(views) != 0 || err != nil {
		t.Errorf("another workspace: %d, %v", len(views), err)
	}
}

func TestWhy(t *testing.T) {
	t.Parallel()
	s := newSlots(0)
	q := start(t, quiet(storetest.New(t), s))
	first, second, later, gpu := noop(), noop(), noop(), noop()
	later.ScheduledFor = time.Now().Add(time.Hour)
	gpu.Tag = "gpu"
	for _, j := range []*engine.Job{first, second, later, gpu} {
		push(t, q, j)
	}
	for _, c := range []struct {
		id   uuid.UUID
		want string
	}{{first.ID, "it is next"}, {second.ID, "1 job is ahead"}, {later.ID, "scheduled for"}, {gpu.ID, "no worker takes tag gpu"}} {
		w, err := q.Why(t.Context(), "main", c.id)
		if err != nil || w.State != engine.StateQueued || !strings.Contains(strings.Join(w.Reasons, "; "), c.want) {
			t.Errorf("want %q, got %+v %v", c.want, w, err)
		}
	}
	got := claim(t, q, 1, "noop")[0]
	if w, err := q.Why(t.Context(), "main", first.ID); err != nil || w.State != engine.StateRunning {
		t.Errorf("running: %+v %v", w, err)
	}
	finish(t, q, success(got))
	if w, err := q.Why(t.Context(), "main", first.ID); err != nil || w.State != engine.StateSuccess {
		t.Errorf("done: %+v %v", w, err)
	}
	if _, err := q.Why(t.Context(), "main", uuid.New()); engine.CodeOf(err) != engine.NotFound {
		t.Errorf("unknown: %v", err)
	}
	tags, err := q.TagCounts(t.Context())
	if err != nil || fmt.Sprint(tags) != "[{gpu 1 0} {noop 2 0}]" {
		t.Errorf("%v %v", tags, err)
	}
	if _, err := q.beatOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	workers, err := q.Workers(t.Context())
	if err != nil || len(workers) != 1 || workers[0].Executed != 1 || workers[0].ID != q.Worker() || workers[0].Slots != 4 || fmt.Sprint(workers[0].Tags) != "[noop other]" {
		t.Errorf("%+v %v", workers, err)
	}
}

func TestOutput(t *testing.T) {
	t.Parallel()
	s := newSlots(1)
	q := start(t, quiet(storetest.New(t), s))
	push(t, q, noop())
	c := <-s.claims
	id, ctx := c.Job.ID, t.Context()
	at := int64(0)
	var wg sync.WaitGroup
	for _, part := range []string{"grü", "\xc3", "\xa4 one\n", "two\n"} { // a chunk may end within a character
		offset := at
		wg.Go(func() {
			if err := q.AppendLog(ctx, id, offset, part); err != nil {
				t.Error(err)
			}
		})
		at += int64(len(part))
	}
	wg.Wait()
	if err := q.AppendLog(ctx, id, at-4, "two\n"); err != nil { // sent again
		t.Fatal(err)
	}
	if err := q.AppendStream(ctx, id, 0, "chunk"); err != nil {
		t.Fatal(err)
	}
	if err := q.AppendLog(ctx, uuid.New(), 0, "nobody's"); err != nil {
		t.Fatal(err)
	}
	const want = "grüä one\ntwo\n"
	for from := range len(want) + 2 {
		text, next, err := q.Logs(ctx, id, int64(from))
		if err != nil || text != want[min(from, len(want)):] || next != int64(from+len(text)) {
			t.Fatalf("from %d: %q %d %v", from, text, next, err)
		}
	}
	o := success(c)
	o.LogTail, o.LogOffset = "end", at
	finish(t, q, o)
	if text, next, err := q.Logs(ctx, id, 6); text != want[6:]+"end" || next != int64(len(want)+3) || err != nil {
		t.Fatalf("%q %d %v", text, next, err)
	}
	if text, _, err := q.Stream(ctx, id, 2); text != "unk" || err != nil {
		t.Fatalf("%q %v", text, err)
	}
	if err := q.AppendLog(ctx, id, at+3, "after the end"); err != nil {
		t.Fatal(err)
	}
	if text, _, _ := q.Logs(ctx, id, at); text != "end" {
		t.Fatalf("a log grew after its end: %q", text)
	}
}

func TestOutputOfNextAttempt(t *testing.T) {
	t.Parallel()
	s := newSlots(1)
	q := start(t, quiet(storetest.New(t), s))
	push(t, q, noop())
	c := <-s.claims
	if err := q.AppendLog(t.Context(), c.Job.ID, 0, "the first attempt"); err != nil {
		t.Fatal(err)
	}
	if err := q.HandBack(t.Context(), []*engine.Claim{c}); err != nil {
		t.Fatal(err)
	}
	again := claim(t, q, 1, "noop")[0]
	if err := q.AppendLog(t.Context(), c.Job.ID, 0, "second"); err != nil {
		t.Fatal(err)
	}
	finish(t, q, success(again))
	if text, _, err := q.Logs(t.Context(), c.Job.ID, 0); text != "second" || err != nil {
		t.Fatalf("%q %v", text, err)
	}
}

// commits runs n jobs, one after another, in a fresh database and counts the transactions that committed in it.
func commits(t *testing.T, n int) (total int) {
	t.Helper()
	db := storetest.New(t)
	name := storetest.Name(t, db)
	s := newSlots(1)
	q := start(t, quiet(db, s))
	before := q.Flushes()
	for range n {
		push(t, q, noop())
		finish(t, q, success(<-s.claims))
		s.Release("")
	}
	if got := q.Flushes() - before; got != int64(2*n) {
		t.Errorf("%d jobs made %d flushes", n, got)
	}
	q.Stop()
	db.Close()
	for alive := 1; alive > 0; { // sessions report what they counted at their end
		storetest.AdminRow(t, "select count(*) from pg_stat_activity where datname = '"+name+"'", &alive)
	}
	storetest.AdminRow(t, "select xact_commit from pg_stat_database where datname = '"+name+"'", &total)
	return total
}

// TestTwoCommits counts on the server's side: a job that is dispatched directly costs two transactions, insert+claim and
// finish, and no third anywhere.
func TestTwoCommits(t *testing.T) {
	t.Parallel()
	const few, many = 50, 550
	got := commits(t, many) - commits(t, few)
	// Whatever else happens happens in both; autovacuum may add a few.
	if want := 2 * (many - few); got < want-5 || got > want+want/20 {
		t.Fatalf("%d more jobs made %d more commits, want %d", many-few, got, want)
	}
}

// TestClaimOverBacklog checks that a claim finds the one urgent job among many, and that marks do not hide what comes late.
func TestClaimOverBacklog(t *testing.T) {
	t.Parallel()
	q := start(t, quiet(storetest.New(t), nil))
	var jobs []*engine.Job
	for range 2000 {
		jobs = append(jobs, noop())
	}
	if _, err := q.PushMany(context.Background(), jobs); err != nil {
		t.Fatal(err)
	}
	if n := len(claim(t, q, 1500, "noop")); n != 1500 {
		t.Fatalf("claimed %d", n)
	}
	urgent, late := noop(), noop()
	urgent.Priority = 9
	late.ScheduledFor = time.Now().Add(-time.Hour) // behind the mark
	push(t, q, urgent)
	push(t, q, late)
	list := claim(t, q, 2, "noop")
	if len(list) != 2 || list[0].Job.ID != urgent.ID || list[1].Job.ID != late.ID {
		t.Fatalf("got %+v", list)
	}
	// A row of another process, behind the mark and without a word: the next look finds it.
	storetest.Exec(t, q.cfg.DB, "update q set state = 0, worker = 0 where id = '"+late.ID.String()+"'")
	if _, err := q.lookUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	if list := claim(t, q, 1, "noop"); len(list) != 1 || list[0].Job.ID != late.ID {
		t.Fatalf("got %+v", list)
	}
}
