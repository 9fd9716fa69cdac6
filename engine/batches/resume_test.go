package batches

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store/storetest"
)

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
