package webtest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/web"
)

// askAs is the name of the environment variable that turns the test binary into a client of a socket.
const askAs = "MILLRACE_WEBTEST_SOCKET"

func TestMain(m *testing.M) {
	if socket := os.Getenv(askAs); socket != "" {
		c := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}}}
		resp, err := c.Get("http://x/api/users/whoami")
		if err != nil {
			os.Stdout.WriteString(err.Error())
			os.Exit(1)
		}
		_, _ = io.Copy(os.Stdout, resp.Body)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestPeersOfTheSocket(t *testing.T) {
	t.Parallel()
	d := Start(t, NewEngine(), nil)
	get := func(token string) string {
		req, err := http.NewRequestWithContext(context.Background(), "GET", "http://x/api/users/whoami", nil)
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		resp, err := d.Local.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return string(b)
	}
	if got := get(""); !strings.Contains(got, `"login_type":"socket"`) || !strings.Contains(got, `"super_admin":true`) {
		t.Errorf("own user: %s", got)
	}
	if got := get("user-secret"); !strings.Contains(got, `"username":"ann"`) {
		t.Errorf("a token comes before the peer: %s", got)
	}
	if got := get("wrong"); !strings.HasPrefix(got, "Unauthorized: ") {
		t.Errorf("a wrong token is not forgiven: %s", got)
	}
	if st, err := os.Stat(d.Socket); err != nil || st.Mode().Perm() != 0o666 {
		t.Errorf("socket mode: %v %v", st.Mode(), err)
	}
}

func TestStrangerOnTheSocket(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root can become another user")
	}
	d := Start(t, NewEngine(), nil)
	if err := os.Chmod(filepath.Dir(d.Socket), 0o755); err != nil {
		t.Fatal(err)
	}
	// The stranger must be able to run the test binary, so it gets a copy next to the socket.
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(filepath.Dir(d.Socket), "ask")
	if err := os.WriteFile(binary, b, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary)
	cmd.Env = []string{askAs + "=" + d.Socket}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if got := string(out); !strings.HasPrefix(got, "Unauthorized: this user is not known") {
		t.Errorf("uid 65534: %s", got)
	}
}

func config(e *Engine, socket string) web.Config {
	return web.Config{Socket: socket, Auth: Accounts{Engine: e}, Jobs: e, FlowRuns: FlowRuns{e}, Scripts: Scripts{e}, Flows: Flows{e}, Schedules: Schedules{e}, Batches: Batches{e}, Values: NewValues(e), Tokens: Tokens{e}, Workspaces: Workspaces{e}, People: NewPeople(e), Endings: Endings, Health: e, Log: zerolog.Nop()}
}

func TestSocketPath(t *testing.T) {
	t.Parallel()
	d := Start(t, NewEngine(), nil)
	serve := func(path string) error {
		s, err := web.New(config(NewEngine(), path))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Start(context.Background()); err != nil {
			return err
		}
		return s.Stop(context.Background())
	}
	if err := serve(d.Socket); err == nil || !strings.Contains(err.Error(), "another daemon serves") {
		t.Errorf("second daemon: %v", err)
	}
	dir := filepath.Dir(d.Socket)
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := serve(file); err == nil || !strings.Contains(err.Error(), "is not a socket") {
		t.Errorf("a file: %v", err)
	}
	foreign := filepath.Join(dir, "foreign")
	ln, err := net.Listen("unix", foreign)
	if err != nil {
		t.Fatal(err)
	}
	if err := serve(foreign); err == nil || !strings.Contains(err.Error(), "somebody serves") {
		t.Errorf("a foreign server: %v", err)
	}
	ln.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	if err := serve(foreign); err != nil {
		t.Errorf("a stale socket: %v", err)
	}
	if _, err := os.Lstat(foreign); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is left behind: %v", err)
	}
}

func TestConfigDiesAtBirth(t *testing.T) {
	t.Parallel()
	e := NewEngine()
	for name, change := range map[string]func(*web.Config){
		"neither Listen": func(c *web.Config) { c.Socket = "" },
		"Jobs":           func(c *web.Config) { c.Jobs = nil },
		"Schedules":      func(c *web.Config) { c.Schedules = nil },
		"FlowRuns":       func(c *web.Config) { c.FlowRuns = nil },
		"Auth":           func(c *web.Config) { c.Auth = nil },
		"MaxBody":        func(c *web.Config) { c.MaxBody = -1 },
		"WaitTimeout":    func(c *web.Config) { c.WaitTimeout = -1 },
	} {
		cfg := config(e, "/tmp/x")
		change(&cfg)
		if _, err := web.New(cfg); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	cfg := config(e, "")
	cfg.Listen = "256.0.0.1:1"
	s, err := web.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(context.Background()); err == nil {
		t.Error("an impossible address was accepted")
	}
	if err := s.Stop(context.Background()); err != nil {
		t.Errorf("stop of what never started: %v", err)
	}
}

// waitingRequest starts a run_wait_result that waits, and returns where its answer comes.
func waitingRequest(t *testing.T, e *Engine, d *Daemon) (answer chan string) {
	t.Helper()
	answer = make(chan string, 1)
	go func() {
		resp, err := d.Local.Post("http://x"+waitHello, "application/json", nil)
		if err != nil {
			answer <- err.Error()
			return
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		answer <- resp.Status + " " + string(b)
	}()
	until(t, func() bool { return len(e.Requests()) > 0 })
	return answer
}

func TestGracefulStop(t *testing.T) {
	t.Parallel()
	e, d, streamed := running(t)
	e.mu.Lock()
	e.requests = nil
	e.mu.Unlock()
	answer := waitingRequest(t, e, d)
	s := follow(t, d, streamed, "")
	s.next()
	stopped := make(chan error, 1)
	go func() { stopped <- d.Server.Stop(context.Background()) }()
	if u := s.next(); u.Type != "timeout" {
		t.Errorf("the stream ends with %+v", u)
	}
	s.end()
	select {
	case err := <-stopped:
		t.Fatalf("stopped before the request was answered: %v", err)
	default:
	}
	e.mu.Lock()
	id := e.order[len(e.order)-1]
	e.mu.Unlock()
	e.Finish(id, engine.Outcome{State: engine.StateSuccess, Result: json.RawMessage(`"late"`)})
	if got := <-answer; got != `200 OK "late"` {
		t.Errorf("answer %s", got)
	}
	if err := <-stopped; err != nil {
		t.Errorf("stop: %v", err)
	}
	if _, err := net.Dial("unix", d.Socket); err == nil {
		t.Error("still listening")
	}
}

// TestStopWithoutResults: a stop does not wait for requests whose results nothing could bring any more.
func TestStopWithoutResults(t *testing.T) {
	t.Parallel()
	e, d, _ := running(t)
	e.mu.Lock()
	e.requests = nil
	e.mu.Unlock()
	answer := waitingRequest(t, e, d)
	stopped := make(chan error, 1)
	go func() { stopped <- d.Server.Stop(context.Background()) }()
	d.Server.Drained()
	if got := <-answer; !strings.HasPrefix(got, "503") || !strings.Contains(got, "is kept") {
		t.Errorf("answer %s", got)
	}
	if err := <-stopped; err != nil {
		t.Errorf("stop: %v", err)
	}
}

func TestStopAtTheDeadline(t *testing.T) {
	t.Parallel()
	e, _, _ := running(t)
	e.mu.Lock()
	e.requests = nil
	e.mu.Unlock()
	dir, err := os.MkdirTemp("", "web")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	cfg := config(e, filepath.Join(dir, "s.sock"))
	cfg.Auth = Accounts{Engine: e, Admins: []uint32{uint32(os.Getuid())}}
	s, err := web.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	d := &Daemon{Local: httpClient(t, func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", cfg.Socket)
	})}
	answer := waitingRequest(t, e, d)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := s.Stop(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("stop: %v", err)
	}
	if got := <-answer; !strings.HasPrefix(got, "503") || !strings.Contains(got, "is kept") {
		t.Errorf("answer %s", got)
	}
}

func TestAccessLog(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	d := Start(t, NewEngine(), func(c *web.Config) { c.Log = zerolog.New(zerolog.SyncWriter(&b)).Level(zerolog.DebugLevel) })
	scenario{path: w + "jobs/list?token=admin-secret", token: "-", status: 200}.run(t, d)
	if err := d.Server.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := b.String(); !strings.Contains(got, `"path":"/api/w/main/jobs/list"`) || strings.Contains(got, "admin-secret") {
		t.Errorf("log %s", got)
	}
}
