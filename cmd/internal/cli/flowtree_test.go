package cli

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/cmd/internal/clitest"
	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/web/client"
)

// TestFlowTreeOnATerminal: the tree stands in its place, with what is within the step at work; logs go above it.
func TestFlowTreeOnATerminal(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	began, three, item := now.Add(-1500*time.Millisecond), 3, uuid.New()
	var out bytes.Buffer
	tree := newFlowTree(&out)
	tree.tty, tree.now, tree.size = true, func() time.Time { return now }, func() (int, int) { return 60, 10 }
	tree.learn(&client.Job{RawFlow: json.RawMessage(`{"modules": [{"id": "a", "summary": "Each of them", "value": {"type": "forloopflow",
		"iterator": {"type": "static", "value": []}, "modules": [{"id": "b", "value": {"type": "identity"}}]}}]}`)})
	tree.within[item] = &client.FlowStatus{Modules: []client.FlowModule{{ID: "b", Type: engine.ModuleWaitsForEvents, Count: 2}},
		FailureModule: client.FlowModule{Type: engine.ModuleWaitsForPrior}}
	status := &client.FlowStatus{FailureModule: client.FlowModule{Type: engine.ModuleWaitsForPrior}, Modules: []client.FlowModule{{ID: "a", Type: engine.ModuleInProgress,
		Iterator: &engine.FlowIterator{Len: &three}, StartedAt: &began, FlowJobs: []uuid.UUID{item}, JobsSuccess: []*bool{nil}}, {ID: "z", Type: engine.ModuleWaitsForPrior}}}
	want := "  a  Each of them                   running     1.5 s, 0 of\n    b  identity                     waiting     2 approvals\n  z\n"
	if err := tree.update(status, ""); err != nil || out.String() != want {
		t.Errorf("%v, drawn:\n%q, want\n%q", err, out.String(), want)
	}
	out.Reset()
	if err := tree.update(nil, "said"); err != nil || out.String() != "\x1b[3A\r\x1b[Jsaid\n"+want {
		t.Errorf("%v, drawn again: %q", err, out.String())
	}
}

// TestFlowTreeIsCutToTheScreen: of a long flow one sees what is at work.
func TestFlowTreeIsCutToTheScreen(t *testing.T) {
	status := &client.FlowStatus{FailureModule: client.FlowModule{Type: engine.ModuleWaitsForPrior}}
	for i := range 100 {
		m := client.FlowModule{ID: "s" + string(rune('a'+i%26)) + string(rune('a'+i/26)), Type: engine.ModuleWaitsForPrior}
		if i < 50 {
			m.Type = engine.ModuleSuccess
		}
		status.Modules = append(status.Modules, m)
	}
	var out bytes.Buffer
	tree := newFlowTree(&out)
	tree.tty, tree.size = true, func() (int, int) { return 80, 11 }
	if err := tree.update(status, ""); err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(out.String(), "\n"); lines != 10 || !strings.Contains(out.String(), status.Modules[49].ID) || !strings.Contains(out.String(), status.Modules[50].ID) {
		t.Errorf("%d lines:\n%s", lines, out.String())
	}
}

// TestFlowTreeIsKeptUpToDate: it is drawn again while nothing comes, with what is within a loop at work, until the flow ends.
func TestFlowTreeIsKeptUpToDate(t *testing.T) {
	d := clitest.New(t)
	d.Run = func(string, json.RawMessage) clitest.Outcome { return clitest.Outcome{Forever: true} }
	cl := d.Client(t)
	id, err := cl.Run(t.Context(), client.Run{Flow: &client.FlowPreview{Value: json.RawMessage(`{"modules": [{"id": "c", "summary": "Release?", "value": {"type": "identity"}}]}`)}})
	if err != nil {
		t.Fatal(err)
	}
	r, w := io.Pipe()
	type end struct {
		job *client.Job
		err error
	}
	done := make(chan end, 1)
	go func() {
		tree := newFlowTree(w)
		tree.tty = true
		j, err := tree.follow(t.Context(), cl, id)
		_ = w.Close()
		done <- end{j, err}
	}()
	var seen strings.Builder
	b := make([]byte, 4096)
	for resumed := false; ; {
		n, err := r.Read(b)
		if seen.Write(b[:n]); err != nil {
			break
		}
		if !resumed && strings.Count(seen.String(), "c  Release?                       waiting     2 approvals missing") >= 3 {
			resumed = true
			if err := cl.ResumeFlow(t.Context(), id, json.RawMessage(`"yes"`)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if e := <-done; e.err != nil || string(*e.job.Result) != `"yes"` {
		t.Errorf("%+v", e)
	}
	if !strings.Contains(seen.String(), "\x1b[3A\r\x1b[J") {
		t.Errorf("the tree does not stay in its place: %q", seen.String())
	}
}

// TestFlowTreeFails when nobody takes what it writes.
func TestFlowTreeFails(t *testing.T) {
	tree := newFlowTree(brokenWriter{})
	status := &client.FlowStatus{Modules: []client.FlowModule{{ID: "a", Type: engine.ModuleInProgress}}, FailureModule: client.FlowModule{Type: engine.ModuleWaitsForPrior}}
	if err := tree.update(status, ""); err == nil || !strings.Contains(err.Error(), "show the flow") {
		t.Errorf("a pipe that broke: %v", err)
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, bytes.ErrTooLarge }
