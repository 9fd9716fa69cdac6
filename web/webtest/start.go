package webtest

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/millrace/millrace/web"
)

// Daemon is a running server over an Engine.
type Daemon struct {
	Engine *Engine
	Server *web.Server
	URL    string // of the TCP listener
	Socket string
	HTTP   *http.Client // over TCP
	Local  *http.Client // over the socket
}

// Start starts a server on a free port and a socket, and stops it when the test ends. change may alter the
// configuration; it may be nil.
func Start(t testing.TB, e *Engine, change func(*web.Config)) *Daemon {
	t.Helper()
	dir, err := os.MkdirTemp("", "web") // t.TempDir can be too long for a socket's path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	d := &Daemon{Engine: e, Socket: filepath.Join(dir, "s.sock")}
	cfg := web.Config{Listen: "127.0.0.1:0", Socket: d.Socket, Version: "1.2.3", Auth: Accounts{Engine: e, Admins: []uint32{uint32(os.Getuid())}},
		Jobs: e, FlowRuns: FlowRuns{e}, Scripts: Scripts{e}, Flows: Flows{e}, Schedules: Schedules{e}, Batches: Batches{e}, Values: NewValues(e), Tokens: Tokens{e}, Workspaces: Workspaces{e}, People: NewPeople(e), Endings: Endings, Health: e, Log: zerolog.Nop(),
		Metrics: func(w io.Writer) { _, _ = fmt.Fprintln(w, "millrace_fake 1") }}
	if change != nil {
		change(&cfg)
	}
	if d.Server, err = web.New(cfg); err != nil {
		t.Fatal(err)
	}
	if err := d.Server.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := d.Server.Stop(ctx); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	d.URL = "http://" + d.Server.Addr()
	d.HTTP = httpClient(t, nil)
	d.Local = httpClient(t, func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", d.Socket)
	})
	return d
}

func httpClient(t testing.TB, dial func(context.Context, string, string) (net.Conn, error)) *http.Client {
	c := &http.Client{Transport: &http.Transport{DialContext: dial}, Timeout: 30 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	t.Cleanup(c.CloseIdleConnections)
	return c
}
