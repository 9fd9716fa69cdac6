package batches

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store/storetest"
)

// mixed is a batch of version 1 whose rows 2 and 4 failed.
func (p *place) mixed() *engine.Batch {
	p.t.Helper()
	r := of("", numbered(5))
	r.Run.Hash = 1
	b := p.receive(r)
	for i, c := range p.claim(5) {
		state := engine.StateSuccess
		if i%2 == 1 {
			state = engine.StateFailure
		}
		p.end([]*engine.Claim{c}, state)
	}
	return b
}

func TestRerunBatch(t *testing.T) {
	t.Parallel()
	p := open(t)
	old := p.mixed()
	for latest, version := range map[bool]engine.Hash{false: 1, true: 2} {
		b, err := p.Rerun(t.Context(), ann, "main", old.ID, []engine.JobState{engine.StateFailure}, engine.RerunRequest{Latest: latest})
		if err != nil {
			t.Fatal(err)
		}
		counts(t, b, "running 2/2 queued 2 running 0 done 0 failed 0 canceled 0")
		if b.Source == nil || *b.Source != old.ID || b.Path != "f/demo/a" {
			t.Errorf("%+v", b)
		}
		for i, c := range p.claim(2) {
			if want := []string{`{"n":2}`, `{"n":4}`}[i]; string(c.Job.Args) != want || c.Job.Hash != version || c.Job.ID != engine.BatchJobID(b.ID, int64(i+1)) {
				t.Errorf("row %d: %+v", i+1, c.Job)
			}
			p.end([]*engine.Claim{c}, engine.StateSuccess)
		}
	}
	b, err := p.Rerun(t.Context(), ann, "main", old.ID, completed, engine.RerunRequest{Limit: 3, IdempotencyKey: "once"})
	if err != nil {
		t.Fatal(err)
	}
	counts(t, b, "running 3/3 queued 3 running 0 done 0 failed 0 canceled 0")
	again, err := p.Rerun(t.Context(), ann, "main", old.ID, completed, engine.RerunRequest{IdempotencyKey: "once"})
	if err != nil || again.ID != b.ID {
		t.Errorf("asked twice: %v, %v", again, err)
	}
}

func TestRerunJobs(t *testing.T) {
	t.Parallel()
	p := open(t)
	p.mixed()
	p.receive(of("f/demo/b", strings.NewReader("{\"x\":1}\n")))
	p.end(p.claim(1), engine.StateFailure)
	p.receive(of("f/demo/b", strings.NewReader("{}\n"))) // is queued: not for a rerun
	failed := engine.JobFilter{States: []engine.JobState{engine.StateFailure}}
	n, err := p.CountRerun(t.Context(), ann, "main", failed, engine.RerunRequest{})
	if err != nil || n.Count != 3 || n.ByPath["f/demo/a"] != 2 || n.ByPath["f/demo/b"] != 1 {
		t.Errorf("count %+v, %v", n, err)
	}
	if n, err := p.CountRerun(t.Context(), ann, "main", engine.JobFilter{}, engine.RerunRequest{Limit: 4}); err != nil || n.Count != 4 {
		t.Errorf("count %+v, %v", n, err)
	}
	b, err := p.RerunJobs(t.Context(), ann, "main", failed, engine.RerunRequest{Name: "again", Priority: 5})
	if err != nil {
		t.Fatal(err)
	}
	counts(t, b, "running 3/3 queued 3 running 0 done 0 failed 0 canceled 0")
	if b.Path != "" || b.Name != "again" {
		t.Errorf("%+v", b)
	}
	var got []string
	for _, c := range p.claim(3) { // before the older job: its priority is higher
		got = append(got, c.Job.Path+" "+string(c.Job.Args))
	}
	if s := strings.Join(got, "\n"); s != "f/demo/a {\"n\":2}\nf/demo/a {\"n\":4}\nf/demo/b {\"x\":1}" {
		t.Errorf("claimed\n%s", s)
	}
	future := engine.JobFilter{CreatedAfter: time.Now().Add(time.Hour)}
	if b, err := p.RerunJobs(t.Context(), ann, "main", future, engine.RerunRequest{}); err != nil || !b.Over() {
		t.Errorf("of nothing: %+v, %v", b, err)
	}
	for _, limit := range []int{-1, rerunMost + 1} {
		if _, err := p.RerunJobs(t.Context(), ann, "main", failed, engine.RerunRequest{Limit: limit}); engine.CodeOf(err) != engine.Invalid {
			t.Errorf("limit %d: %v", limit, err)
		}
	}
}

// TestRerunGone: a script that is gone is said before anything is stored.
func TestRerunGone(t *testing.T) {
	t.Parallel()
	p := open(t)
	p.mixed()
	storetest.Exec(t, p.db, "update spec set path = 'f/gone/x', script = 99")
	if _, err := p.RerunJobs(t.Context(), ann, "main", engine.JobFilter{}, engine.RerunRequest{}); engine.CodeOf(err) != engine.NotFound {
		t.Errorf("%v", err)
	}
	if list, err := p.List(t.Context(), ann, "main", engine.BatchFilter{}); err != nil || len(list) != 1 {
		t.Errorf("%d batches, %v", len(list), err)
	}
}

func TestRerunEach(t *testing.T) {
	t.Parallel()
	p := open(t)
	old := p.mixed()
	ids := []uuid.UUID{engine.BatchJobID(old.ID, 4), uuid.New(), engine.BatchJobID(old.ID, 1)}
	out, err := p.RerunEach(t.Context(), ann, "main", engine.RerunSelection{IDs: ids, Latest: map[string]bool{"f/demo/a": true},
		Args: map[string]map[string]json.RawMessage{"f/demo/a": {"m": json.RawMessage("true")}}}, "cli")
	if err != nil || len(out) != 3 || engine.CodeOf(out[1].Err) != engine.NotFound {
		t.Fatalf("%+v, %v", out, err)
	}
	for i, want := range map[int]string{0: `{"m":true,"n":4}`, 2: `{"m":true,"n":1}`} {
		v, err := p.q.Get(t.Context(), "main", out[i].ID)
		if err != nil || string(v.Args) != want || v.Hash != 2 || v.State != engine.StateQueued || v.Batch != nil {
			t.Errorf("%d: %+v, %v", i, v, err)
		}
	}
}

// TestRerunOfARequest: what got a request through its preprocessor, and did not come so far, gets it so again, and nothing else does.
func TestRerunOfARequest(t *testing.T) {
	t.Parallel()
	p := open(t)
	var ids []uuid.UUID
	for _, trigger := range []string{engine.TriggerWebhook, "api", engine.TriggerWebhook} {
		res, err := p.q.Push(t.Context(), &engine.Job{Workspace: "main", Kind: engine.KindScript, Path: "f/demo/a", Hash: 1, Tag: "noop", CreatedBy: "ann", PermissionedAs: "u/ann",
			Trigger: trigger, Args: json.RawMessage(`{"event":{"body":1}}`)})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, res.ID)
	}
	claims := p.claim(3)
	for _, c := range claims {
		if c.Job.ID == ids[2] {
			if err := p.q.Preprocessed(t.Context(), c, json.RawMessage(`{"n":1}`)); err != nil {
				t.Fatal(err)
			}
		}
	}
	p.end(claims, engine.StateFailure)
	out, err := p.RerunEach(t.Context(), ann, "main", engine.RerunSelection{IDs: ids}, "cli")
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{engine.TriggerWebhook, "api"} {
		v, err := p.q.Get(t.Context(), "main", out[i].ID)
		if err != nil || v.Trigger != want || string(v.Args) != `{"event":{"body":1}}` {
			t.Errorf("%d: %+v, %v", i, v, err)
		}
	}
	if v, err := p.q.Get(t.Context(), "main", out[2].ID); err != nil || v.Trigger == engine.TriggerWebhook || v.Preprocessed || string(v.Args) != `{"n":1}` {
		t.Errorf("of what was preprocessed: %+v, %v", v, err)
	}
	b, err := p.RerunJobs(t.Context(), ann, "main", engine.JobFilter{States: []engine.JobState{engine.StateFailure}}, engine.RerunRequest{Trigger: "cli", Priority: 5})
	if err != nil {
		t.Fatal(err)
	}
	counts(t, b, "running 3/3 queued 3 running 0 done 0 failed 0 canceled 0")
	for i, c := range p.claim(3) {
		want := []string{`webhook {"event":{"body":1}}`, `api {"event":{"body":1}}`, `api {"n":1}`}[i]
		if got := c.Job.Trigger + " " + string(c.Job.Args); got != want {
			t.Errorf("row %d of the batch: %s, want %s", i+1, got, want)
		}
	}
}
