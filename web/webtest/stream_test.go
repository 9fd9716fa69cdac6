package webtest

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/web/wire"
)

// events reads one event stream.
type events struct {
	t    *testing.T
	resp *http.Response
	r    *bufio.Reader
	id   string // of the last event
}

func follow(t *testing.T, d *Daemon, id uuid.UUID, query string, header ...string) *events {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, "GET", d.URL+w+"jobs_u/getupdate_sse/"+id.String()+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer user-secret")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := d.HTTP.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("status %d, type %s", resp.StatusCode, resp.Header.Get("Content-Type"))
	}
	return &events{t: t, resp: resp, r: bufio.NewReader(resp.Body)}
}

func (e *events) next() wire.Update {
	e.t.Helper()
	for {
		line, err := e.r.ReadString('\n')
		if err != nil {
			e.t.Fatalf("stream: %v", err)
		}
		if id, ok := strings.CutPrefix(line, "id: "); ok {
			e.id = strings.TrimSpace(id)
		}
		if data, ok := strings.CutPrefix(line, "data: "); ok {
			var u wire.Update
			if err := json.Unmarshal([]byte(data), &u); err != nil {
				e.t.Fatalf("%s: %v", data, err)
			}
			return u
		}
	}
}

func (e *events) end() {
	e.t.Helper()
	for {
		line, err := e.r.ReadString('\n')
		if err != nil {
			if err.Error() != "EOF" {
				e.t.Errorf("stream ended with %v", err)
			}
			return
		}
		if strings.HasPrefix(line, "data: ") {
			e.t.Fatalf("more events: %s", line)
		}
	}
}

func running(t *testing.T) (*Engine, *Daemon, uuid.UUID) {
	e := NewEngine()
	e.Work = func(engine.RunRequest) *engine.Outcome { return nil }
	d := Start(t, e, nil)
	return e, d, start(t, e, d)
}

func TestEvents(t *testing.T) {
	t.Parallel()
	e, d, id := running(t)
	s := follow(t, d, id, "")
	if u := s.next(); u.Type != "update" || !u.Running || u.Completed {
		t.Errorf("first event %+v", u)
	}
	e.Print(id, "one ü\n", "")
	if u := s.next(); u.NewLogs != "one ü\n" || u.LogOffset != 7 {
		t.Errorf("log event %+v", u)
	}
	e.Print(id, "", "chunk")
	if u := s.next(); u.NewResultStream != "chunk" || u.StreamOffset != 5 || u.NewLogs != "" {
		t.Errorf("stream event %+v", u)
	}
	e.Print(id, "two\n", "")
	e.Finish(id, engine.Outcome{State: engine.StateSuccess, Result: json.RawMessage("{\n\"a\": 1}")})
	var logs strings.Builder
	u := s.next()
	for logs.WriteString(u.NewLogs); !u.Completed; logs.WriteString(u.NewLogs) {
		u = s.next()
	}
	if logs.String() != "two\n" || u.Job == nil || string(*u.Job.Result) != `{"a":1}` || s.id != "11:5" {
		t.Errorf("last event %+v, logs %q, id %s", u, logs.String(), s.id)
	}
	s.end()
	if n := e.Watchers(id); n != 0 {
		t.Errorf("%d watchers left", n)
	}
}

func TestEventsOfACompletedJob(t *testing.T) {
	t.Parallel()
	e, d, id := running(t)
	e.Print(id, "abc", "xyz")
	e.Finish(id, engine.Outcome{State: engine.StateFailure, Result: json.RawMessage(`{"message":"m"}`)})
	s := follow(t, d, id, "?only_result=true&no_logs=true")
	if u := s.next(); !u.Completed || u.Job != nil || string(*u.OnlyResult) != `{"error":{"message":"m"}}` || u.NewLogs != "" || u.NewResultStream != "xyz" {
		t.Errorf("event %+v", u)
	}
	s.end()
	s = follow(t, d, id, "?log_offset=0", "Last-Event-ID", "1:3")
	if u := s.next(); u.NewLogs != "bc" || u.NewResultStream != "" {
		t.Errorf("taken up event %+v", u)
	}
}

func TestEventsOfNoJob(t *testing.T) {
	t.Parallel()
	_, d, _ := running(t)
	s := follow(t, d, uuid.New(), "")
	if u := s.next(); u.Type != "notfound" {
		t.Errorf("event %+v", u)
	}
	s.end()
	play(t, d, []scenario{
		{name: "unauthorized", path: w + "jobs_u/getupdate_sse/" + uuid.NewString(), token: "-", status: 401, kind: "text/plain"},
		{name: "bad offset", path: w + "jobs_u/getupdate_sse/" + uuid.NewString() + "?log_offset=x", status: 400, kind: "text/plain"},
	})
}

func TestPollWaitsForNews(t *testing.T) {
	t.Parallel()
	e, d, id := running(t)
	got := make(chan wire.Update)
	go func() {
		var u wire.Update
		getJSON(t, d, w+"jobs_u/getupdate/"+id.String()+"?running=true", &u)
		got <- u
	}()
	until(t, func() bool { return e.Watchers(id) == 1 })
	select {
	case u := <-got:
		t.Fatalf("answered without news: %+v", u)
	default:
	}
	e.Print(id, "news", "")
	if u := <-got; u.NewLogs != "news" || !u.Running {
		t.Errorf("update %+v", u)
	}
}

// until waits for a fact that another goroutine makes true.
func until(t *testing.T, fact func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !fact() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("waited in vain")
		}
	}
}
