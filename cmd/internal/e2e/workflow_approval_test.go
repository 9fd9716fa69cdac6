package e2e

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/web/client"
	"github.com/millrace/millrace/web/wire"
)

const asksPeople = `from wmill import workflow, step, wait_for_approval, get_approval_urls, get_resume_urls, TaskError
import json

@workflow
async def main(timeout: float = 600, own: bool = True, key: bool = True):
    urls = await step("urls", lambda: get_approval_urls("boss") if key else get_resume_urls())
    await step("say", lambda: print("links", json.dumps(urls), flush=True))
    try:
        return await wait_for_approval(key="boss", timeout=timeout, self_approval=own, description="Ship it?", form={"properties": {"n": {"type": "integer"}}})
    except TaskError as e:
        return e.result["error"]["name"]
`

const asksPeopleInTypeScript = `import { workflow, step, waitForApproval, getApprovalUrls } from "windmill-client";

export const main = workflow(async () => {
  const urls = await step("urls", () => getApprovalUrls("boss"));
  await step("say", () => console.log("links", JSON.stringify(urls)));
  return await waitForApproval({ key: "boss", timeout: 600 });
});
`

// TestWorkflowApprovals: people answer workflows by links, on a host with one slot, which workflows that wait for them do not hold.
func TestWorkflowApprovals(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // links name the port, so it must be known before
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	d := start(t, folder(t), "--slots", "1", "--listen", address)
	ask := func(language, source, args string) uuid.UUID {
		id, err := d.Run(t.Context(), client.Run{Preview: &wire.Preview{Language: language, Content: source, Path: "u/test/approval"}, Args: json.RawMessage(args)})
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	id := ask("python3", asksPeople, `{}`)
	links := d.links(t, id)
	other := ask("bun", asksPeopleInTypeScript, `{}`) // on the only slot
	others := d.links(t, other)
	d.suspended(t, id)
	token := ""
	visit := func(method, link, body string, status int, want string) {
		t.Helper()
		ask, err := http.NewRequestWithContext(t.Context(), method, link, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			ask.Header.Set("Authorization", "Bearer "+token)
		}
		answer, err := http.DefaultClient.Do(ask)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		text, _ := io.ReadAll(answer.Body)
		if answer.StatusCode != status || !strings.Contains(string(text), want) {
			t.Errorf("%s %s: %d %s, want %d %s", method, link, answer.StatusCode, text, status, want)
		}
	}
	steps, err := d.WorkflowSteps(t.Context(), id)
	if err != nil || len(steps) != 3 || steps[0].Key != "urls" || steps[0].State != "success" || steps[2].Kind != "approval" || steps[2].State != "waiting" {
		t.Errorf("steps %+v, %v", steps, err)
	}
	forged := links.Resume[:len(links.Resume)-1] + "0"
	if forged == links.Resume {
		forged = links.Resume[:len(links.Resume)-1] + "1"
	}
	visit("POST", forged, `{"n": 1}`, http.StatusForbidden, "not valid")
	visit("POST", strings.Replace(links.Resume, id.String(), other.String(), 1), `{"n": 1}`, http.StatusForbidden, "not valid")
	visit("GET", links.ApprovalPage, "", http.StatusOK, "Ship it?")
	visit("POST", links.Resume, `{`, http.StatusBadRequest, "not JSON")
	visit("POST", links.Resume, `{"n": 1}`, http.StatusCreated, "approved")
	visit("POST", links.Resume, `{"n": 2}`, http.StatusCreated, "approved") // the first counts
	visit("POST", links.Cancel, ``, http.StatusConflict, "already")
	if j := d.wait(t.Context(), id); result(j) != `{"value":{"n":1},"approver":"anonymous","approved":true}` {
		t.Errorf("%s %s", j.Status, result(j))
	}
	visit("POST", links.Resume, ``, http.StatusCreated, "") // still the same
	visit("GET", links.ApprovalPage, "", http.StatusOK, "Approved by anonymous")
	d.suspended(t, other)
	visit("POST", others.Cancel, `"no"`, http.StatusCreated, "refused")
	if j := d.wait(t.Context(), other); result(j) != `{"value":"no","approver":"anonymous","approved":false}` {
		t.Errorf("%s %s", j.Status, result(j))
	}
	whichever := ask("python3", asksPeople, `{"key": false}`) // links that are for no approval in particular
	links = d.links(t, whichever)
	d.suspended(t, whichever)
	visit("GET", links.ApprovalPage, "", http.StatusOK, "Ship it?")
	visit("POST", links.Resume, `3`, http.StatusCreated, "approved")
	visit("POST", links.Resume, `4`, http.StatusCreated, "approved") // the first counts
	visit("POST", links.Cancel, ``, http.StatusConflict, "already")
	if j := d.wait(t.Context(), whichever); result(j) != `{"value":3,"approver":"anonymous","approved":true}` {
		t.Errorf("%s %s", j.Status, result(j))
	}
	denied := ask("python3", asksPeople, `{}`)
	d.links(t, denied)
	d.suspended(t, denied)
	if err := d.AnswerFlow(t.Context(), denied, json.RawMessage(`"late"`), false); err != nil {
		t.Error(err)
	}
	if j := d.wait(t.Context(), denied); !strings.Contains(result(j), `"value":"late"`) || !strings.Contains(result(j), `"approved":false`) {
		t.Errorf("%s %s", j.Status, result(j))
	}
	late := ask("python3", asksPeople, `{"timeout": 0.5}`)
	links = d.links(t, late)
	if j := d.wait(t.Context(), late); result(j) != `"ApprovalTimeout"` {
		t.Errorf("%s %s", j.Status, result(j))
	}
	visit("POST", links.Resume, ``, http.StatusConflict, "any more")
	for job, want := range map[uuid.UUID]engine.JobState{id: engine.StateSuccess, other: engine.StateSuccess, late: engine.StateFailure} {
		steps, err := d.WorkflowSteps(t.Context(), job)
		if err != nil || len(steps) != 3 || steps[2].State != want || steps[2].EndedAt == nil || (steps[2].Approved == nil) != (job == late) {
			t.Errorf("steps at the end: %+v, %v", steps, err)
		}
	}

	own := ask("python3", asksPeople, `{"own": false}`)
	links = d.links(t, own)
	d.suspended(t, own)
	visit("POST", links.Resume, ``, http.StatusUnauthorized, "account")
	if token, err = d.CreateToken(t.Context(), wire.NewToken{Label: "approval"}); err != nil {
		t.Fatal(err)
	}
	byOwner := "http://" + address + "/api/w/main/jobs/flow/resume/"
	visit("POST", links.Resume, ``, http.StatusForbidden, "whoever started")
	visit("POST", byOwner+own.String(), ``, http.StatusForbidden, "whoever started")
	id = ask("python3", asksPeople, `{}`)
	d.links(t, id)
	d.suspended(t, id)
	visit("POST", byOwner+id.String(), `7`, http.StatusCreated, "approved")
	j := d.wait(t.Context(), id)
	if want := `{"value":7,"approver":"` + j.CreatedBy + `","approved":true}`; result(j) != want {
		t.Errorf("%s %s, want %s", j.Status, result(j), want)
	}
	visit("POST", byOwner+id.String(), `7`, http.StatusConflict, "does not wait")
}

// links are those that a workflow has printed.
func (d *daemon) links(t *testing.T, id uuid.UUID) (out engine.ApprovalURLs) {
	for t.Context().Err() == nil {
		j, err := d.Job(t.Context(), id, true)
		if err != nil {
			t.Fatal(err)
		}
		if _, after, ok := strings.Cut(j.Logs, "links "); ok && strings.Contains(after, "\n") {
			line, _, _ := strings.Cut(after, "\n")
			if err := json.Unmarshal([]byte(line), &out); err != nil {
				t.Fatal(err)
			}
			return out
		}
		if j.CompletedAt != nil {
			t.Fatalf("%s %s", j.Status, result(j))
		}
	}
	t.Fatal("the workflow prints nothing")
	return out
}

// suspended waits until a workflow holds no slot and no process.
func (d *daemon) suspended(t *testing.T, id uuid.UUID) {
	for t.Context().Err() == nil {
		j, err := d.Job(t.Context(), id, false)
		if err != nil {
			t.Fatal(err)
		}
		if j.Status == "queued" {
			return
		}
	}
	t.Fatal("the workflow still runs")
}
