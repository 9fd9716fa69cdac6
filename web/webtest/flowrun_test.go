package webtest

import (
	"context"
	"encoding/base64"
	"testing"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
)

// aFlowAtWork starts a flow that goes on and returns its id.
func aFlowAtWork(t *testing.T, e *Engine) uuid.UUID {
	t.Helper()
	e.Work = func(engine.RunRequest) *engine.Outcome { return nil }
	id, err := e.Run(context.Background(), engine.Principal{Username: "ann"}, engine.RunRequest{Workspace: "main", Kind: engine.KindFlowPreview, Source: "{}"})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestFlowRuns(t *testing.T) {
	t.Parallel()
	e := NewEngine()
	d := Start(t, e, nil)
	id := aFlowAtWork(t, e).String()
	none := uuid.NewString()
	link := id + "/7/" + Signature
	play(t, d, []scenario{
		{name: "status", path: w + "jobs_u/get/" + id, status: 200, want: []string{`"flow_status":{"step":1,"modules":[{"type":"Success","id":"a"},{"type":"WaitingForEvents","id":"a-v","count":1}]`, `"raw_flow":{"modules":[]}`}},
		{name: "status in updates", path: w + "jobs_u/getupdate/" + id, status: 200, want: []string{`"flow_status":{"step":1`}},
		{name: "no state yet", path: w + "jobs/flow/user_states/" + id + "/k", status: 200, exact: "null", kind: "application/json"},
		{name: "a state", method: "POST", path: w + "jobs/flow/user_states/" + id + "/k", body: `{"n":1}`, status: 200},
		{name: "the state", path: w + "jobs/flow/user_states/" + id + "/k", status: 200, exact: `{"n":1}`},
		{name: "a state that is no JSON", method: "POST", path: w + "jobs/flow/user_states/" + id + "/k", body: `{`, status: 400},
		{name: "a state of nothing", path: w + "jobs/flow/user_states/" + none + "/k", status: 404},
		{name: "a state for strangers", path: w + "jobs/flow/user_states/" + id + "/k", token: "-", status: 401},
		{name: "signature", path: w + "jobs/job_signature/" + id + "/7", status: 200, exact: Signature, kind: "text/plain"},
		{name: "links", path: w + "jobs/resume_urls/" + id + "/7?approver=bob", status: 200, want: []string{`"approvalPage":"http`, `"resume":`, `"cancel":`}},
		{name: "links of a workflow", path: w + "jobs/wac_approval_urls/" + id + "/manager?approver=bob", status: 200, want: []string{`"approvalPage":"http`, `"resume":`, `"cancel":`}},
		{name: "links of a workflow for strangers", path: w + "jobs/wac_approval_urls/" + id + "/manager", token: "-", status: 401},
		{name: "links for strangers", path: w + "jobs/resume_urls/" + id + "/7", token: "-", status: 401},
		{name: "a number that is none", path: w + "jobs/resume_urls/" + id + "/x", status: 400, want: []string{"resume_id"}},
		{name: "approve", path: w + "jobs_u/resume/" + link + "?payload=" + base64.URLEncoding.EncodeToString([]byte(`{"a":"?>"}`)), token: "-", status: 200, want: []string{"approved"}},
		{name: "approve with a body", method: "POST", path: w + "jobs_u/resume/" + link + "?approver=carl", token: "-", body: `{"b":2}`, status: 201},
		{name: "refuse", method: "POST", path: w + "jobs_u/cancel/" + link, token: "user-secret", status: 201, want: []string{"refused"}},
		{name: "not base64", path: w + "jobs_u/resume/" + link + "?payload=***", token: "-", status: 400},
		{name: "not JSON", method: "POST", path: w + "jobs_u/resume/" + link, token: "-", body: "{", status: 400},
		{name: "wrong signature", path: w + "jobs_u/resume/" + id + "/7/00", token: "-", status: 403, want: []string{"the link is not valid"}},
		{name: "wrong token", path: w + "jobs_u/resume/" + link, token: "nonsense", status: 401},
		{name: "the flow of a link", path: w + "jobs_u/get_flow/" + link, token: "-", status: 200, want: []string{`"job":{"id":"` + id, `"approvers":[]`}},
		{name: "of a wrong link", path: w + "jobs_u/get_flow/" + id + "/7/00", token: "-", status: 403},
		{name: "resume as owner", method: "POST", path: w + "jobs/flow/resume/" + id, token: "user-secret", body: `3`, status: 201},
		{name: "resume suspended", method: "POST", path: w + "jobs_u/flow/resume_suspended/" + id, body: `{"approved":false,"payload":4}`, status: 201},
		{name: "restart", method: "POST", path: w + "jobs/restart/f/" + id, body: `{"step_id":"l","branch_or_iteration_n":2,"nested":{"step_id":"x"},"flow_version":12,"args":{"n":1}}`, status: 201, exact: id},
		{name: "restart without a step", method: "POST", path: w + "jobs/restart/f/" + id, body: `{}`, status: 400, want: []string{"step_id"}},
		{name: "a part", method: "POST", path: w + "jobs/run/preview_flow", body: `{"value":{"modules":[]},"up_to":"b","restarted_from":{"flow_job_id":"` + id + `","step_id":"a"}}`, status: 201},
		{name: "one step", method: "POST", path: w + "jobs/run/preview_flow", body: `{"value":{"modules":[]},"only_step":"b"}`, status: 201},
	})
	var got []string
	for _, a := range e.Answers() {
		got = append(got, a.Approver+" "+map[bool]string{true: "yes", false: "no"}[a.Approved]+" "+string(a.Payload))
	}
	want := []string{` yes {"a":"?>"}`, `carl yes {"b":2}`, `ann no `, `ann yes 3`, `root no 4`}
	for i := range want {
		if i >= len(got) || got[i] != want[i] {
			t.Fatalf("answers are %q, wanted %q", got, want)
		}
	}
	if r := e.Restarts()[0]; r.Step != "l" || *r.Item != 2 || r.Nested.Step != "x" || r.Version != "12" || string(r.Args) != `{"n":1}` {
		t.Errorf("%+v", r)
	}
	if tests := e.Tests(); len(tests) != 2 || tests[0].UpTo != "b" || tests[0].Restart.Step != "a" || tests[0].FromRun.String() != id || tests[1].Only != "b" {
		t.Errorf("%+v", tests)
	}
}
