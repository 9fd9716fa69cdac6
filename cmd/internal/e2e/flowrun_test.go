package e2e

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/web/client"
)

// anAskingFlow is a flow that asks: its first step fetches the links by which it is answered.
const anAskingFlow = `{
  "modules": [
    {"id": "ask", "summary": "Release it?", "suspend": {"required_events": 1, "timeout": 600}, "value": {"type": "rawscript", "language": "python3", "input_transforms": {},
      "content": "import json, os, urllib.request\ndef main():\n    e = os.environ\n    url = f\"{e['WM_BASE_URL']}/api/w/{e['WM_WORKSPACE']}/jobs/resume_urls/{e['WM_JOB_ID']}/1?approver=ann\"\n    ask = urllib.request.Request(url, headers={'Authorization': 'Bearer ' + e['WM_TOKEN']})\n    return json.load(urllib.request.urlopen(ask))"}},
    {"id": "release", "value": {"type": "rawscript", "language": "bash", "content": "target=\"$1\"\necho \"released to $target\"",
      "input_transforms": {"target": {"type": "javascript", "expr": "resume.target"}}}},
    {"id": "tell", "value": {"type": "rawscript", "language": "bash", "content": "what=\"$1\"\nwhom=\"$2\"\necho \"$what, told $whom\"",
      "input_transforms": {"what": {"type": "javascript", "expr": "results.release"}, "whom": {"type": "javascript", "expr": "flow_input.whom"}}}}
  ]
}`

// steeredFlows runs a flow that waits for an approval, answers it by its signed links, and runs it again from its last step.
func steeredFlows(t *testing.T, d *daemon) {
	ctx := t.Context()
	id, err := d.Run(ctx, client.Run{Flow: &client.FlowPreview{Value: json.RawMessage(anAskingFlow)}, Args: json.RawMessage(`{"whom": "ann"}`)})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	first, err := d.Follow(ctx, id, func(u client.Update) error {
		for _, m := range statusOf(u).Modules {
			if seen[m.ID+" "+m.Type] = true; m.ID == "release" && m.Type == engine.ModuleWaitsForEvents && !seen["answered"] {
				seen["answered"] = true
				answerByLink(t, d, *m.Job)
			}
		}
		return nil
	})
	if err != nil || result(first) != `"released to eu, told ann"` {
		t.Fatalf("%s, %v", result(first), err)
	}
	for _, want := range []string{"ask Success", "release WaitingForEvents", "tell WaitingForPriorSteps", "tell Success"} {
		if !seen[want] {
			t.Errorf("the event stream did not say %q: %v", want, seen)
		}
	}
	if by := first.FlowStatus.Modules[0].Approvers; len(by) != 1 || by[0].Approver != "ann" || by[0].ResumeID != 1 {
		t.Errorf("approvers %+v", by)
	}
	again(t, d, first)
	resumedByOwner(t, d)
	iterations(t, d)
}

// iterations takes up a loop in its midst: the iterations before are shown as those of the earlier run.
func iterations(t *testing.T, d *daemon) {
	value := json.RawMessage(`{"modules": [{"id": "b", "value": {"type": "forloopflow", "iterator": {"type": "static", "value": [1, 2, 3]}, "modules": [
		{"id": "c", "value": {"type": "rawscript", "language": "bash", "content": "x=\"$1\"\nm=\"$2\"\necho \"$x$m\"",
			"input_transforms": {"x": {"type": "javascript", "expr": "flow_input.iter.value"}, "m": {"type": "javascript", "expr": "flow_input.m"}}}}]}}]}`)
	id, err := d.Run(t.Context(), client.Run{Flow: &client.FlowPreview{Value: value}, Args: json.RawMessage(`{"m": "A"}`)})
	if err != nil {
		t.Fatal(err)
	}
	first := d.wait(t.Context(), id)
	var j client.Job
	said, err := millrace(t, d, &j, "flow", "restart", id.String(), "--step", "b", "--iteration", "1", "-d", `{"m": "B"}`)
	if err != nil || strings.Join(strings.Fields(result(&j)), "") != `["1A","2B","3B"]` || !strings.Contains(said, "3 of 3 iterations") {
		t.Fatalf("from the second iteration: %s, %v\n%s", result(&j), err, said)
	}
	old, err := d.Job(t.Context(), first.ID, false)
	if err != nil {
		t.Fatal(err)
	}
	before, now := old.FlowStatus.Modules[0].FlowJobs, j.FlowStatus.Modules[0].FlowJobs
	if len(before) != 3 || len(now) != 3 || now[0] != before[0] || now[1] == before[1] {
		t.Errorf("jobs of the iterations: %v, earlier %v", now, before)
	}
	for item, want := range map[int]string{2: `"3A"`, 3: "3 iterations", -1: "no iteration -1"} {
		got, err := d.RunWait(t.Context(), client.Run{Flow: &client.FlowPreview{Value: value, OnlyStep: "c", FromRun: &id, FromItem: item}})
		if text := string(got) + message(err); !strings.Contains(text, want) {
			t.Errorf("step c of iteration %d: %s, want %s", item, text, want)
		}
	}
}

func statusOf(u client.Update) client.FlowStatus {
	switch {
	case u.FlowStatus != nil:
		return *u.FlowStatus
	case u.Job != nil && u.Job.FlowStatus != nil:
		return *u.Job.FlowStatus
	}
	return client.FlowStatus{}
}

// answerByLink takes the links that the step has fetched: they are those of resume_urls, a wrong signature is refused.
func answerByLink(t *testing.T, d *daemon, step uuid.UUID) {
	ctx := t.Context()
	raw, err := d.Result(ctx, step)
	if err != nil {
		t.Error(err)
		return
	}
	var links engine.ApprovalURLs
	if err := json.Unmarshal(raw, &links); err != nil || links.Resume == "" {
		t.Errorf("links %s, %v", raw, err)
	}
	if own, err := d.ResumeURLs(ctx, step, 1, "ann"); err != nil || *own != links {
		t.Errorf("resume_urls: %+v, %v, the step has %+v", own, err, links)
	}
	place, query, _ := strings.Cut(links.Resume, "?")
	cut := strings.LastIndexByte(place, '/') + 1
	forged := place[:cut] + strings.Repeat("0", len(place)-cut) + "?" + query
	for _, c := range []struct {
		name, method, url, body string
		status                  int
		says                    string
	}{
		{"a wrong signature", "POST", forged, `{"target": "us"}`, http.StatusForbidden, "the link is not valid"},
		{"a link of somebody else", "POST", strings.Replace(links.Resume, "approver=ann", "approver=ben", 1), `{"target": "us"}`, http.StatusForbidden, "the link is not valid"},
		{"the page", "GET", links.ApprovalPage, "", http.StatusOK, "Release it?"},
		{"the link", "POST", links.Resume, `{"target": "eu"}`, http.StatusCreated, "approved"},
	} {
		if status, text := ask(ctx, t, c.method, c.url, c.body); status != c.status || !strings.Contains(text, c.says) {
			t.Errorf("%s: %d %.300s, want %d and %q", c.name, status, text, c.status, c.says)
		}
	}
}

func ask(ctx context.Context, t *testing.T, method, url, body string) (status int, text string) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	return resp.StatusCode, string(b)
}

// millrace runs the command line against d and reads the one value that it prints.
func millrace(t *testing.T, d *daemon, v any, args ...string) (stderr string, err error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary(t), append(args, "--json", "--socket", filepath.Join(d.data, "run", "millrace.sock"))...)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if jErr := json.Unmarshal(out, v); jErr != nil {
		t.Errorf("%v: %v: %s%s", args, jErr, out, errs.String())
	}
	return errs.String(), err
}

// again runs a flow from its last step on: what came before is as it was.
func again(t *testing.T, d *daemon, first *client.Job) {
	var j client.Job
	said, err := millrace(t, d, &j, "flow", "restart", first.ID.String(), "--step", "tell", "-d", `{"whom": "ben"}`)
	if err != nil || result(&j) != `"released to eu, told ben"` || j.FlowStatus == nil || j.FlowStatus.RestartedFrom == nil {
		t.Fatalf("restarted: %s, %v\n%s", result(&j), err, said)
	}
	if from := j.FlowStatus.RestartedFrom; from.FlowJobID != first.ID || from.StepID != "tell" || !strings.Contains(said, "tell") {
		t.Errorf("restarted from %+v, said:\n%s", from, said)
	}
	steps, err := d.Jobs(t.Context(), filter("parent_job", j.ID.String()))
	if err != nil || len(steps) != 1 {
		t.Errorf("%d steps ran again, %v", len(steps), err)
	}
	var refused struct{ Error string }
	if _, err := millrace(t, d, &refused, "flow", "restart", first.ID.String(), "--step", "nobody"); err == nil || !strings.Contains(refused.Error, "nobody") {
		t.Errorf("from a step that is not there: %q, %v", refused.Error, err)
	}
}

// resumedByOwner answers without a link, and cancels what waits.
func resumedByOwner(t *testing.T, d *daemon) {
	ctx := t.Context()
	begin := func() uuid.UUID {
		id, err := d.Run(ctx, client.Run{Flow: &client.FlowPreview{Value: json.RawMessage(anAskingFlow)}, Args: json.RawMessage(`{"whom": "cay"}`)})
		if err != nil {
			t.Fatal(err)
		}
		waits := io.EOF // ends following
		if _, err := d.Follow(ctx, id, func(u client.Update) error {
			if s := statusOf(u); len(s.Modules) > 1 && s.Modules[1].Type == engine.ModuleWaitsForEvents {
				return waits
			}
			return nil
		}); err != waits {
			t.Fatalf("the flow does not wait: %v", err)
		}
		return id
	}
	var told map[string]string
	id := begin()
	if _, err := millrace(t, d, &told, "flow", "approve", id.String(), "-d", `{"target": "us"}`); err != nil || told["approved"] != id.String() {
		t.Errorf("resumed: %v, %v", told, err)
	}
	if j := d.wait(ctx, id); result(j) != `"released to us, told cay"` {
		t.Errorf("approved by its owner: %s %s", j.Status, result(j))
	}
	if _, err := millrace(t, d, &told, "flow", "approve", id.String()); err == nil || told["error"] == "" {
		t.Errorf("resumed when it was over: %v, %v", told, err)
	}
	id = begin()
	if _, err := millrace(t, d, &told, "flow", "cancel", id.String(), "--reason", "no more"); err != nil {
		t.Errorf("canceled: %v, %v", told, err)
	}
	if j := d.wait(ctx, id); j.Status != "canceled" || !strings.Contains(result(j), "no more") {
		t.Errorf("a flow that was canceled: %s %s", j.Status, result(j))
	}
}
