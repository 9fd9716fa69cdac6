package batches

import (
	"context"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store/storetest"
)

func TestLife(t *testing.T) {
	t.Parallel()
	p := open(t)
	b := p.receive(of("f/demo/a", numbered(5)))
	counts(t, b, "running 5/5 queued 5 running 0 done 0 failed 0 canceled 0")
	if b.Path != "f/demo/a" || b.Hash != 2 || b.CreatedBy != "ann" || b.ReceivedAt == nil {
		t.Errorf("%+v", b)
	}
	first := p.claim(3)
	for i, c := range first {
		if c.Job.ID != engine.BatchJobID(b.ID, int64(i+1)) || c.Job.Batch == nil || *c.Job.Batch != b.ID || c.Job.Hash != 2 {
			t.Errorf("claimed %+v", c.Job)
		}
	}
	counts(t, p.look(b.ID), "running 5/5 queued 2 running 3 done 0 failed 0 canceled 0")
	p.end(first[:2], engine.StateSuccess)
	p.end(first[2:], engine.StateFailure)
	counts(t, p.look(b.ID), "running 5/5 queued 2 running 0 done 3 failed 1 canceled 0")
	if got := strings.Join(p.results(b.ID), "\n"); got != "1 success {\"n\":1}\n2 success {\"n\":2}\n3 failure {\"n\":3}\n4 queued \n5 queued " {
		t.Errorf("results:\n%s", got)
	}
	p.end(p.claim(2), engine.StateSuccess)
	last := p.look(b.ID)
	counts(t, last, "done 5/5 queued 0 running 0 done 5 failed 1 canceled 0")
	if last.FinishedAt == nil || last.Rate <= 0 {
		t.Errorf("%+v", last)
	}
	list, err := p.List(t.Context(), ann, "main", engine.BatchFilter{States: []engine.BatchState{engine.BatchDone}, PathStart: "f/demo"})
	if err != nil || len(list) != 1 || list[0].ID != b.ID || list[0].FinishedAt == nil {
		t.Errorf("list %v, %v", list, err)
	}
	if list, err := p.List(t.Context(), ann, "main", engine.BatchFilter{States: []engine.BatchState{engine.BatchRunning}}); err != nil || len(list) != 0 {
		t.Errorf("list %v, %v", list, err)
	}
	if jobs, err := p.q.List(t.Context(), "main", engine.JobFilter{Batch: &b.ID}); err != nil || len(jobs) != 5 {
		t.Errorf("%d jobs, %v", len(jobs), err)
	}
}

func TestManyRows(t *testing.T) {
	t.Parallel()
	p := open(t)
	b := p.receive(of("f/demo/a", numbered(12_345)))
	counts(t, b, "running 12345/12345 queued 12345 running 0 done 0 failed 0 canceled 0")
	rows := p.results(b.ID)
	if len(rows) != 12_345 || rows[12_344] != "12345 queued " {
		t.Errorf("%d rows", len(rows))
	}
	if err := p.Cancel(t.Context(), ann, "main", b.ID, "enough"); err != nil {
		t.Fatal(err)
	}
	counts(t, p.look(b.ID), "canceled 12345/12345 queued 0 running 0 done 12345 failed 0 canceled 12345")
}

// TestWrongRow: a batch with a wrong row fails with its line, and what was stored does not run.
func TestWrongRow(t *testing.T) {
	t.Parallel()
	p := open(t)
	for name, c := range map[string]struct {
		keep        bool
		bad         string
		text, after string
	}{
		"syntax":              {false, "{oops}\n", "line 1001: not valid JSON", "failed 1000/1000 queued 0 running 0 done 1000 failed 0 canceled 1000"},
		"what cannot be kept": {false, "{\"n\":\"\\u0000\"}\n{}\n", "line 1001: the arguments", "failed 1000/1000 queued 0 running 0 done 1000 failed 0 canceled 1000"},
		"keep":                {true, "5\n", "line 1001: 5 is not a JSON object", "failed 1000/1000 queued 1000 running 0 done 0 failed 0 canceled 0"},
	} {
		r := of("f/demo/a", io.MultiReader(numbered(1000), strings.NewReader(c.bad), numbered(10)))
		r.Keep = c.keep
		b, err := p.Receive(t.Context(), ann, r)
		if engine.CodeOf(err) != engine.Invalid || !strings.Contains(err.Error(), c.text) || !strings.Contains(err.Error(), b.ID.String()) {
			t.Fatalf("%s: %v", name, err)
		}
		now := p.look(b.ID)
		counts(t, now, c.after)
		if !strings.Contains(now.Error, c.text) || (now.FinishedAt == nil) != c.keep {
			t.Errorf("%s: %+v", name, now)
		}
		if c.keep {
			if err := p.Cancel(t.Context(), ann, "main", b.ID, ""); err != nil {
				t.Errorf("cancel the rest: %v", err)
			}
		}
	}
	if busy, _, err := p.q.Counts(t.Context(), "main"); err != nil || busy != 0 {
		t.Errorf("%d jobs are queued, %v", busy, err)
	}
}

// TestRefused: what cannot be a batch leaves none.
func TestRefused(t *testing.T) {
	t.Parallel()
	p := open(t)
	if _, err := p.Receive(t.Context(), ann, of("f/no/no", numbered(1))); engine.CodeOf(err) != engine.NotFound {
		t.Errorf("of no script: %v", err)
	}
	if list, err := p.List(t.Context(), ann, "main", engine.BatchFilter{}); err != nil || len(list) != 0 {
		t.Errorf("there are %v, %v", list, err)
	}
	id := uuid.New()
	if _, err := p.Get(t.Context(), ann, "main", id); engine.CodeOf(err) != engine.NotFound {
		t.Errorf("get: %v", err)
	}
	if err := p.Cancel(t.Context(), ann, "main", id, ""); engine.CodeOf(err) != engine.NotFound {
		t.Errorf("cancel: %v", err)
	}
	if _, _, err := p.Results(t.Context(), ann, "main", id, 0, nil); engine.CodeOf(err) != engine.NotFound {
		t.Errorf("results: %v", err)
	}
	if _, err := p.Get(t.Context(), ann, "zoo", id); engine.CodeOf(err) != engine.Forbidden {
		t.Errorf("get elsewhere: %v", err)
	}
	b := p.receive(of("f/demo/a", strings.NewReader("\n")))
	counts(t, p.look(b.ID), "done 0/0 queued 0 running 0 done 0 failed 0 canceled 0")
	if err := p.Cancel(t.Context(), ann, "main", b.ID, ""); engine.CodeOf(err) != engine.Conflict {
		t.Errorf("cancel what is over: %v", err)
	}
}

// TestSweptByAnother: a daemon marks a batch as canceled and dies; another one ends its jobs.
func TestSweptByAnother(t *testing.T) {
	t.Parallel()
	p := open(t)
	b := p.receive(of("f/demo/a", numbered(20)))
	running := p.claim(1)
	if q, r, err := p.q.Counts(t.Context(), "main"); err != nil || q != 19 || r != 1 {
		t.Errorf("%d rows are queued and %d running, %v", q, r, err)
	}
	if ok, err := p.db.BatchCancel(t.Context(), "main", b.ID, "ben", "late"); err != nil || !ok {
		t.Fatal(ok, err)
	}
	storetest.Exec(t, p.db, "update batch set touched_at = now() - interval '2 minutes'")
	if err := p.another(p.q).Round(t.Context()); err != nil {
		t.Fatal(err)
	}
	if id := <-p.killed; id != running[0].Job.ID {
		t.Errorf("killed %s", id)
	}
	p.end(running, engine.StateCanceled)
	counts(t, p.look(b.ID), "canceled 20/20 queued 0 running 0 done 20 failed 0 canceled 20")
	f := engine.JobFilter{PathExact: "f/demo/a", States: []engine.JobState{engine.StateCanceled}, PerPage: 100}
	if list, err := p.q.List(t.Context(), "main", f); err != nil || len(list) != 20 {
		t.Errorf("a list of the canceled runs of the script has %d, %v", len(list), err)
	}
}

// TestConcurrentFinishes: the count is right however many finish at the same time, of several batches.
func TestConcurrentFinishes(t *testing.T) {
	t.Parallel()
	p := open(t)
	var ids []uuid.UUID
	for range 3 {
		ids = append(ids, p.receive(of("f/demo/a", numbered(200))).ID)
	}
	claims := make(chan *engine.Claim, 600)
	for _, c := range p.claim(600) {
		claims <- c
	}
	close(claims)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for c := range claims {
				state := engine.StateSuccess
				if engine.BatchRowOf(c.Job.ID)%10 == 0 {
					state = engine.StateFailure
				}
				if ok, err := p.q.Finish(context.Background(), engine.Outcome{ID: c.Job.ID, Worker: c.Worker, Attempt: c.Attempt, State: state}); err != nil || !ok {
					t.Errorf("finish: %v, %v", ok, err)
				}
			}
		})
	}
	wg.Wait()
	for _, id := range ids {
		counts(t, p.look(id), "done 200/200 queued 0 running 0 done 200 failed 20 canceled 0")
	}
}

// A batch of a flow runs one version of it for each row; columns of a CSV have the types of the flow's schema.
func TestBatchOfFlow(t *testing.T) {
	t.Parallel()
	p := open(t)
	r := engine.BatchRequest{Run: engine.RunRequest{Workspace: "main", Kind: engine.KindFlow, Path: "f/demo/flow"}, Format: engine.BatchCSV, Rows: strings.NewReader("n\n1.5\n2\n")}
	b, err := p.Receive(t.Context(), ann, r)
	if err != nil || b.Kind != engine.KindFlow || b.Path != "f/demo/flow" || b.Hash != 7 {
		t.Fatalf("%+v, %v", b, err)
	}
	for i, c := range p.claim(2) {
		if want := []string{`{"n":1.5}`, `{"n":2}`}[i]; string(c.Job.Args) != want || c.Job.Kind != engine.KindFlow || c.Job.Hash != 7 {
			t.Errorf("row %d: %+v", i+1, c.Job)
		}
		p.end([]*engine.Claim{c}, engine.StateSuccess)
	}
	for latest := range map[bool]bool{false: true, true: true} {
		again, err := p.Rerun(t.Context(), ann, "main", b.ID, completed, engine.RerunRequest{Latest: latest})
		if err != nil {
			t.Fatal(err)
		}
		counts(t, again, "running 2/2 queued 2 running 0 done 0 failed 0 canceled 0")
		p.end(p.claim(2), engine.StateSuccess)
	}
}
