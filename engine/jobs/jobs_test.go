package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/bus"
	"github.com/millrace/millrace/engine/live"
	"github.com/millrace/millrace/runtimes"
	"github.com/millrace/millrace/runtimes/mock"
)

// memory is a queue and a catalog in memory.
type memory struct {
	mu     sync.Mutex
	pushed []*engine.Job
	views  map[uuid.UUID]*engine.JobView
	logs   map[uuid.UUID]string
	looks  chan uuid.UUID // every Get
}

func (m *memory) Push(_ context.Context, j *engine.Job) (engine.PushResult, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if j.ID == uuid.Nil {
		j.ID = engine.NewJobID()
	}
	m.pushed = append(m.pushed, j)
	m.views[j.ID] = &engine.JobView{Job: *j, State: engine.StateQueued}
	return engine.PushResult{ID: j.ID}, nil
}

func (m *memory) Cancel(_ context.Context, _ string, id uuid.UUID, by, reason string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	v := *m.views[id]
	v.State, v.CanceledBy, v.Reason, v.FinishedAt = engine.StateCanceled, by, reason, &now
	m.views[id] = &v
	return nil
}

func (m *memory) Get(_ context.Context, ws string, id uuid.UUID) (*engine.JobView, error) {
	m.mu.Lock()
	v := m.views[id]
	m.mu.Unlock()
	select {
	case m.looks <- id:
	default:
	}
	if v == nil || v.Workspace != ws {
		return nil, &engine.Error{Code: engine.NotFound, Op: "job.get", Path: id.String(), Msg: "no such job"}
	}
	c := *v
	return &c, nil
}

func (m *memory) Logs(_ context.Context, id uuid.UUID, offset int64) (string, int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	text := m.logs[id]
	return text[min(int(offset), len(text)):], int64(len(text)), nil
}

func (m *memory) Stream(context.Context, uuid.UUID, int64) (string, int64, error) { return "", 0, nil }
func (m *memory) List(context.Context, string, engine.JobFilter) ([]*engine.JobView, error) {
	return nil, nil
}
func (m *memory) Counts(context.Context, string) (int64, int64, error) { return 0, 0, nil }
func (m *memory) Why(context.Context, string, uuid.UUID) (*engine.Why, error) {
	return &engine.Why{}, nil
}
func (m *memory) Workers(context.Context) ([]engine.WorkerView, error) { return nil, nil }

func (m *memory) Latest(_ context.Context, _, path string) (*engine.Script, error) {
	if path != "f/a/b" {
		return nil, &engine.Error{Code: engine.NotFound, Op: "script.get", Path: path, Msg: "no such script"}
	}
	return &engine.Script{Path: path, Hash: 7, Language: "mock", Timeout: time.Minute}, nil
}

func (m *memory) ByHash(ctx context.Context, ws string, h engine.Hash) (*engine.Script, error) {
	if h != 7 {
		return m.Latest(ctx, ws, "")
	}
	return m.Latest(ctx, ws, "f/a/b")
}

// Can lets ann in and nobody else.
func (m *memory) Can(p engine.Principal, verb, ws, path string) error {
	if p.Username == "ann" && ws == "main" {
		return nil
	}
	return &engine.Error{Code: engine.Forbidden, Op: verb, Path: path, Msg: "no"}
}

var (
	ann = engine.Principal{Username: "ann", Email: "ann@x.org"}
	eve = engine.Principal{Username: "eve"}
)

func setup(t *testing.T) (*Jobs, *memory) {
	t.Helper()
	m := &memory{views: map[uuid.UUID]*engine.JobView{}, logs: map[uuid.UUID]string{}, looks: make(chan uuid.UUID, 100)}
	r := runtimes.NewRegistry()
	r.Register(mock.New())
	return New(Config{Queue: m, Scripts: m, Gate: m, Registry: r, Bus: bus.New(), Live: live.New(), Network: "host"}), m
}

func TestRunFillsInTheJob(t *testing.T) {
	t.Parallel()
	s, m := setup(t)
	id := engine.NewJobID()
	got, err := s.Run(t.Context(), ann, engine.RunRequest{Workspace: "main", Path: "f/a/b", ID: &id, Priority: 3, Args: json.RawMessage(` {"n":1} `)})
	if err != nil || got != id {
		t.Fatal(got, err)
	}
	j := m.pushed[0]
	if j.Kind != engine.KindScript || j.Hash != 7 || j.Language != "mock" || j.Tag != "mock" || j.Timeout != time.Minute || j.Priority != 3 ||
		string(j.Args) != `{"n":1}` || j.PermissionedAs != "u/ann" || j.CreatedBy != "ann" {
		t.Errorf("%+v", j)
	}
	if _, err := s.Run(t.Context(), ann, engine.RunRequest{Workspace: "main", Source: "return 1", Language: "mock"}); err != nil {
		t.Fatal(err)
	}
	if j := m.pushed[1]; j.Kind != engine.KindPreview || j.Network != "host" || string(j.Args) != "{}" {
		t.Errorf("%+v", j)
	}
	if _, err := s.Run(t.Context(), ann, engine.RunRequest{Workspace: "main", Hash: 7, Kind: engine.KindDependencies}); err != nil {
		t.Fatal(err)
	}
	if j := m.pushed[2]; j.Kind != engine.KindDependencies || j.Tag != "dependency" || j.Path != "f/a/b" {
		t.Errorf("%+v", j)
	}
}

func TestRunRefuses(t *testing.T) {
	t.Parallel()
	s, m := setup(t)
	for name, c := range map[string]struct {
		who  engine.Principal
		r    engine.RunRequest
		code engine.Code
		text string
	}{
		"stranger":         {eve, engine.RunRequest{Workspace: "main", Path: "f/a/b"}, engine.Forbidden, ""},
		"stranger by hash": {eve, engine.RunRequest{Workspace: "main", Hash: 7}, engine.Forbidden, ""},
		"other workspace":  {ann, engine.RunRequest{Workspace: "other", Path: "f/a/b"}, engine.Forbidden, ""},
		"unknown script":   {ann, engine.RunRequest{Workspace: "main", Path: "f/a/c"}, engine.NotFound, ""},
		"nothing":          {ann, engine.RunRequest{Workspace: "main"}, engine.Invalid, "nothing to run"},
		"unknown language": {ann, engine.RunRequest{Workspace: "main", Source: "x", Language: "cobol"}, engine.Invalid, "it has mock"},
		"list as args":     {ann, engine.RunRequest{Workspace: "main", Path: "f/a/b", Args: json.RawMessage(`[1]`)}, engine.Invalid, "JSON object"},
		"broken args":      {ann, engine.RunRequest{Workspace: "main", Path: "f/a/b", Args: json.RawMessage(`{"a":`)}, engine.Invalid, "JSON object"},
		"wrong network":    {ann, engine.RunRequest{Workspace: "main", Path: "f/a/b", Network: "moon"}, engine.Invalid, "egress or host"},
	} {
		_, err := s.Run(t.Context(), c.who, c.r)
		if engine.CodeOf(err) != c.code || err == nil || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(m.pushed) != 0 {
		t.Errorf("%d jobs were pushed", len(m.pushed))
	}
}

func TestWaitIsWokenByTheBusAndFindsJobsThatRanElsewhere(t *testing.T) {
	t.Parallel()
	s, m := setup(t)
	run := func() uuid.UUID {
		id, err := s.Run(t.Context(), ann, engine.RunRequest{Workspace: "main", Path: "f/a/b"})
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	wait := func(id uuid.UUID) <-chan *engine.JobView {
		out := make(chan *engine.JobView, 1)
		go func() {
			v, err := s.Wait(t.Context(), ann, "main", id)
			if err != nil {
				t.Error(err)
			}
			out <- v
		}()
		return out
	}
	here := run()
	got := wait(here)
	s.cfg.Bus.PublishDone(&engine.JobView{Job: engine.Job{ID: here, Workspace: "main"}, State: engine.StateSuccess, Result: json.RawMessage("1")})
	if v := <-got; string(v.Result) != "1" {
		t.Errorf("here: %+v", v)
	}
	there := run()
	got = wait(there)
	<-m.looks // it polls, because no signal comes
	if err := m.Cancel(t.Context(), "main", there, "bob", ""); err != nil {
		t.Fatal(err)
	}
	if v := <-got; v.State != engine.StateCanceled {
		t.Errorf("there: %+v", v)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Wait(ctx, ann, "main", run()); !errors.Is(err, context.Canceled) {
		t.Errorf("a wait that ends: %v", err)
	}
	if _, err := s.Wait(t.Context(), eve, "main", here); engine.CodeOf(err) != engine.Forbidden {
		t.Errorf("a stranger waits: %v", err)
	}
}

func TestLogsJoinWhatIsStoredAndWhatIsNot(t *testing.T) {
	t.Parallel()
	s, m := setup(t)
	id, err := s.Run(t.Context(), ann, engine.RunRequest{Workspace: "main", Path: "f/a/b"})
	if err != nil {
		t.Fatal(err)
	}
	j := s.cfg.Live.Open(id)
	j.Log.Append([]byte("one two three"))
	m.logs[id] = "one two "
	j.Log.Stored(8)
	for offset, want := range map[int64]string{0: "one two three", 4: "two three", 8: "three", 13: ""} {
		text, next, err := s.Logs(t.Context(), ann, "main", id, offset)
		if err != nil || text != want || next != 13 {
			t.Errorf("from %d: %q, next %d, %v", offset, text, next, err)
		}
	}
	m.logs[id] = "one two three"
	s.cfg.Live.Close(id)
	if u, err := s.Update(t.Context(), ann, "main", id, 4, 0); err != nil || u.Logs != "two three" || u.LogOffset != 13 {
		t.Errorf("after its end: %+v, %v", u, err)
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	s, _ := setup(t)
	id, err := s.Run(t.Context(), ann, engine.RunRequest{Workspace: "main", Path: "f/a/b"})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Cancel(t.Context(), eve, "main", id, ""); engine.CodeOf(err) != engine.Forbidden {
		t.Errorf("a stranger cancels: %v", err)
	}
	if err := s.Cancel(t.Context(), ann, "main", id, "enough"); err != nil {
		t.Fatal(err)
	}
	if v, err := s.Get(t.Context(), ann, "main", id, false); err != nil || v.CanceledBy != "ann" || v.Reason != "enough" {
		t.Errorf("%+v, %v", v, err)
	}
	if err := s.Cancel(t.Context(), ann, "main", id, ""); engine.CodeOf(err) != engine.Conflict {
		t.Errorf("a second cancel: %v", err)
	}
}
