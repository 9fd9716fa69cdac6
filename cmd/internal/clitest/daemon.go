// Package clitest is a daemon made of canned answers, for tests of what talks to one: the command line, pushing, the example.
// It keeps the scripts that are created and lets a test say what their runs give.
package clitest

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/web/client"
)

// Noon is the moment at which everything happens.
var Noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// Outcome is what a run gives.
type Outcome struct {
	Logs    string
	Result  string // JSON; of failed runs {"error": {...}}
	Failed  bool
	Forever bool // it never ends by itself
}

// Daemon answers requests. Set the fields before the first one; the rest is for looking at afterwards, under Lock.
type Daemon struct {
	URL, Socket string
	Token       string // needed over TCP when set
	// Run decides what a run gives: of a path, or of a preview's source.
	Run func(what string, args json.RawMessage) Outcome
	// LockError, by path, is what resolving its dependencies says.
	LockError map[string]string

	sync.Mutex
	Scripts  map[string]client.NewScript // by path
	Flows    map[string]*aFlow           // by path
	Canceled []string
	Deleted  []string // tokens
	// BreakBatches is how many requests to run a batch break off; Keys are the idempotency keys of those that came.
	BreakBatches int
	// Lingering is how many rows of a batch have not ended when its cancel is answered.
	Lingering int64
	Keys      []string
	batches   []*batch
	settled   map[string]bool // paths whose dependency job somebody has followed to its end
	jobs      map[uuid.UUID]*client.Job
	order     []uuid.UUID
	ended     map[uuid.UUID]chan struct{}

	schedules, calendars map[string]record // by path
}

// New starts a daemon that listens on TCP and on a socket and ends with the test.
func New(t *testing.T) *Daemon {
	t.Helper()
	d := &Daemon{Scripts: map[string]client.NewScript{}, Flows: map[string]*aFlow{}, LockError: map[string]string{}, settled: map[string]bool{}, jobs: map[uuid.UUID]*client.Job{},
		schedules: map[string]record{}, calendars: map[string]record{},
		ended: map[uuid.UUID]chan struct{}{}, Run: func(string, json.RawMessage) Outcome { return Outcome{Result: "null"} }}
	over := func(tcp bool) http.HandlerFunc {
		mux := d.routes()
		return func(w http.ResponseWriter, r *http.Request) {
			if tcp && d.Token != "" && r.Header.Get("Authorization") != "Bearer "+d.Token {
				http.Error(w, "Unauthorized: a token is needed", http.StatusUnauthorized)
				return
			}
			mux.ServeHTTP(w, r)
		}
	}
	tcp := httptest.NewServer(over(true))
	d.URL = tcp.URL
	d.Socket = filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", d.Socket)
	if err != nil {
		t.Fatal(err)
	}
	local := httptest.NewUnstartedServer(over(false))
	_ = local.Listener.Close()
	local.Listener = l
	local.Start()
	t.Cleanup(func() {
		d.Lock()
		for id := range d.ended {
			d.end(id)
		}
		d.Unlock()
		tcp.Close()
		local.Close()
	})
	return d
}

// Client returns a client of the daemon's socket.
func (d *Daemon) Client(t *testing.T) *client.Client {
	t.Helper()
	c, err := client.New(client.Config{Socket: d.Socket})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func (d *Daemon) routes() *http.ServeMux {
	mux := http.NewServeMux()
	d.scheduleRoutes(mux)
	d.batchRoutes(mux)
	d.flowRoutes(mux)
	d.peopleRoutes(mux)
	d.valueRoutes(mux)
	const w = "/api/w/main/"
	mux.HandleFunc("POST "+w+"scripts/create", d.create)
	mux.HandleFunc("GET "+w+"scripts/list", d.listScripts)
	mux.HandleFunc("GET "+w+"scripts/get/p/{path...}", d.script)
	mux.HandleFunc("GET "+w+"scripts/get/h/{hash}", d.script)
	mux.HandleFunc("GET "+w+"scripts/history/p/{path...}", d.history)
	mux.HandleFunc("POST "+w+"scripts/archive/p/{path...}", d.archive)
	mux.HandleFunc("POST "+w+"jobs/run/{kind}/{path...}", d.run)
	mux.HandleFunc("POST "+w+"jobs/run/preview", d.run)
	d.flowRunRoutes(mux)
	mux.HandleFunc("GET "+w+"jobs_u/getupdate_sse/{id}", d.follow)
	mux.HandleFunc("GET "+w+"jobs_u/get/{id}", d.job)
	mux.HandleFunc("GET "+w+"jobs_u/get_logs/{id}", d.logs)
	mux.HandleFunc("GET "+w+"jobs/list", d.listJobs)
	mux.HandleFunc("GET "+w+"jobs/why/{id}", d.why)
	mux.HandleFunc("POST "+w+"jobs_u/queue/cancel/{id}", d.cancel)
	mux.HandleFunc("POST /api/users/tokens/create", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusCreated)
		fmt.Fprint(w, "mr_secret")
	})
	mux.HandleFunc("GET /api/users/tokens/list", func(w http.ResponseWriter, _ *http.Request) {
		used := Noon.Add(time.Hour)
		reply(w, []client.Token{{Prefix: "mr_abc", Label: "ci", Username: "ann", CreatedAt: Noon, LastUsed: &used},
			{Prefix: "mr_def", Username: "ann", Workspace: "main", CreatedAt: Noon}})
	})
	mux.HandleFunc("DELETE /api/users/tokens/delete/{prefix}", func(w http.ResponseWriter, r *http.Request) {
		d.Lock()
		defer d.Unlock()
		d.Deleted = append(d.Deleted, r.PathValue("prefix"))
	})
	mux.HandleFunc("GET /api/millrace/version", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, client.Product{Name: "millrace", Version: "v1.2.3"})
	})
	return mux
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // a client that is gone shows in the test
}

// id makes the ids of jobs: 1, 2, 3 ...
func (d *Daemon) id() uuid.UUID {
	return uuid.MustParse(fmt.Sprintf("00000000-0000-7000-8000-%012d", len(d.order)+1))
}

func (d *Daemon) find(w http.ResponseWriter, r *http.Request) *client.Job {
	id, err := uuid.Parse(r.PathValue("id"))
	if j := d.jobs[id]; err == nil && j != nil {
		return j
	}
	http.Error(w, "Not found: job "+r.PathValue("id"), http.StatusNotFound)
	return nil
}

// end lets a job end; the caller holds the lock.
func (d *Daemon) end(id uuid.UUID) {
	select {
	case <-d.ended[id]:
	default:
		close(d.ended[id])
	}
}

func hashOf(path string) string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(path)) // never fails
	return fmt.Sprintf("%016x", h.Sum64())
}

func trimmed(r *http.Request) string { return strings.TrimPrefix(r.PathValue("path"), "/") }
