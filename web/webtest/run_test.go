package webtest

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/web"
)

const (
	runHello  = w + "jobs/run/p/f/demo/hello"
	waitHello = w + "jobs/run_wait_result/p/f/demo/hello"
)

func TestRunRefuses(t *testing.T) {
	t.Parallel()
	e := NewEngine()
	d := Start(t, e, func(c *web.Config) { c.MaxBody = 1 << 20 })
	bad := func(name, query, body string, want ...string) scenario {
		return scenario{name: name, method: "POST", path: runHello + query, body: body, header: map[string]string{"Content-Type": "application/json"},
			status: 400, kind: "text/plain", want: append(want, "Bad request: ")}
	}
	play(t, d, []scenario{
		{name: "unauthorized", method: "POST", path: runHello, token: "-", status: 401},
		{name: "unknown script", method: "POST", path: w + "jobs/run/p/f/demo/none", status: 404, kind: "text/plain", exact: "Not found: f/demo/none: no such script (deploy it first)"},
		{name: "not a path", method: "POST", path: w + "jobs/run/p/hello", status: 400},
		{name: "no path", method: "POST", path: w + "jobs/run/p/", status: 400},
		{name: "path with NUL", method: "POST", path: w + "jobs/run/p/f/a%00b", status: 400},
		{name: "unknown hash", method: "POST", path: w + "jobs/run/h/00000000000000ff", status: 404},
		{name: "not a hash", method: "POST", path: w + "jobs/run/h/xyz", status: 400, want: []string{"16 hexadecimal digits"}},
		bad("not JSON", "", `{"a":`, "not valid JSON"),
		bad("two values", "", `{} {}`),
		bad("not UTF-8", "", "{\"a\":\"\xff\"}", "UTF-8"),
		bad("scheduled_for", "?scheduled_for=tomorrow", "{}", "scheduled_for"),
		bad("scheduled_in_secs", "?scheduled_in_secs=-1", "{}", "scheduled_in_secs"),
		bad("priority", "?priority=70000", "{}", "priority"),
		bad("timeout", "?timeout=0", "{}", "timeout"),
		bad("job_id", "?job_id=1", "{}", "job_id", "UUID"),
		bad("parent_job", "?parent_job=zz", "{}", "parent_job"),
		bad("raw", "?raw=maybe", "{}", "true or false"),
		bad("tag", "?tag=%ff", "{}", "tag"),
		{name: "binary", method: "POST", path: runHello, header: map[string]string{"Content-Type": "image/png"}, body: "\x89PNG", status: 400, want: []string{"image/png"}},
		{name: "multipart", method: "POST", path: runHello, header: map[string]string{"Content-Type": "multipart/form-data; boundary=x"}, body: "--x--", status: 400},
		{name: "bad payload", path: waitHello + "?payload=%25%25", status: 400, want: []string{"payload"}},
		{name: "payload not JSON", path: waitHello + "?payload=" + base64.RawURLEncoding.EncodeToString([]byte("{")), status: 400},
		{name: "preview without language", method: "POST", path: w + "jobs/run/preview", body: `{"content":"1"}`, status: 400, want: []string{"language"}},
		{name: "preview with bad args", method: "POST", path: w + "jobs/run/preview", body: `{"content":"1","language":"mock","args":{`, status: 400},
		{name: "too large", method: "POST", path: runHello, body: `{"a":"` + strings.Repeat("x", 3<<20) + `"}`, status: 413, kind: "text/plain", want: []string{"Too large: the body is over 1 MiB"}},
		{name: "head too large", path: "/api/version?" + strings.Repeat("x", 64<<10), status: 431, kind: "text/plain"},
	})
	if n := len(e.Requests()); n != 2 { // the unknown script and the unknown hash
		t.Errorf("%d requests reached the engine", n)
	}
}

// argsCase says which arguments a request makes.
type argsCase struct {
	name, method, path, kind, body string
	header                         map[string]string
	want                           string
}

func TestArguments(t *testing.T) {
	t.Parallel()
	e := NewEngine()
	d := Start(t, e, nil)
	const form = "application/x-www-form-urlencoded"
	payload := base64.RawURLEncoding.EncodeToString([]byte(`{"n": 12345678901234567890, "s": "ü?>"}`))
	for _, c := range []argsCase{
		{name: "byte for byte", body: ` {"n": 1.50,  "big": 12345678901234567890, "u":"\u00e9<>&"} `, want: `{"n": 1.50,  "big": 12345678901234567890, "u":"\u00e9<>&"}`},
		{name: "no body", want: ``},
		{name: "null", body: `null`, want: ``},
		{name: "list", body: `[1, 2]`, want: `{"body":[1, 2]}`},
		{name: "string", body: `"x"`, want: `{"body":"x"}`},
		{name: "wrapped", path: "?wrap_body=true", body: `{"a":1}`, want: `{"body":{"a":1}}`},
		{name: "raw", path: "?raw=true", body: `{"a": 1}`, want: `{"a":1,"raw_string":"{\"a\": 1}"}`},
		{name: "structured suffix", kind: "application/cloudevents+json", body: `{"a":1}`, want: `{"a":1}`},
		{name: "form", kind: form, body: `a=1&b=x+y&b=z`, want: `{"a":"1","b":["x y","z"]}`},
		{name: "curl -d", kind: form, body: `{"a":1}`, want: `{"a":1}`},
		{name: "text", kind: "text/plain; charset=utf-8", body: "hi <you>", want: `{"raw_string":"hi <you>"}`},
		{name: "include_query", path: "?include_query=a,zz&a=7", body: `{"b":1}`, want: `{"a":"7","b":1}`},
		{name: "include_header wins over the body", path: "?include_header=X-Sig,Authorization,Cookie", body: `{"x_sig":"forged"}`, header: map[string]string{"X-Sig": "real"}, want: `{"x_sig":"real"}`},
		{name: "get query", method: "GET", path: `?n=3&s=abc&t=true&q=%22007%22&z=007&tag=x`, want: `{"n":3,"q":"007","s":"abc","t":true,"z":"007"}`},
		{name: "get payload", method: "GET", path: "?payload=" + payload, want: `{"n": 12345678901234567890, "s": "ü?>"}`},
		{name: "get nothing", method: "GET", want: ``},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := scenario{method: "POST", path: waitHello + c.path, body: c.body, header: map[string]string{}, status: 200, exact: `{"hello":"world"}`}
			if c.method != "" {
				s.method = c.method
			}
			if c.kind == "" {
				c.kind = "application/json"
			}
			if c.body != "" {
				s.header["Content-Type"] = c.kind
			}
			for k, v := range c.header {
				s.header[k] = v
			}
			s.run(t, d)
			all := e.Requests()
			if got := string(all[len(all)-1].Args); got != c.want {
				t.Errorf("arguments %s, want %s", got, c.want)
			}
		})
	}
}

func TestRunOptions(t *testing.T) {
	t.Parallel()
	e := NewEngine()
	d := Start(t, e, nil)
	id, parent := uuid.New(), uuid.New()
	before := time.Now()
	scenario{method: "POST", path: runHello + "?tag=gpu&priority=-3&timeout=90&scheduled_in_secs=60&root_job=x&skip_preprocessor=true&job_id=" + id.String() + "&parent_job=" + parent.String(),
		header: map[string]string{"Idempotency-Key": "k1", "X-Windmill-Client": "cli"}, status: 201, kind: "text/plain", exact: id.String()}.run(t, d)
	r := e.Requests()[0]
	if r.Tag != "gpu" || r.Priority != -3 || r.Timeout != 90*time.Second || *r.ID != id || *r.Parent != parent || r.IdempotencyKey != "k1" || r.Trigger != "cli" {
		t.Errorf("request %+v", r)
	}
	if at := r.ScheduledFor.Sub(before); at < time.Minute || at > 2*time.Minute {
		t.Errorf("scheduled in %s", at)
	}
	play(t, d, []scenario{
		{name: "same key, same job", method: "POST", path: runHello, header: map[string]string{"Idempotency-Key": "k1"}, status: 201, exact: id.String()},
		{name: "scheduled_for", method: "POST", path: runHello + "?scheduled_for=2099-01-02T03:04:05%2B01:00", status: 201},
		{name: "queue limit", method: "POST", path: runHello + "?queue_limit=0", status: 429, kind: "text/plain", want: []string{"Too many requests: "}},
		{name: "within the limit", method: "POST", path: runHello + "?queue_limit=99", status: 201},
		{name: "by hash", method: "POST", path: w + "jobs/run/h/0000000000001000", status: 201},
		{name: "escaped path", method: "POST", path: w + "jobs/run/p/f%2Fdemo%2Fhello", status: 201},
		{name: "why", path: w + "jobs/why/" + id.String(), status: 200, kind: "application/json", want: []string{`"state":"queued"`, "scheduled for"}},
		{name: "preview", method: "POST", path: w + "jobs/run_wait_result/preview", body: `{"content":"[1,  2]","language":"mock","args":{"a":1},"tag":"t","timeout":5,"path":"f/x/y"}`, status: 200, kind: "application/json", exact: "[1,  2]"},
		{name: "noop", method: "POST", path: w + "jobs/run_wait_result/noop", status: 200, exact: "null"},
	})
	all := e.Requests()
	if p := all[len(all)-2]; p.Source != "[1,  2]" || p.Language != "mock" || string(p.Args) != `{"a":1}` || p.Tag != "t" || p.Timeout != 5*time.Second || p.Path != "f/x/y" {
		t.Errorf("preview %+v", p)
	}
	if p := all[3]; !p.ScheduledFor.Equal(time.Date(2099, 1, 2, 2, 4, 5, 0, time.UTC)) && !all[2].ScheduledFor.Equal(time.Date(2099, 1, 2, 2, 4, 5, 0, time.UTC)) {
		t.Errorf("scheduled_for was not read: %v", p.ScheduledFor)
	}
}

func TestResults(t *testing.T) {
	t.Parallel()
	e := NewEngine()
	d := Start(t, e, nil)
	// A preview's source is its result; "!" makes it fail with the rest, "?" cancels.
	e.Work = func(r engine.RunRequest) *engine.Outcome {
		switch r.Source[0] {
		case '!':
			return &engine.Outcome{State: engine.StateFailure, Result: json.RawMessage(r.Source[1:])}
		case '?':
			return &engine.Outcome{State: engine.StateCanceled, CanceledBy: "ann", Reason: "changed\nmy mind"}
		}
		return &engine.Outcome{State: engine.StateSuccess, Result: json.RawMessage(r.Source)}
	}
	run := func(name, source string, status int, kind, exact string) scenario {
		b, err := json.Marshal(map[string]string{"content": source, "language": "mock"})
		if err != nil {
			t.Fatal(err)
		}
		return scenario{name: name, method: "POST", path: w + "jobs/run_wait_result/preview", body: string(b), status: status, kind: kind, exact: exact}
	}
	const js = "application/json"
	play(t, d, []scenario{
		run("bare failure is wrapped", `!{"name":"E","message":"m"}`, 500, js, `{"error":{"name":"E","message":"m"}}`),
		run("wrapped failure", `!{"error":{"message":"m"}}`, 500, js, `{"error":{"message":"m"}}`),
		run("canceled", `?`, 500, js, `{"error":{"message":"canceled by ann: changed\nmy mind","name":"Canceled"}}`),
		run("bad status", `{"windmill_status_code":42}`, 500, "text/plain", ""),
		run("bad status type", `{"windmill_status_code":"x"}`, 500, "text/plain", ""),
		run("bad header", `{"windmill_headers":{"X":"a\r\nSet-Cookie: token=1"}}`, 500, "text/plain", ""),
		run("verbatim", `{"a": 1.0,  "b":"<\u003e>"}`, 200, js, `{"a": 1.0,  "b":"<\u003e>"}`),
		run("keys deeper are data", `{"rows":[{"windmill_status_code":"x"}]}`, 200, js, `{"rows":[{"windmill_status_code":"x"}]}`),
		run("status and result", `{"windmill_status_code":201,"result":{"a": 1}}`, 201, js, `{"a": 1}`),
		run("status alone", `{"windmill_status_code":204}`, 204, "", ""),
		run("text", `{"windmill_content_type":"text/csv","result":"a,b\n"}`, 200, "text/csv", "a,b\n"),
	})
	s := run("", `{"windmill_headers":{"X-Rows":"2","Content-Type":"text/html","Content-Length":"9999"},"result":"<p>hi"}`, 200, "text/html", "<p>hi")
	resp := s.run(t, d)
	if resp.Header.Get("X-Rows") != "2" || !strings.HasPrefix(resp.Header.Get("Content-Security-Policy"), "sandbox") || resp.Header.Get("X-Millrace-Job") == "" {
		t.Errorf("headers %v", resp.Header)
	}
}

func TestWaitTimesOut(t *testing.T) {
	t.Parallel()
	e := NewEngine()
	e.Work = func(engine.RunRequest) *engine.Outcome { return nil }
	d := Start(t, e, func(c *web.Config) { c.WaitTimeout = 20 * time.Millisecond })
	resp := scenario{method: "POST", path: waitHello, status: http.StatusGatewayTimeout, kind: "text/plain", want: []string{"Timeout: job ", "get_result_maybe"}}.run(t, d)
	id := resp.Header.Get("X-Millrace-Job")
	play(t, d, []scenario{
		{name: "the job goes on", path: w + "jobs_u/get/" + id, status: 200, want: []string{`"running":true`, `"type":"QueuedJob"`}},
		{name: "maybe", path: w + "jobs_u/completed/get_result_maybe/" + id + "?get_started=false", status: 200, exact: `{"started":true,"completed":false}`},
		{name: "no result", path: w + "jobs_u/completed/get_result/" + id, status: 404, kind: "text/plain", want: []string{"not completed"}},
		{name: "not completed", path: w + "jobs_u/completed/get/" + id, status: 404},
	})
}
