package webtest

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/web/client"
)

func dial(t *testing.T, cfg client.Config) *client.Client {
	t.Helper()
	c, err := client.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestClientConfig(t *testing.T) {
	t.Parallel()
	for _, server := range []string{"", "localhost:8000", "ftp://x", "http://"} {
		if _, err := client.New(client.Config{Server: server}); err == nil {
			t.Errorf("server %q was accepted", server)
		}
	}
}

func TestClientErrors(t *testing.T) {
	t.Parallel()
	d := Start(t, NewEngine(), nil)
	ctx := context.Background()
	c := dial(t, client.Config{Server: d.URL, Token: "wrong"})
	var e *client.Error
	if _, err := c.Whoami(ctx); !errors.As(err, &e) || !client.IsUnauthorized(err) || !strings.HasPrefix(e.Body, "Unauthorized: ") {
		t.Errorf("wrong token: %v", err)
	}
	c = dial(t, client.Config{Socket: d.Socket})
	if _, err := c.Run(ctx, client.Run{Path: "f/demo/none"}); !client.IsNotFound(err) || err.Error() != "Not found: f/demo/none: no such script (deploy it first)" {
		t.Errorf("unknown script: %v", err)
	}
	if _, err := c.Run(ctx, client.Run{}); err == nil {
		t.Error("a run of nothing was accepted")
	}
	if _, err := c.Follow(ctx, uuid.New(), nil); !client.IsNotFound(err) {
		t.Errorf("follow unknown: %v", err)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := c.Version(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("ended context: %v", err)
	}
	if err := dial(t, client.Config{Socket: d.Socket + "x"}).Health(ctx); err == nil || !strings.Contains(err.Error(), "ask the daemon") {
		t.Errorf("nobody there: %v", err)
	}
}

func TestClientRuns(t *testing.T) {
	t.Parallel()
	e := NewEngine()
	d := Start(t, e, nil)
	ctx := context.Background()
	c := dial(t, client.Config{Server: d.URL, Token: "admin-secret", Name: "cli"})
	got, err := c.RunWait(ctx, client.Run{Path: "f/demo/hello", Args: json.RawMessage(`{"a":1}`), Tag: "x"})
	if err != nil || string(got) != `{"hello":"world"}` {
		t.Errorf("run and wait: %s %v", got, err)
	}
	if r := e.Requests()[0]; string(r.Args) != `{"a":1}` || r.Tag != "x" || r.Trigger != "cli" {
		t.Errorf("request %+v", r)
	}
	got, err = c.RunWait(ctx, client.Run{Preview: &client.Preview{Content: `"p"`, Language: "mock"}})
	if err != nil || string(got) != `"p"` {
		t.Errorf("preview: %s %v", got, err)
	}
	id, err := c.Run(ctx, client.Run{Hash: "0000000000001000", IdempotencyKey: "k"})
	if err != nil {
		t.Fatal(err)
	}
	if again, err := c.Run(ctx, client.Run{Path: "f/demo/hello", IdempotencyKey: "k"}); err != nil || again != id {
		t.Errorf("same key: %s %v", again, err)
	}
	if j, err := c.Job(ctx, id, true); err != nil || j.Type != "CompletedJob" || !*j.Success {
		t.Errorf("job: %+v %v", j, err)
	}
	if r, err := c.Result(ctx, id); err != nil || string(r) != `{"hello":"world"}` {
		t.Errorf("result: %s %v", r, err)
	}
	if m, err := c.ResultMaybe(ctx, id); err != nil || !m.Completed {
		t.Errorf("maybe: %+v %v", m, err)
	}
	if err := c.Cancel(ctx, id, ""); err == nil {
		t.Error("a completed job was canceled")
	}
	if list, err := c.Jobs(ctx, url.Values{"status": {"success"}, "per_page": {"2"}}); err != nil || len(list) != 2 {
		t.Errorf("jobs: %d %v", len(list), err)
	}
	if w, err := c.Why(ctx, id); err != nil || w.State != engine.StateSuccess {
		t.Errorf("why: %+v %v", w, err)
	}
	if n, err := c.QueueCount(ctx); err != nil || n.DatabaseLength != 0 {
		t.Errorf("count: %+v %v", n, err)
	}
}

func TestClientFollows(t *testing.T) {
	t.Parallel()
	e, d, id := running(t)
	c := dial(t, client.Config{Socket: d.Socket})
	e.Print(id, "one\n", "")
	var logs strings.Builder
	j, err := c.Follow(context.Background(), id, func(u client.Update) error {
		logs.WriteString(u.NewLogs)
		if u.NewLogs == "one\n" {
			e.Print(id, "two\n", "")
			e.Finish(id, engine.Outcome{State: engine.StateSuccess, Result: json.RawMessage(`7`)})
		}
		return nil
	})
	if err != nil || string(*j.Result) != "7" || logs.String() != "one\ntwo\n" {
		t.Errorf("job %+v, logs %q, %v", j, logs.String(), err)
	}
	if text, err := c.Logs(context.Background(), id, 4); err != nil || text != "two\n" {
		t.Errorf("logs %q %v", text, err)
	}
	enough := errors.New("enough")
	if _, err := c.Follow(context.Background(), id, func(client.Update) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("the caller's error: %v", err)
	}
}

func TestClientResources(t *testing.T) {
	t.Parallel()
	d := Start(t, NewEngine(), nil)
	ctx := context.Background()
	c := dial(t, client.Config{Socket: d.Socket, Workspace: "main"})
	lock := client.LockText("")
	hash, err := c.CreateScript(ctx, client.NewScript{Path: "f/demo/a b.c", Content: "1", Language: "mock", Lock: &lock}, true)
	if err == nil {
		t.Fatalf("a path with a space was accepted as %s", hash)
	}
	if hash, err = c.CreateScript(ctx, client.NewScript{Path: "f/demo/new", Content: "1", Language: "mock", Lock: &lock}, true); err != nil {
		t.Fatal(err)
	}
	if s, err := c.Script(ctx, "f/demo/new"); err != nil || s.Hash != hash || s.Lock == nil {
		t.Errorf("script %+v %v", s, err)
	}
	if s, err := c.ScriptByHash(ctx, hash); err != nil || s.Path != "f/demo/new" {
		t.Errorf("script by hash %+v %v", s, err)
	}
	if l, err := c.Scripts(ctx, nil); err != nil || len(l) != 2 {
		t.Errorf("scripts %+v %v", l, err)
	}
	if l, err := c.ScriptHistory(ctx, "f/demo/new"); err != nil || len(l) != 1 {
		t.Errorf("history %+v %v", l, err)
	}
	if err := errors.Join(c.ArchiveScript(ctx, "f/demo/new"), c.DeleteScript(ctx, "0000000000001000"), c.Health(ctx), c.Ready(ctx),
		c.CreateWorkspace(ctx, client.NewWorkspace{ID: "w2"})); err != nil {
		t.Error(err)
	}
	secret, err := c.CreateToken(ctx, client.NewToken{Label: "x"})
	if err != nil || secret != "new-x-secret" {
		t.Errorf("token %q %v", secret, err)
	}
	if l, err := c.Tokens(ctx); err != nil || len(l) != 2 {
		t.Errorf("tokens %+v %v", l, err)
	}
	if err := c.DeleteToken(ctx, "new-x"); err != nil {
		t.Error(err)
	}
	if p, err := c.Version(ctx); err != nil || p.Version != "1.2.3" {
		t.Errorf("version %+v %v", p, err)
	}
	if m, err := c.WhoamiHere(ctx); err != nil || !m.IsAdmin {
		t.Errorf("whoami %+v %v", m, err)
	}
	if l, err := c.Workers(ctx); err != nil || len(l) != 2 || l[0].Executed != 12 {
		t.Errorf("workers %+v %v", l, err)
	}
	if l, err := c.Workspaces(ctx); err != nil || len(l) != 3 {
		t.Errorf("workspaces %+v %v", l, err)
	}
	if m, err := c.Metrics(ctx); err != nil || !strings.Contains(m, "millrace_fake") {
		t.Errorf("metrics %q %v", m, err)
	}
}

func TestClientFlows(t *testing.T) {
	t.Parallel()
	d := Start(t, NewEngine(), nil)
	ctx := context.Background()
	c := dial(t, client.Config{Socket: d.Socket, Workspace: "main"})
	const path = "f/demo/report"
	for i, want := range []client.FlowDeployed{{Path: path, Version: 2, Created: true}, {Path: path, Version: 2}, {Path: path, Version: 3, Created: true}} {
		body := json.RawMessage(`{"path":"f/demo/report","summary":"","value":{"n":1}}`)
		if i == 2 {
			body = json.RawMessage(`{"path":"f/demo/report","summary":"","value":{"n":2}}`)
		}
		if got, err := c.DeployFlow(ctx, path, body, true); err != nil || got.Version != want.Version || got.Created != want.Created || got.Warnings == nil {
			t.Errorf("deploy %d: %+v, %v", i, got, err)
		}
	}
	if _, err := c.DeployFlow(ctx, path, json.RawMessage(`{"value":{"wrong":1}}`), true); err == nil || !strings.Contains(err.Error(), "is wrong") {
		t.Errorf("deploy what is wrong: %v", err)
	}
	if f, err := c.Flow(ctx, path); err != nil || !strings.Contains(string(f), `"value":{"n":2}`) {
		t.Errorf("flow %s, %v", f, err)
	}
	if f, err := c.FlowByVersion(ctx, 2); err != nil || !strings.Contains(string(f), `"value":{"n":1}`) {
		t.Errorf("version %s, %v", f, err)
	}
	if l, err := c.Flows(ctx, url.Values{"path_exact": {path}}); err != nil || len(l) != 1 || l[0].VersionID != 3 {
		t.Errorf("flows %+v, %v", l, err)
	}
	if l, err := c.FlowHistory(ctx, path); err != nil || len(l) != 2 {
		t.Errorf("history %+v, %v", l, err)
	}
	for _, r := range []client.Run{{FlowPath: path}, {FlowVersion: 3}} {
		if got, err := c.RunWait(ctx, r); err != nil || string(got) != `{"n":2}` {
			t.Errorf("run %+v: %s, %v", r, got, err)
		}
	}
	if err := errors.Join(c.ArchiveFlow(ctx, path), c.DeleteFlow(ctx, path), c.DeleteFlow(ctx, path)); err != nil {
		t.Error(err)
	}
	if _, err := c.Flow(ctx, path); !client.IsNotFound(err) {
		t.Errorf("after its end: %v", err)
	}
}
