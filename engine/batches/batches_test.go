package batches

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/queue"
	"github.com/millrace/millrace/engine/store"
	"github.com/millrace/millrace/engine/store/storetest"
)

var ann = engine.Principal{Username: "ann", Email: "ann@example.org"}

// scripts knows f/demo/a, whose versions are 1 and 2, and f/demo/b; f/secret/x exists but is not for ann.
type scripts struct{}

func (scripts) Template(_ context.Context, p engine.Principal, r engine.RunRequest) (*engine.Job, error) {
	j := &engine.Job{Workspace: r.Workspace, Kind: engine.KindScript, Path: r.Path, Hash: r.Hash, Tag: "noop", CreatedBy: p.Username, Email: p.Email,
		PermissionedAs: p.PermissionedAs(), Trigger: "api", Priority: r.Priority, ScheduledFor: r.ScheduledFor}
	switch {
	case r.Kind == engine.KindNoop:
		j.Kind = engine.KindNoop
	case r.Kind == engine.KindFlow:
		j.Kind, j.Path, j.Hash = engine.KindFlow, "f/demo/flow", 7
	case r.Path == "f/demo/a":
		j.Hash = 2
	case r.Hash == 1 || r.Hash == 2:
		j.Path = "f/demo/a"
	case r.Path == "f/demo/b" || r.Hash == 3:
		j.Path, j.Hash = "f/demo/b", 3
	default:
		return nil, &engine.Error{Code: engine.NotFound, Op: "script.get", Path: r.Path, Msg: "no such script"}
	}
	return j, nil
}

func (scripts) ByHash(_ context.Context, _ string, h engine.Hash) (*engine.Script, error) {
	return &engine.Script{Hash: h, Schema: json.RawMessage(`{"properties":{"n":{"type":"integer"}}}`)}, nil
}

func (scripts) ByVersion(_ context.Context, _ string, version int64) (*engine.Flow, error) {
	return &engine.Flow{Version: version, Schema: json.RawMessage(`{"properties":{"n":{"type":"number"}}}`)}, nil
}

// gate lets ann run everything but f/demo/b in workspaces whose name begins with m.
type gate struct{}

func (gate) Can(_ engine.Principal, verb, ws, path string) error {
	if !strings.HasPrefix(ws, "m") || (verb == "run" && path == "f/secret/x") {
		return engine.Errorf(engine.Forbidden, "can", "no")
	}
	return nil
}

// place is a database, a queue that does nothing on its own, and batches over them.
type place struct {
	*Batches
	t      *testing.T
	db     *store.DB
	q      *queue.Queue
	killed chan uuid.UUID
}

func open(t *testing.T) *place {
	t.Helper()
	return openOn(t, storetest.New(t))
}

func openOn(t *testing.T, db *store.DB) *place {
	t.Helper()
	p := &place{t: t, db: db, killed: make(chan uuid.UUID, 1000)}
	var err error
	if p.q, err = queue.New(queue.Config{DB: p.db, Tags: []string{"noop"}, Capacity: 4, Poll: time.Hour, Heartbeat: time.Hour, Lease: 3 * time.Hour, Log: storetest.Log(t),
		OnCancel: func(id uuid.UUID, _, _ string) bool {
			p.killed <- id
			return true
		}}); err != nil {
		t.Fatal(err)
	}
	if err := p.q.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.q.Stop)
	p.Batches = p.another(p.q)
	return p
}

// another is one more daemon's Batches.
func (p *place) another(q Queue) *Batches {
	p.t.Helper()
	b, err := New(Config{DB: p.db, Queue: q, Jobs: scripts{}, Scripts: scripts{}, Flows: scripts{}, Gate: gate{}, Log: storetest.Log(p.t), MaxRow: 1 << 20,
		Alive: time.Minute, Dead: time.Hour, Resume: 2 * time.Hour})
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(b.Stop)
	return b
}

func numbered(n int) io.Reader {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "{\"n\":%d}\n", i+1)
	}
	return strings.NewReader(b.String())
}

func of(path string, rows io.Reader) engine.BatchRequest {
	return engine.BatchRequest{Run: engine.RunRequest{Workspace: "main", Path: path, Trigger: "api"}, Format: engine.BatchNDJSON, Rows: rows}
}

func (p *place) receive(r engine.BatchRequest) *engine.Batch {
	p.t.Helper()
	b, err := p.Receive(p.t.Context(), ann, r)
	if err != nil {
		p.t.Fatal(err)
	}
	return b
}

func (p *place) look(id uuid.UUID) *engine.Batch {
	p.t.Helper()
	b, err := p.Get(p.t.Context(), ann, "main", id)
	if err != nil {
		p.t.Fatal(err)
	}
	return b
}

// claim takes n jobs.
func (p *place) claim(n int) []*engine.Claim {
	p.t.Helper()
	list, err := p.q.Claim(p.t.Context(), []string{"noop"}, n)
	if err != nil || len(list) != n {
		p.t.Fatalf("claimed %d of %d: %v", len(list), n, err)
	}
	return list
}

func (p *place) end(list []*engine.Claim, state engine.JobState) {
	p.t.Helper()
	for _, c := range list {
		ok, err := p.q.Finish(p.t.Context(), engine.Outcome{ID: c.Job.ID, Worker: c.Worker, Attempt: c.Attempt, State: state, Result: c.Job.Args})
		if err != nil || !ok {
			p.t.Fatalf("finish: %v, %v", ok, err)
		}
	}
}

// counts compares what matters of a batch.
func counts(t *testing.T, b *engine.Batch, want string) {
	t.Helper()
	total := "?"
	if b.Total != nil {
		total = fmt.Sprint(*b.Total)
	}
	got := fmt.Sprintf("%s %d/%s queued %d running %d done %d failed %d canceled %d", b.State, b.Inserted, total, b.Queued, b.Running, b.Done, b.Failed, b.Canceled)
	if got != want {
		t.Errorf("batch is %q, want %q", got, want)
	}
}

func (p *place) results(id uuid.UUID, states ...engine.JobState) (out []string) {
	p.t.Helper()
	for after, more := int64(0), true; more; {
		var rows []engine.BatchRow
		var err error
		rows, more, err = p.Results(p.t.Context(), ann, "main", id, after, states)
		if err != nil {
			p.t.Fatal(err)
		}
		for _, r := range rows {
			if r.Job != engine.BatchJobID(id, r.Row) || r.Row <= after {
				p.t.Errorf("row %d after %d is job %s", r.Row, after, r.Job)
			}
			after = r.Row
			out = append(out, fmt.Sprintf("%d %s %s", r.Row, r.State, r.Result))
		}
		more = more && len(rows) > 0
	}
	return out
}

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

// TestResume: rows that break off are taken up by sending them again with the same key, and each runs once.
func TestResume(t *testing.T) {
	t.Parallel()
	p := open(t)
	r := of("f/demo/a", io.MultiReader(numbered(3000), iotest.ErrReader(errors.New("the line is dead"))))
	r.Run.IdempotencyKey = "monday"
	b, err := p.Receive(t.Context(), ann, r)
	if engine.CodeOf(err) != engine.Unavailable || !strings.Contains(err.Error(), "broke off after row 3000: the line is dead") {
		t.Fatalf("%v", err)
	}
	now := p.look(b.ID)
	counts(t, now, "receiving 3000/? queued 3000 running 0 done 0 failed 0 canceled 0")
	p.end(p.claim(10), engine.StateSuccess)
	if err := p.Round(t.Context()); err != nil { // it is young: nobody takes it for dead
		t.Fatal(err)
	}
	other := of("f/demo/b", numbered(10))
	other.Run.IdempotencyKey = "monday"
	if _, err := p.Receive(t.Context(), ann, other); engine.CodeOf(err) != engine.Conflict || !strings.Contains(err.Error(), "another batch") {
		t.Errorf("of another script: %v", err)
	}
	r.Rows = numbered(4000)
	again := p.receive(r)
	if again.ID != b.ID {
		t.Fatalf("another batch %s", again.ID)
	}
	counts(t, again, "running 4000/4000 queued 3990 running 0 done 10 failed 0 canceled 0")
	if rows := p.results(b.ID); len(rows) != 4000 {
		t.Errorf("%d rows", len(rows))
	}
	r.Rows = iotest.ErrReader(errors.New("it is not read"))
	if third := p.receive(r); third.ID != b.ID {
		t.Errorf("another batch %s", third.ID)
	}
}

// TestShorterResume: fewer rows than were stored before are another body.
func TestShorterResume(t *testing.T) {
	t.Parallel()
	p := open(t)
	r := of("f/demo/a", io.MultiReader(numbered(30), iotest.ErrReader(errors.New("the line is dead"))))
	r.Run.IdempotencyKey = "monday"
	b, err := p.Receive(t.Context(), ann, r)
	if engine.CodeOf(err) != engine.Unavailable {
		t.Fatal(err)
	}
	r.Rows = numbered(10)
	if _, err := p.Receive(t.Context(), ann, r); engine.CodeOf(err) != engine.Invalid || !strings.Contains(err.Error(), "there are 10 rows, but 30 were sent before") {
		t.Errorf("%v", err)
	}
	counts(t, p.look(b.ID), "failed 30/30 queued 0 running 0 done 30 failed 0 canceled 30")
}

// TestCrashedReceiver: a daemon dies after rows were stored and before that was noted; the same rows are the same jobs.
func TestCrashedReceiver(t *testing.T) {
	t.Parallel()
	p := open(t)
	b := &engine.Batch{ID: engine.NewBatchID(), Workspace: "main", Kind: engine.KindScript, Path: "f/demo/a", Hash: 1, CreatedBy: "ann"}
	if _, err := p.db.BatchInsert(t.Context(), b, "monday"); err != nil {
		t.Fatal(err)
	}
	tmpl, err := scripts{}.Template(t.Context(), ann, engine.RunRequest{Workspace: "main", Hash: 1})
	if err != nil {
		t.Fatal(err)
	}
	f := &filling{b: p.Batches, batch: b, tmpl: tmpl}
	if err := f.store(t.Context(), []row{{args: json.RawMessage(`{"n":1}`)}, {args: json.RawMessage(`{"n":2}`)}}); err != nil {
		t.Fatal(err)
	}
	r := of("f/demo/a", numbered(3))
	r.Run.IdempotencyKey = "monday"
	if _, err := p.Receive(t.Context(), ann, r); engine.CodeOf(err) != engine.Conflict || !strings.Contains(err.Error(), "another request") {
		t.Fatalf("while its receiver may be alive: %v", err)
	}
	storetest.Exec(t, p.db, "update batch set touched_at = now() - interval '2 minutes'")
	again := p.receive(r)
	counts(t, again, "running 3/3 queued 3 running 0 done 0 failed 0 canceled 0")
	for _, c := range p.claim(3) {
		if c.Job.Hash != 1 {
			t.Errorf("row %d runs version %d, the batch began with 1", engine.BatchRowOf(c.Job.ID), c.Job.Hash)
		}
	}
}

// TestAbandoned: batches whose rows broke off and that nobody takes up fail, and their rows do not run.
func TestAbandoned(t *testing.T) {
	t.Parallel()
	p := open(t)
	r := of("f/demo/a", io.MultiReader(numbered(7), iotest.ErrReader(errors.New("dead"))))
	r.Run.IdempotencyKey = "k"
	b, err := p.Receive(t.Context(), ann, r)
	if err == nil {
		t.Fatal("no error")
	}
	storetest.Exec(t, p.db, "update batch set interrupted_at = now() - interval '3 hours'")
	if err := p.Round(t.Context()); err != nil {
		t.Fatal(err)
	}
	counts(t, p.look(b.ID), "failed 7/7 queued 0 running 0 done 7 failed 0 canceled 7")
	if _, err := p.Receive(t.Context(), ann, r); engine.CodeOf(err) != engine.Conflict || !strings.Contains(err.Error(), "has failed") {
		t.Errorf("sent again: %v", err)
	}
}

// TestCancelWhileReceiving: the sender is told, what was stored ends, what runs is killed.
func TestCancelWhileReceiving(t *testing.T) {
	t.Parallel()
	p := open(t)
	in, out := io.Pipe()
	type answer struct {
		b   *engine.Batch
		err error
	}
	answered := make(chan answer, 1)
	go func() {
		b, err := p.Receive(context.WithoutCancel(t.Context()), ann, of("f/demo/a", pipeEnd{in}))
		answered <- answer{b, err}
	}()
	if _, err := io.Copy(out, numbered(100)); err != nil {
		t.Fatal(err)
	}
	running := p.someClaims(2)
	id := *running[0].Job.Batch
	if err := p.Cancel(t.Context(), ann, "main", id, "enough"); err != nil {
		t.Fatal(err)
	}
	a := <-answered
	if engine.CodeOf(a.err) != engine.Conflict || !strings.Contains(a.err.Error(), "canceled by ann") {
		t.Errorf("the sender was told %v", a.err)
	}
	for range running {
		<-p.killed
	}
	counts(t, p.look(id), "canceled 100/100 queued 0 running 2 done 98 failed 0 canceled 98")
	p.end(running, engine.StateCanceled)
	last := p.look(id)
	counts(t, last, "canceled 100/100 queued 0 running 0 done 100 failed 0 canceled 100")
	if last.CanceledBy != "ann" || last.Reason != "enough" || last.FinishedAt == nil {
		t.Errorf("%+v", last)
	}
	if rows := p.results(id, engine.StateCanceled); len(rows) != 100 || !strings.Contains(rows[99], "canceled by ann: enough") {
		t.Errorf("results %v", rows)
	}
}

// pipeEnd is a body whose reading can be given up.
type pipeEnd struct{ *io.PipeReader }

func (p pipeEnd) Abort() { p.CloseWithError(errors.New("aborted")) } //nolint:errcheck // never fails

// someClaims claims n jobs as soon as there are so many.
func (p *place) someClaims(n int) (out []*engine.Claim) {
	p.t.Helper()
	for len(out) < n {
		<-p.q.Wake()
		list, err := p.q.Claim(p.t.Context(), []string{"noop"}, n-len(out))
		if err != nil {
			p.t.Fatal(err)
		}
		out = append(out, list...)
	}
	return out
}

// TestSweptByAnother: a daemon marks a batch as canceled and dies; another one ends its jobs.
func TestSweptByAnother(t *testing.T) {
	t.Parallel()
	p := open(t)
	b := p.receive(of("f/demo/a", numbered(20)))
	running := p.claim(1)
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
