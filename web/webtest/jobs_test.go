package webtest

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/web/wire"
)

// start runs a job that stays running unless out is given.
func start(t *testing.T, e *Engine, d *Daemon) uuid.UUID {
	t.Helper()
	resp, err := d.Local.Post("http://x"+runHello, "application/json", strings.NewReader(`{"n":1}`))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	id, err := uuid.Parse(string(b))
	if err != nil {
		t.Fatalf("%s: %v", b, err)
	}
	return id
}

func TestJobs(t *testing.T) {
	t.Parallel()
	e := NewEngine()
	e.Work = func(engine.RunRequest) *engine.Outcome { return nil }
	d := Start(t, e, nil)
	ok, failed, killed, child := start(t, e, d), start(t, e, d), start(t, e, d), uuid.New()
	e.Print(ok, "line ü\n", "")
	e.Finish(ok, engine.Outcome{State: engine.StateSuccess, Result: json.RawMessage(`{"a":  1}`), MemoryPeak: 2 << 20, CPU: 1500000})
	e.Finish(failed, engine.Outcome{State: engine.StateFailure, Result: json.RawMessage(`{"name":"E","message":"m"}`)})
	u := w + "jobs_u/"
	play(t, d, []scenario{
		{name: "unknown", path: u + "get/" + uuid.NewString(), status: 404, kind: "text/plain"},
		{name: "not an id", path: u + "get/xyz", status: 400},
		{name: "of another workspace", path: "/api/w/other/jobs_u/get/" + ok.String(), status: 404},
		{name: "cancel bad body", method: "POST", path: u + "queue/cancel/" + killed.String(), body: "{", status: 400},
		{name: "cancel completed", method: "POST", path: u + "queue/cancel/" + ok.String(), status: 409},
		{name: "cancel", method: "POST", path: u + "queue/cancel/" + killed.String(), body: `{"reason":"why not"}`, status: 200, kind: "text/plain", exact: killed.String()},
		{name: "get", path: u + "get/" + ok.String(), status: 200, kind: "application/json", want: []string{`"type":"CompletedJob"`, `"success":true`, `"duration_ms":2`,
			`"logs":"line ü\n"`, `"result":{"a":1}`, `"args":{"n":1}`, `"mem_peak":2048`, `"cpu_ms":1.5`, `"script_hash":"0000000000001000"`}, not: []string{`"running"`}},
		{name: "get without logs", path: u + "get/" + ok.String() + "?no_logs=true", status: 200, not: []string{"logs"}},
		{name: "completed", path: u + "completed/get/" + ok.String(), status: 200},
		{name: "result as written", path: u + "completed/get_result/" + ok.String(), status: 200, kind: "application/json", exact: `{"a":  1}`},
		{name: "failed result", path: u + "completed/get_result/" + failed.String(), status: 200, exact: `{"error":{"name":"E","message":"m"}}`},
		{name: "maybe", path: u + "completed/get_result_maybe/" + failed.String(), status: 200, want: []string{`"completed":true`, `"success":false`, `{"error":{"name":"E"`}},
		{name: "canceled", path: u + "get/" + killed.String(), status: 200, want: []string{`"canceled":true`, `"canceled_by":"root"`, `"canceled_reason":"why not"`}},
		{name: "logs", path: u + "get_logs/" + ok.String(), status: 200, kind: "text/plain", exact: "line ü\n"},
		{name: "logs from", path: u + "get_logs/" + ok.String() + "?offset=5", status: 200, exact: "ü\n"},
		{name: "logs bad offset", path: u + "get_logs/" + ok.String() + "?offset=-1", status: 400},
		{name: "args", path: u + "get_args/" + ok.String(), status: 200, exact: `{"n":1}`},
		{name: "child", method: "POST", path: runHello + "?job_id=" + child.String() + "&parent_job=" + ok.String(), status: 201},
		{name: "root", path: u + "get_root_job_id/" + child.String(), status: 200, kind: "application/json", exact: `"` + ok.String() + `"`},
		{name: "poll tells at once what is new", path: u + "getupdate/" + ok.String() + "?running=true&log_offset=0", status: 200, want: []string{`"completed":true`, `"new_logs":"line ü\n"`, `"log_offset":8`}},
		{name: "poll of Windmill's command line counts characters", path: u + "getupdate/" + ok.String() + "?log_offset=6", header: map[string]string{"X-Windmill-Client": "cli"}, status: 200, want: []string{`"new_logs":"\n"`, `"log_offset":7`}},
	})
}

func TestLists(t *testing.T) {
	t.Parallel()
	e := NewEngine()
	e.Work = func(engine.RunRequest) *engine.Outcome { return nil }
	d := Start(t, e, nil)
	var ids []uuid.UUID
	for range 35 {
		ids = append(ids, start(t, e, d))
	}
	e.Finish(ids[0], engine.Outcome{State: engine.StateSuccess, Result: json.RawMessage(`"secret"`)})
	e.Finish(ids[1], engine.Outcome{State: engine.StateFailure})
	e.Finish(ids[2], engine.Outcome{State: engine.StateCanceled})
	for _, c := range []struct {
		name, path string
		count      int
		first      int // index into ids, -1: do not look
	}{
		{"default page", "jobs/list", 30, 34},
		{"second page", "jobs/list?page=2", 5, 4},
		{"beyond", "jobs/list?page=3", 0, -1},
		{"all", "jobs/list?per_page=100000", 35, 34},
		{"oldest first", "jobs/list?order_desc=false&per_page=1", 1, 0},
		{"page zero is the first", "jobs/list?page=0&per_page=10", 10, 34},
		{"running", "jobs/list?running=true&per_page=50", 32, 34},
		{"success", "jobs/list?success=true", 1, 0},
		{"no success", "jobs/list?success=false", 2, 2},
		{"impossible", "jobs/list?success=true&running=true", 0, -1},
		{"status", "jobs/list?status=canceled,failure", 2, 2},
		{"queue", "jobs/queue/list?per_page=50", 32, 34},
		{"completed", "jobs/completed/list", 3, 2},
		{"completed, running", "jobs/completed/list?running=true", 0, -1},
		{"kinds that exist", "jobs/list?job_kinds=script,flow,singlestepflow", 30, 34},
		{"kinds that do not", "jobs/list?job_kinds=flow", 0, -1},
		{"path", "jobs/list?script_path_start=f/demo", 30, 34},
		{"other path", "jobs/list?script_path_exact=f/x/y", 0, -1},
	} {
		t.Run(c.name, func(t *testing.T) {
			var list []wire.Job
			getJSON(t, d, w+c.path, &list)
			if len(list) != c.count {
				t.Fatalf("%d jobs, want %d", len(list), c.count)
			}
			if c.first >= 0 && list[0].ID != ids[c.first] {
				t.Errorf("first is %s", list[0].ID)
			}
			for _, j := range list {
				if j.Args != nil || j.Result != nil || j.Logs != "" {
					t.Errorf("list carries large fields: %+v", j)
				}
			}
		})
	}
	play(t, d, []scenario{
		{name: "bad status", path: w + "jobs/list?status=done", status: 400, want: []string{"status"}},
		{name: "bad args", path: w + "jobs/list?args=[1]", status: 400, want: []string{"args"}},
		{name: "bad page", path: w + "jobs/list?page=-1", status: 400},
		{name: "bad time", path: w + "jobs/list?created_after=x", status: 400},
		{name: "count", path: w + "jobs/queue/count", status: 200, want: []string{`"database_length":32`}},
		{name: "completed count", path: w + "jobs/completed/count", status: 200, want: []string{`"database_length":3`}},
		{name: "position", path: w + "jobs/queue/position/4102444800000", status: 200, exact: `{"position":0}`},
		{name: "bad position", path: w + "jobs/queue/position/x", status: 400},
	})
}

func getJSON(t *testing.T, d *Daemon, path string, v any) {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), "GET", d.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer admin-secret")
	resp, err := d.HTTP.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 200 {
		t.Fatalf("%s: status %d", path, resp.StatusCode)
	}
	if err := json.NewDecoder(resp.Body).Decode(v); err != nil {
		t.Fatal(err)
	}
}

func TestScripts(t *testing.T) {
	t.Parallel()
	e := NewEngine()
	d := Start(t, e, nil)
	s := w + "scripts/"
	js := map[string]string{"Content-Type": "application/json"}
	create := func(name, query, body string, status int, want ...string) scenario {
		return scenario{name: name, method: "POST", path: s + "create" + query, header: js, body: body, status: status, kind: "text/plain", want: want}
	}
	const full = `{"path":"f/demo/full","content":"1","language":"mock","summary":"s <b>","description":"d","schema":{"order":["b","a"],"x": 1.0},
		"lock":"","tag":"t","timeout":30,"envs":null,"cache_ttl":60,"labels":["l"],"ws_error_handler_muted":true,"hash":"forged","created_by":"forged",
		"skip_draft_deletion":true,"deployment_message":"first"}`
	play(t, d, []scenario{
		create("not JSON", "", `{`, 400),
		create("list", "", `[]`, 400),
		create("empty", "", ``, 400),
		create("no language", "", `{"path":"f/a/b","content":"x"}`, 400, "language"),
		create("bad path", "", `{"path":"../b","content":"x","language":"mock"}`, 400, "not a valid path"),
		create("bad parent", "", `{"path":"f/a/b","content":"x","language":"mock","parent_hash":"x"}`, 400),
		create("not text", "", "{\"path\":\"f/a/b\",\"content\":\"\xff\",\"language\":\"mock\"}", 400),
		create("exists", "", `{"path":"f/demo/hello","content":"x","language":"mock"}`, 409, "parent_hash"),
		create("full", "", full, 201, "0000000000001001"),
		create("no change", "?skip_if_noop=true", full, 201, "0000000000001001"),
		create("next", "", `{"path":"f/demo/full","content":"2","language":"mock","parent_hash":"0000000000001001","lock":["a==1","b==2"]}`, 201, "0000000000001002"),
		create("whatever is newest", "", `{"path":"f/demo/full","content":"3","language":"mock","parent_hash":"0000000000001001","auto_parent":true}`, 201, "0000000000001003"),
		{name: "get", path: s + "get/h/0000000000001001", status: 200, kind: "application/json", want: []string{`"hash":"0000000000001001"`, `"schema":{"order":["b","a"],"x":1.0}`, `"lock":""`,
			`"timeout":30`, `"cache_ttl":60`, `"labels":["l"]`, `"ws_error_handler_muted":true`, `"summary":"s <b>"`, `"created_by":"root"`, `"deployment_msg":"first"`}, not: []string{"envs", "forged", "skip_draft"}},
		{name: "lines of a lock", path: s + "get/h/0000000000001002", status: 200, want: []string{`"lock":"a==1\nb==2"`, `"ws_error_handler_muted":false`}},
		{name: "newest", path: s + "get/p/f/demo/full", status: 200, want: []string{`"content":"3"`, `"parent_hashes":["0000000000001002","0000000000001001"]`}},
		{name: "missing", path: s + "get/p/f/demo/none", status: 404, kind: "text/plain"},
		{name: "exists", path: s + "exists/p/f/demo/full", status: 200, kind: "application/json", exact: "true"},
		{name: "exists not", path: s + "exists/p/f/demo/none", status: 200, kind: "application/json", exact: "false"},
		{name: "raw", path: s + "raw/p/f/demo/full", status: 200, kind: "text/plain", exact: "3"},
		{name: "raw with ending", path: s + "raw/p/f/demo/full.ts", status: 200, exact: "3"},
		{name: "history", path: s + "history/p/f/demo/full", status: 200, want: []string{`[{"script_hash":"0000000000001003"`, `"deployment_msg":"first"`}},
		{name: "list", path: s + "list", status: 200, want: []string{"f/demo/full", "f/demo/hello"}, not: []string{"content", "schema"}},
		{name: "list of Windmill's command line starts at 0", path: s + "list?page=1&per_page=10", header: map[string]string{"X-Windmill-Client": "cli"}, status: 200, exact: "[]"},
		{name: "paths", path: s + "list_paths", status: 200, exact: `["f/demo/hello","f/demo/full"]`},
		{name: "archive old version", method: "POST", path: s + "archive/h/0000000000001001", status: 409},
		{name: "archive", method: "POST", path: s + "archive/p/f/demo/hello", status: 200, kind: "text/plain"},
		{name: "archived", path: s + "exists/p/f/demo/hello", status: 200, exact: "false"},
		{name: "archive newest version", method: "POST", path: s + "archive/h/0000000000001003", status: 200, want: []string{`"archived":true`}},
		{name: "delete", method: "POST", path: s + "delete/h/0000000000001001", status: 200, want: []string{`"deleted":true`}},
		{name: "deleted", path: s + "get/h/0000000000001001", status: 404},
	})
}
