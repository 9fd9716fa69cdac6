package jobs

import (
	"context"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
)

func extra(t *testing.T, text string) map[string]json.RawMessage {
	t.Helper()
	var m map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestCheckLimits(t *testing.T) {
	t.Parallel()
	for _, bad := range []struct{ fields, want string }{
		{`{"concurrent_limit": -1}`, "concurrent_limit must be a whole number from 0 to 1000000, not -1"},
		{`{"concurrent_limit": 1.5}`, "not 1.5"},
		{`{"concurrent_limit": "3"}`, `not "3"`},
		{`{"concurrent_limit": 1, "concurrency_time_window_s": 1e9}`, "concurrency_time_window_s"},
		{`{"concurrency_key": 7}`, "concurrency_key must be a text, not 7"},
		{`{"concurrency_key": "\u0000"}`, "concurrency_key must be a text"},
		{`{"on_concurrency_limit": "drop"}`, `on_concurrency_limit must be queue or fail, not "drop"`},
		{`{"debounce_delay_s": -5}`, "debounce_delay_s"},
		{`{"debounce_args_to_accumulate": "x"}`, "a list of argument names"},
		{`{"debounce_args_to_accumulate": [""]}`, "a list of argument names"},
		{`{"max_total_debouncing_time": true}`, "max_total_debouncing_time"},
		{`{"max_total_debounces_amount": -1}`, "max_total_debounces_amount"},
		{`{"priority": 101}`, "priority must be a whole number from 0 to 100, not 101"},
	} {
		err := CheckLimits(&engine.Script{Path: "f/a/b", Extra: extra(t, bad.fields)})
		if engine.CodeOf(err) != engine.Invalid || !strings.Contains(err.Error(), bad.want) || !strings.Contains(err.Error(), "f/a/b") {
			t.Errorf("%s: %v", bad.fields, err)
		}
	}
	for _, good := range []string{`{}`, `{"concurrent_limit": null, "on_concurrency_limit": ""}`, `{"concurrent_limit": 0, "concurrency_key": "k"}`,
		`{"labels": ["a"], "debounce_key": "k", "debounce_args_to_accumulate": null}`} {
		l, err := parseLimits(&engine.Script{Extra: extra(t, good)})
		if l != nil || err != nil {
			t.Errorf("%s: %+v, %v", good, l, err)
		}
	}
}

func TestLimitsOfRuns(t *testing.T) {
	t.Parallel()
	const args = `{"user": "ann", "n": 3, "o": {"x": [1, 2], "y.z": null}, "a.b": true, "items": [1]}`
	script := `"concurrent_limit": 2, "debounce_delay_s": 5, "debounce_args_to_accumulate": ["items"]`
	for _, c := range []struct {
		fields   string
		limit    engine.Limit
		debounce string
	}{
		{script, engine.Limit{Key: "main/script/f/a/b", Slots: 2}, "main/script/f/a/b:a9d4f9feb3d3e2bfb7a79ff2"},
		{script + `, "concurrency_time_window_s": 60, "on_concurrency_limit": "fail", "concurrency_key": "$workspace:$args[user]/$args[n]",
			"debounce_key": "$args[o]-$args[o.x]-$args[o.y.z]"`,
			engine.Limit{Key: "main:ann/3", Slots: 2, Window: time.Minute, Fail: true}, `{"x":[1,2],"y.z":null}-[1,2]-null`},
		{script + `, "concurrency_key": "$args[a.b] $args[missing] $args[n.x] $args[user", "debounce_key": "fixed"`,
			engine.Limit{Key: "true   $args[user", Slots: 2}, "fixed"},
	} {
		s, _ := setup(t)
		j := &engine.Job{Workspace: "main", Path: "f/a/b", Args: json.RawMessage(args)}
		if err := s.limit(&engine.Script{Hash: 1, Extra: extra(t, "{"+c.fields+"}")}, j); err != nil {
			t.Fatal(err)
		}
		if *j.Limit != c.limit {
			t.Errorf("%s: got %+v", c.fields, *j.Limit)
		}
		if c.debounce == "main/script/f/a/b:a9d4f9feb3d3e2bfb7a79ff2" { // what matters is which arguments it depends on
			c.debounce = "main/script/f/a/b:" + fingerprint(json.RawMessage(`{"a.b":true,"user":"ann","o":{"y.z":null,"x":[1,2]},"n":3,"items":[7,8]}`), []string{"items"})
		}
		want := engine.Debounce{Key: c.debounce, Delay: 5 * time.Second, Accumulate: []string{"items"}}
		if !reflect.DeepEqual(*j.Debounce, want) {
			t.Errorf("%s: got %+v\nwant %+v", c.fields, *j.Debounce, want)
		}
	}
	if fingerprint(json.RawMessage(`{"n":3}`), nil) == fingerprint(json.RawMessage(`{"n":4}`), nil) {
		t.Error("different arguments are merged")
	}
	long := shorten(strings.Repeat("ä", 1000))
	if len(long) > maxKey || long == shorten(strings.Repeat("ä", 1001)) {
		t.Errorf("a long key became %q", long)
	}
}

// limitedScripts has one script with limits.
type limitedScripts struct{ script *engine.Script }

func (l limitedScripts) Latest(context.Context, string, string) (*engine.Script, error) {
	return l.script, nil
}
func (l limitedScripts) ByHash(context.Context, string, engine.Hash) (*engine.Script, error) {
	return l.script, nil
}

func TestRunWithLimits(t *testing.T) {
	t.Parallel()
	s, m := setup(t)
	s.cfg.Scripts = limitedScripts{&engine.Script{Path: "f/a/b", Hash: 9, Language: "mock",
		Extra: extra(t, `{"concurrent_limit": 1, "concurrency_key": "$args[k]", "priority": 7}`)}}
	ask := func(r engine.RunRequest) *engine.Job {
		t.Helper()
		r.Workspace = "main"
		if _, err := s.Run(t.Context(), ann, r); err != nil {
			t.Fatal(err)
		}
		return m.pushed[len(m.pushed)-1]
	}
	if j := ask(engine.RunRequest{Path: "f/a/b", Args: json.RawMessage(`{"k":"x"}`), QueueLimit: 5}); j.Limit.Key != "x" || j.Priority != 7 || j.QueueLimit != 5 {
		t.Errorf("got %+v %+v", j, j.Limit)
	}
	if j := ask(engine.RunRequest{Path: "f/a/b", Args: json.RawMessage(`{"k":"y"}`), Priority: -2}); j.Limit.Key != "y" || j.Priority != -2 {
		t.Errorf("got %+v %+v", j, j.Limit)
	}
	for _, r := range []engine.RunRequest{{Kind: engine.KindDependencies, Hash: 9}, {Source: "1", Language: "mock"}, {Kind: engine.KindNoop}} {
		if j := ask(r); j.Limit != nil || j.Debounce != nil || j.Priority != 0 {
			t.Errorf("%s: %+v", j.Kind, j)
		}
	}
	tmpl, err := s.Template(t.Context(), ann, engine.RunRequest{Workspace: "main", Path: "f/a/b"})
	if err != nil {
		t.Fatal(err)
	}
	row := *tmpl
	row.Args = json.RawMessage(`{"k":"row"}`)
	if err := s.Relimit(t.Context(), &row); err != nil || row.Limit.Key != "row" || tmpl.Limit.Key != "main/script/f/a/b" {
		t.Errorf("%v: %+v, template %+v", err, row.Limit, tmpl.Limit)
	}
}

// ender completes every job at once, as a queue does whose limit is reached.
type ender struct {
	*memory
	replaced uuid.UUID
}

func (e ender) Push(ctx context.Context, j *engine.Job) (engine.PushResult, error) {
	res, err := e.memory.Push(ctx, j)
	now := time.Now()
	e.mu.Lock()
	for _, id := range []uuid.UUID{j.ID, e.replaced} {
		e.views[id] = &engine.JobView{Job: engine.Job{ID: id, Workspace: j.Workspace}, State: engine.StateFailure, FinishedAt: &now}
	}
	e.mu.Unlock()
	res.Ended, res.Replaced = true, &e.replaced
	return res, err
}

// TestEndedAtOnce wakes those who wait for jobs that a push completed.
func TestEndedAtOnce(t *testing.T) {
	t.Parallel()
	s, m := setup(t)
	e := ender{m, engine.NewJobID()}
	s.cfg.Queue = e
	changed, stop := s.cfg.Bus.Watch(e.replaced)
	defer stop()
	id, err := s.Run(t.Context(), ann, engine.RunRequest{Workspace: "main", Kind: engine.KindNoop})
	if err != nil {
		t.Fatal(err)
	}
	<-changed
	if _, ok := s.cfg.Bus.Done(id); !ok {
		t.Error("who waits for it has to look into the database")
	}
}
