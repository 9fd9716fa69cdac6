package webtest

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/web"
)

// scenario is one request and what must come back.
type scenario struct {
	name   string
	method string
	path   string
	token  string // "": admin-secret; "-": none
	header map[string]string
	body   string
	status int
	kind   string   // start of the content type
	want   []string // parts of the body
	not    []string // parts that must not be in it
	exact  string   // the whole body
}

const w = "/api/w/main/"

func (s scenario) run(t *testing.T, d *Daemon) *http.Response {
	t.Helper()
	if s.method == "" {
		s.method = "GET"
	}
	req, err := http.NewRequestWithContext(context.Background(), s.method, d.URL+s.path, strings.NewReader(s.body))
	if err != nil {
		t.Fatal(err)
	}
	if s.token == "" {
		s.token = "admin-secret"
	}
	if s.token != "-" {
		req.Header.Set("Authorization", "Bearer "+s.token)
	}
	for k, v := range s.header {
		req.Header.Set(k, v)
	}
	resp, err := d.HTTP.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	body := string(b)
	if resp.StatusCode != s.status {
		t.Errorf("status %d, want %d; body %s", resp.StatusCode, s.status, body)
	}
	if s.kind != "" && !strings.HasPrefix(resp.Header.Get("Content-Type"), s.kind) {
		t.Errorf("content type %q, want %q", resp.Header.Get("Content-Type"), s.kind)
	}
	if s.exact != "" && body != s.exact {
		t.Errorf("body %q, want %q", body, s.exact)
	}
	for _, part := range s.want {
		if !strings.Contains(body, part) {
			t.Errorf("body %q lacks %q", body, part)
		}
	}
	for _, part := range s.not {
		if strings.Contains(body, part) {
			t.Errorf("body %q holds %q", body, part)
		}
	}
	if s.status >= 400 && strings.HasPrefix(s.kind, "text/plain") && strings.Contains(body, "\n") {
		t.Errorf("an error must be one line: %q", body)
	}
	if resp.Header.Get("X-Request-Id") == "" && s.status != 413 && s.status != 431 {
		t.Error("no X-Request-Id")
	}
	return resp
}

func play(t *testing.T, d *Daemon, list []scenario) {
	t.Helper()
	for _, s := range list {
		t.Run(s.name, func(t *testing.T) { s.run(t, d) })
	}
}

func TestDoor(t *testing.T) {
	t.Parallel()
	d := Start(t, NewEngine(), nil)
	play(t, d, []scenario{
		{name: "no credentials", path: w + "jobs/list", token: "-", status: 401, kind: "text/plain", want: []string{"Unauthorized: no credentials"}},
		{name: "wrong token", path: w + "jobs/list", token: "nonsense", status: 401, want: []string{"Unauthorized: "}, not: []string{"nonsense"}},
		{name: "wrong scheme", path: w + "jobs/list", token: "-", header: map[string]string{"Authorization": "Basic YTpi"}, status: 401},
		{name: "token of another workspace", path: w + "jobs/list", token: "bound-secret", status: 403, kind: "text/plain", want: []string{"Permission denied: ", "bound to workspace other"}},
		{name: "not an administrator", method: "POST", path: "/api/workspaces/create", token: "user-secret", body: `{"id":"x"}`, status: 403, want: []string{"Permission denied: only administrators"}},
		{name: "engine refuses", method: "POST", path: w + "scripts/delete/h/0000000000001000", token: "user-secret", status: 403},
		{name: "unknown route", path: "/api/nothing/here", status: 404, kind: "text/plain", want: []string{"Not found: "}, not: []string{"<html", "<!doctype"}},
		{name: "unknown route without token", path: "/api/w/main/apps/list", token: "-", status: 404, kind: "text/plain"},
		{name: "wrong method", method: "DELETE", path: w + "jobs/list", status: 405, kind: "text/plain", want: []string{"Method not allowed"}},
		{name: "no redirect", path: "/api/version/", status: 404, kind: "text/plain"},
		{name: "unknown workspace", path: "/api/w/none/jobs/list", status: 404, want: []string{"Not found: none: no such workspace"}},
		{name: "cookie from a foreign site", path: w + "jobs/list", token: "-", header: map[string]string{"Cookie": "token=admin-secret", "Sec-Fetch-Site": "cross-site"}, status: 401},
		{name: "cookie from a foreign origin", path: w + "jobs/list", token: "-", header: map[string]string{"Cookie": "token=admin-secret", "Origin": "http://evil.example"}, status: 401},
		{name: "cookie", path: w + "jobs/list", token: "-", header: map[string]string{"Cookie": "token=admin-secret"}, status: 200, kind: "application/json", exact: "[]"},
		{name: "query", path: w + "jobs/list?token=user-secret", token: "-", status: 200},
		{name: "lower case scheme", path: w + "jobs/list", token: "-", header: map[string]string{"Authorization": "bearer user-secret"}, status: 200},
		{name: "bound token at home", path: "/api/w/other/users/whoami", token: "bound-secret", status: 200, want: []string{`"workspace_id":"other"`}},
		{name: "bound token outside", path: "/api/users/whoami", token: "bound-secret", status: 401},
		{name: "own request id", path: "/api/version", token: "-", header: map[string]string{"X-Request-Id": "abc-1"}, status: 200, exact: "CE v1.819.0", kind: "text/plain"},
	})
	resp := scenario{path: "/api/version", header: map[string]string{"X-Request-Id": "abc-1"}, status: 200}.run(t, d)
	if got := resp.Header.Get("X-Request-Id"); got != "abc-1" {
		t.Errorf("request id %q", got)
	}
}

func TestBrokenEngine(t *testing.T) {
	t.Parallel()
	e := NewEngine()
	d := Start(t, e, nil)
	e.Broken = io.ErrClosedPipe
	play(t, d, []scenario{
		{name: "internal errors keep their cause", path: w + "jobs/list", status: 500, kind: "text/plain", want: []string{"Internal error: request "}, not: []string{"pipe"}},
		{name: "not ready", path: "/api/ready", token: "-", status: 503, want: []string{"Unavailable: "}},
		{name: "but alive", path: "/api/health", token: "-", status: 200, exact: "ok"},
	})
}

func TestPanicEndsOnlyItself(t *testing.T) {
	t.Parallel()
	e := NewEngine()
	d := Start(t, e, func(c *web.Config) { c.Jobs = panicking{c.Jobs.(*Engine)} })
	scenario{path: w + "jobs_u/get/" + uuid.NewString(), status: 500, want: []string{"Internal error: request "}, not: []string{"boom"}}.run(t, d)
	scenario{path: "/api/health", status: 200}.run(t, d)
}

// panicking is an engine with a bug outside its lock.
type panicking struct{ *Engine }

func (panicking) Get(context.Context, engine.Principal, string, uuid.UUID, bool) (*engine.JobView, error) {
	panic("boom")
}

func TestAccounts(t *testing.T) {
	t.Parallel()
	e := NewEngine()
	d := Start(t, e, nil)
	play(t, d, []scenario{
		{name: "whoami", path: "/api/users/whoami", token: "user-secret", status: 200, kind: "application/json", want: []string{`"username":"ann"`, `"super_admin":false`}},
		{name: "whoami in a workspace", path: w + "users/whoami", status: 200, want: []string{`"is_admin":true`}},
		{name: "whoami nowhere", path: "/api/w/none/users/whoami", status: 404},
		{name: "exists bad body", method: "POST", path: "/api/workspaces/exists", body: "{", status: 400, want: []string{"Bad request: "}},
		{name: "exists no body", method: "POST", path: "/api/workspaces/exists", status: 400},
		{name: "exists not", method: "POST", path: "/api/workspaces/exists", body: `{"id":"x"}`, status: 200, kind: "application/json", exact: "false"},
		{name: "exists", method: "POST", path: "/api/workspaces/exists", body: `{"id":"main"}`, status: 200, exact: "true"},
		{name: "whose usernames are", path: "/api/settings/global/automate_username_creation", status: 200, kind: "application/json", exact: "false"},
		{name: "whose usernames are, a stranger", path: "/api/settings/global/automate_username_creation", token: "-", status: 401},
		{name: "create bad id", method: "POST", path: "/api/workspaces/create", body: `{"id":"../x"}`, status: 400},
		{name: "create taken", method: "POST", path: "/api/workspaces/create", body: `{"id":"main"}`, status: 409, want: []string{"Conflict: main: exists already"}},
		{name: "create", method: "POST", path: "/api/workspaces/create", body: `{"id":"new"}`, status: 201, kind: "text/plain", exact: "new"},
		{name: "list", path: "/api/workspaces/list", status: 200, want: []string{`"id":"new"`}},
		{name: "list of a bound token", path: "/api/workspaces/list", token: "bound-secret", status: 200, want: []string{`"other"`}, not: []string{`"main"`}},
		{name: "memberships", path: "/api/workspaces/users", status: 200, want: []string{`"username":"root"`}},
		{name: "token in the past", method: "POST", path: "/api/users/tokens/create", body: `{"expiration":"2001-01-01T00:00:00Z"}`, status: 400},
		{name: "token", method: "POST", path: "/api/users/tokens/create", body: `{"label":"ci"}`, status: 201, kind: "text/plain", exact: "new-ci-secret"},
		{name: "token without body", method: "POST", path: "/api/users/tokens/create", status: 201, exact: "new--secret"},
		{name: "tokens", path: "/api/users/tokens/list?exclude_ephemeral=true", status: 200, want: []string{`"token_prefix":"new-ci"`}, not: []string{"secret"}},
		{name: "tokens, page beyond", path: "/api/users/tokens/list?page=9", status: 200, exact: "[]"},
		{name: "delete unknown", method: "DELETE", path: "/api/users/tokens/delete/zzz", status: 404},
		{name: "delete", method: "DELETE", path: "/api/users/tokens/delete/new-ci", status: 200},
		{name: "workers", path: "/api/workers/list", status: 200, want: []string{`"worker":"fake"`, `"worker":"gone"`, `"slots":2,"busy":1`, `"wm_version":"v9"`}},
		{name: "live workers", path: "/api/workers/list?ping_since=60", status: 200, want: []string{`"worker":"fake"`}, not: []string{`"gone"`}},
		{name: "clock", path: "/api/jobs/db_clock", status: 200, kind: "application/json"},
	})
}

func TestPages(t *testing.T) {
	t.Parallel()
	d := Start(t, NewEngine(), nil)
	play(t, d, []scenario{
		{name: "landing", path: "/", token: "-", status: 200, kind: "text/html", want: []string{"1.2.3", "/docs", "/api/openapi.json"}, not: []string{"http://", "https://"}},
		{name: "manual", path: "/docs", token: "-", status: 200, kind: "text/html", want: []string{"<h1", `href="/docs/api"`, `aria-current="page"`}},
		{name: "page", path: "/docs/api", token: "-", status: 200, kind: "text/html", want: []string{"curl", "run_wait_result"}},
		{name: "no page", path: "/docs/none", token: "-", status: 404, kind: "text/html", want: []string{"no such page"}, not: []string{"\x00"}},
		{name: "elsewhere", path: "/favicon.ico", token: "-", status: 404, kind: "text/plain"},
		{name: "product", path: "/api/millrace/version", token: "-", status: 200, kind: "application/json", want: []string{`"version":"1.2.3"`}},
		{name: "metrics", path: "/metrics", token: "-", status: 200, kind: "text/plain; version=0.0.4", want: []string{"millrace_fake 1\n", `millrace_http_requests_total{code="2xx"}`}},
		{name: "ready", path: "/api/ready", token: "-", status: 200, exact: "ok"},
		{name: "head", method: "HEAD", path: "/api/health", token: "-", status: 200},
	})
}
