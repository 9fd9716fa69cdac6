package webtest

import (
	"encoding/json"
	"net"
	"net/http"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"

	"github.com/millrace/millrace/web"
)

// FuzzRun throws bodies, content types and queries at the routes that read arguments. Whatever comes, the answer is not
// an internal error, and arguments that reach the engine are a JSON object.
func FuzzRun(f *testing.F) {
	f.Add(true, "application/json", "tag=x&raw=true", []byte(`{"a":1}`))
	f.Add(true, "application/json", "wrap_body=1&include_query=a&a=%ff", []byte(`[1,{"b":"\u0000"}]`))
	f.Add(true, "application/x-www-form-urlencoded", "include_header=Host,X", []byte("a=1&b=%zz&a=2"))
	f.Add(true, "text/plain", "scheduled_for=2026-01-01T00:00:00+01:00", []byte("x\x00y"))
	f.Add(false, "", "payload=eyJhIjoxfQ&n=1e999&s=%22", []byte(nil))
	f.Add(false, "", "job_id=x&priority=99999999999999999999", []byte(nil))
	e := NewEngine()
	s, err := web.New(web.Config{Socket: "unused", Auth: Accounts{Engine: e}, Jobs: e, FlowRuns: FlowRuns{e}, Scripts: Scripts{e}, Flows: Flows{e}, Schedules: Schedules{e}, Batches: Batches{e}, Values: NewValues(e), Tokens: Tokens{e},
		Workspaces: Workspaces{e}, People: NewPeople(e), Endings: Endings, Health: e, WaitTimeout: time.Millisecond, Log: zerolog.Nop()}) // scheduled runs would hold it up
	if err != nil {
		f.Fatal(err)
	}
	handle := s.Handler()
	f.Fuzz(func(t *testing.T, post bool, kind, query string, body []byte) {
		e.Forget()
		for _, path := range []string{waitHello, w + "jobs/run_wait_result/preview", w + "scripts/create"} {
			var req fasthttp.Request
			req.Header.SetMethod(http.MethodGet)
			if post {
				req.Header.SetMethod(http.MethodPost)
				req.Header.SetContentType(kind)
				req.SetBody(body)
			}
			req.SetRequestURI(path)
			req.URI().SetQueryString(query)
			req.Header.Set("Authorization", "Bearer admin-secret")
			var ctx fasthttp.RequestCtx
			ctx.Init(&req, &net.TCPAddr{}, nil)
			handle(&ctx)
			if status := ctx.Response.StatusCode(); status == http.StatusInternalServerError {
				t.Errorf("%s: status %d: %s", path, status, ctx.Response.Body())
			}
		}
		for _, r := range e.Requests() {
			var object map[string]json.RawMessage
			if r.Args != nil && (json.Unmarshal(r.Args, &object) != nil || object == nil || !utf8.Valid(r.Args)) {
				t.Errorf("arguments %q", r.Args)
			}
		}
	})
}
