package webtest

import (
	"encoding/json"
	"testing"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/web/wire"
)

func TestFlows(t *testing.T) {
	t.Parallel()
	e := NewEngine()
	d := Start(t, e, nil)
	const f = w + "flows/"
	// As Windmill's command line sends it, with fields that are only kept.
	report := `{"path":"f/demo/report","summary":"Report","description":"daily","value":{"modules":[ {"id":"a","value":{"type":"identity"},"x-own":1.50} ]},` +
		`"schema":{"type":"object","properties":{},"order":[]},"deployment_message":"first","ws_error_handler_muted":true,"priority":7,"labels":["a"],"timeout":60,"skip_draft_deletion":true,"tag":null}`
	play(t, d, []scenario{
		{name: "unknown", path: f + "get/f/demo/report", status: 404, kind: "text/plain", want: []string{"no such flow", "deploy it first"}},
		{name: "not there", path: f + "exists/f/demo/report", status: 200, kind: "application/json", exact: "false"},
		{name: "update of nothing", method: "POST", path: f + "update/f/demo/report", body: report, status: 404},
		{name: "create", method: "POST", path: f + "create", body: report, status: 201, kind: "text/plain", exact: "f/demo/report"},
		{name: "create again", method: "POST", path: f + "create", body: report, status: 409, want: []string{"deployed there already", "update it"}},
		{name: "get", path: f + "get/f/demo/report", status: 200, kind: "application/json", want: []string{`"version_id":2,"path":"f/demo/report","summary":"Report","description":"daily"`,
			`"value":{"modules":[{"id":"a","value":{"type":"identity"},"x-own":1.50}]}`, `"order":[]`, `"ws_error_handler_muted":true`, `"priority":7`, `"labels":["a"]`, `"timeout":60`, `"edited_by":"root"`},
			not: []string{"skip_draft", `"tag"`, `"created_by"`}},
		{name: "exists", path: f + "exists/f/demo/report", status: 200, exact: "true"},
		{name: "update", method: "POST", path: f + "update/f/demo/report", body: `{"summary":"","value":{"doubtful":1}}`, header: map[string]string{"Accept": "application/json"}, status: 200,
			kind: "application/json", exact: `{"path":"f/demo/report","version":3,"created":true,"warnings":[{"module":"a","field":"value.input_transforms.x","line":3,"column":7,"message":"is doubtful"}]}`},
		{name: "the same again", method: "POST", path: f + "update/f/demo/report?skip_if_noop=true", body: `{"summary":"","value":{"doubtful":1}}`, header: map[string]string{"Accept": "application/json"},
			status: 200, want: []string{`"version":3,"created":false`}},
		{name: "wrong", method: "POST", path: f + "update/f/demo/report", body: `{"summary":"","value":{"wrong":1}}`, status: 400, kind: "text/plain",
			want: []string{"error 3:7 module a value.input_transforms.x: is wrong"}},
		{name: "no value", method: "POST", path: f + "create", body: `{"path":"f/demo/x","summary":""}`, status: 400, want: []string{"needs value"}},
		{name: "no path", method: "POST", path: f + "create", body: `{"value":{}}`, status: 400, want: []string{"needs a path"}},
		{name: "bad path", method: "POST", path: f + "create", body: `{"path":"x","value":{}}`, status: 400, want: []string{"not a valid path"}},
		{name: "no object", method: "POST", path: f + "create", body: `[1]`, status: 400},
		{name: "no body", method: "POST", path: f + "create", status: 400},
		{name: "bad timeout", method: "POST", path: f + "create", body: `{"path":"f/a/b","value":{},"timeout":-1}`, status: 400, want: []string{"timeout"}},
		{name: "first version", path: f + "get/v/2", status: 200, want: []string{`"deployment_msg":"first"`, `"version_id":2`}},
		{name: "version at its path", path: f + "get/v/2/p/f/demo/report", status: 200, want: []string{`"version_id":2`}},
		{name: "version at another path", path: f + "get/v/2/p/f/demo/hello", status: 404, want: []string{"2 is no version of f/demo/hello"}},
		{name: "no number", path: f + "get/v/latest", status: 400, want: []string{"whole number"}},
		{name: "no version", path: f + "get/v/77", status: 404},
		{name: "latest version", path: f + "get_latest_version/f/demo/report", status: 200, want: []string{`"id":3`}},
		{name: "history", path: f + "history/p/f/demo/report", status: 200, want: []string{`[{"id":3,`, `{"id":2,`, `"deployment_msg":"first"`}},
		{name: "list", path: f + "list?path_start=f/demo/r&page=1&per_page=10", status: 200, want: []string{`[{"workspace_id":"main","version_id":3`}, not: []string{`"value"`, "f/demo/hello"}},
		{name: "list of the Windmill command line", path: f + "list?page=0&per_page=1&show_archived=false&include_draft_only=false", header: map[string]string{"X-Windmill-Client": "cli"}, status: 200, want: []string{`"version_id":3`}},
		{name: "its second page", path: f + "list?page=1&per_page=1", header: map[string]string{"X-Windmill-Client": "cli"}, status: 200, want: []string{`"version_id":1`}},
		{name: "paths", path: f + "list_paths", status: 200, want: []string{`"f/demo/report"`, `"f/demo/hello"`}},
		{name: "archive", method: "POST", path: f + "archive/f/demo/report", body: `{"archived":true}`, status: 200, exact: "f/demo/report"},
		{name: "archived", path: f + "exists/f/demo/report", status: 200, exact: "false"},
		{name: "archived ones", path: f + "list?show_archived=true", status: 200, want: []string{"f/demo/report"}, not: []string{"f/demo/hello"}},
		{name: "back again", method: "POST", path: f + "archive/f/demo/report", body: `{"archived":false}`, status: 200},
		{name: "archive nothing", method: "POST", path: f + "archive/f/demo/none", status: 404},
		{name: "delete", method: "DELETE", path: f + "delete/f/demo/report", status: 200, exact: "f/demo/report"},
		{name: "delete again", method: "DELETE", path: f + "delete/f/demo/report", status: 200},
		{name: "another workspace", path: "/api/w/none/flows/list", status: 404},
		{name: "without a token", path: f + "list", token: "-", status: 401},
	})
}

func TestRunFlows(t *testing.T) {
	t.Parallel()
	e := NewEngine()
	d := Start(t, e, nil)
	play(t, d, []scenario{
		{name: "run", method: "POST", path: w + "jobs/run/f/f/demo/hello?tag=x&scheduled_in_secs=0&include_query=q&q=7", body: `{"n":1}`, status: 201, kind: "text/plain"},
		{name: "run a version", method: "POST", path: w + "jobs/run/fv/1", body: `{}`, status: 201},
		{name: "wait", method: "POST", path: w + "jobs/run_wait_result/f/f/demo/hello", body: `{}`, status: 200, kind: "application/json", exact: `{"modules":[]}`},
		{name: "wait for a version", method: "POST", path: w + "jobs/run_wait_result/fv/1", body: `{}`, status: 200, exact: `{"modules":[]}`},
		{name: "by GET", path: w + "jobs/run_wait_result/f/f/demo/hello?payload=eyJuIjoyfQ", status: 200, exact: `{"modules":[]}`},
		{name: "a version by GET", path: w + "jobs/run_wait_result/fv/1", status: 200},
		{name: "unknown", method: "POST", path: w + "jobs/run/f/f/demo/none", body: `{}`, status: 404, want: []string{"no such flow"}},
		{name: "a script", method: "POST", path: w + "jobs/run/p/f/demo/none", body: `{}`, status: 404, want: []string{"no such script"}},
		{name: "no version", method: "POST", path: w + "jobs/run/fv/x", status: 400},
		{name: "bad path", method: "POST", path: w + "jobs/run/f/hello", status: 400},
		{name: "batch", method: "POST", path: w + "jobs/run/batch/f/f/demo/hello", header: map[string]string{"Content-Type": "application/x-ndjson"}, body: "{\"n\":1}\n{\"n\":2}\n", status: 201},
		{name: "batch of a version", method: "POST", path: w + "jobs/run/batch/fv/1", header: map[string]string{"Content-Type": "application/x-ndjson"}, body: "{}\n", status: 201},
		{name: "batch of no version", method: "POST", path: w + "jobs/run/batch/fv/0", header: map[string]string{"Content-Type": "application/x-ndjson"}, body: "{}\n", status: 400},
	})
	r := e.Requests()
	if r[0].Kind != engine.KindFlow || r[0].Path != "f/demo/hello" || r[0].Tag != "x" || string(r[0].Args) != `{"n":1,"q":"7"}` || r[1].Hash != 1 || r[1].Path != "" {
		t.Errorf("asked for %+v", r[:2])
	}
	var list []wire.Job
	getJSON(t, d, w+"jobs/list?job_kinds=flow&script_path_exact=f/demo/hello", &list)
	if len(list) < 6 {
		t.Errorf("%d jobs of the flow", len(list))
	}
	b, err := json.Marshal(list[0])
	if err != nil || list[0].JobKind != engine.KindFlow {
		t.Errorf("%s, %v", b, err)
	}
}
