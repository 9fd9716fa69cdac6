package webtest

import (
	"encoding/json"
	"net"
	"reflect"
	"testing"

	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"

	"github.com/millrace/millrace/web"
)

// notReturned are fields that the server decides.
var notReturned = []string{"workspace_id", "edited_by", "edited_at", "email", "error", "permissioned_as", "preserve_permissioned_as",
	"has_permissioned_as", "extra_perms", "next_at", "jobs", "draft_only", "is_draft", "inherited_labels", "force", "n"}

// FuzzSchedule throws records at the route that stores them. Whatever comes, the answer is not an internal error, and what is
// stored comes back with every field as it was sent.
func FuzzSchedule(f *testing.F) {
	for _, s := range []string{
		`{"path":"f/a/b","schedule":"@daily","script_path":"f/a/c","args":{"a":[1.0,"\u00e9"]},"tag":null,"Schedule":"@hourly"}`,
		`{"path":"f/a/b","schedule":"@daily","script_path":"f/a/c","grace_s":1.0000000001,"catch_up_limit":100,"enabled":null,"x":{"y":1e400}}`,
		`{"path":"f/a/b","schedule":"\ud800","script_path":"f/a/c","on_failure_times":3e0,"on_failure_exact":true,"on_failure":"","overlap":"skip"}`,
		`{"path":"f/a/b","schedule":"x","script_path":"f/a/c","paused_until":"2031-05-06T07:08:09.100+02:00","no_flow_overlap":true,"overlap":"skip"}`,
		`{"path":"f/a/b","schedule":"x","script_path":"f/a/c","retry":{"constant":{"attempts":2.0,"seconds":1e1},"exponential":null},"dynamic_skip":"f/a/d"}`,
		`{"path":"f/a/b","schedule":"x","script_path":"f/a/c","retry":{ },"dynamic_skip":"","Retry":7,"Dynamic_skip":[]}`,
		`{"path":"f/a/b","schedule":"x","script_path":"f/a/c","calendars":null,"labels":[],"labels":["x"],"missed":"coalesce","timezone":""}`,
	} {
		f.Add([]byte(s))
	}
	e := NewEngine()
	s, err := web.New(web.Config{Socket: "unused", Auth: Accounts{Engine: e}, Jobs: e, FlowRuns: FlowRuns{e}, Batches: Batches{e}, Values: NewValues(e), Scripts: Scripts{e}, Flows: Flows{e}, Schedules: Schedules{e},
		Tokens: Tokens{e}, Workspaces: Workspaces{e}, People: NewPeople(e), Endings: Endings, Health: e, Log: zerolog.Nop()})
	if err != nil {
		f.Fatal(err)
	}
	handle := s.Handler()
	ask := func(method, path string, body []byte) (int, []byte) {
		var req fasthttp.Request
		req.Header.SetMethod(method)
		req.SetRequestURI(path)
		req.SetBody(body)
		req.Header.Set("Authorization", "Bearer admin-secret")
		var ctx fasthttp.RequestCtx
		ctx.Init(&req, &net.TCPAddr{}, nil)
		handle(&ctx)
		return ctx.Response.StatusCode(), ctx.Response.Body()
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		status, answer := ask("POST", sched+"create", body)
		if status == 500 {
			t.Fatalf("status %d: %s", status, answer)
		}
		if status != 201 {
			return
		}
		path := string(answer)
		defer ask("DELETE", sched+"delete/"+path, nil)
		status, answer = ask("GET", sched+"get/"+path, nil)
		if status != 200 || !json.Valid(answer) {
			t.Fatalf("status %d: %s", status, answer)
		}
		var sent, got map[string]any
		if json.Unmarshal(body, &sent) != nil {
			return // a number that Go cannot hold; it is kept as text
		}
		if err := json.Unmarshal(answer, &got); err != nil {
			t.Fatalf("%v: %s", err, answer)
		}
		for _, name := range notReturned {
			delete(sent, name)
		}
		for name, v := range sent {
			if back, ok := got[name]; !ok || !reflect.DeepEqual(back, v) {
				t.Errorf("%s: sent %v, back came %v (there: %v)", name, v, back, ok)
			}
		}
	})
}
