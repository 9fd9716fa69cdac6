package batches

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
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
