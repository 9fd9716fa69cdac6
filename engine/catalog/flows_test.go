package catalog_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/catalog"
	"github.com/millrace/millrace/engine/flow/format"
	"github.com/millrace/millrace/engine/store/storetest"
)

func aFlow(path, content string) *engine.Flow {
	value := `{"modules": [{"value": {"type": "rawscript", "language": "mock", "content": "` + content + `", "input_transforms": {}, "x-own": 1e2}}]}`
	return &engine.Flow{Path: path, Value: json.RawMessage(value)}
}

func deploy(t *testing.T, c *catalog.Flows, f *engine.Flow, o engine.FlowOptions) int64 {
	t.Helper()
	v, created, err := c.Create(t.Context(), ann, "main", f, o)
	if err != nil || !created || v == 0 {
		t.Fatalf("create %s: %d, %v, %v", f.Path, v, created, err)
	}
	return v
}

func over(path string) engine.FlowOptions { return engine.FlowOptions{Replace: path} }

func TestFlowVersions(t *testing.T) {
	t.Parallel()
	url := storetest.URL(t)
	c, other, ctx := open(t, url).Flows(), open(t, url).Flows(), t.Context()
	first := aFlow("f/demo/report", "return 1")
	first.Summary, first.Doc, first.Tag, first.Timeout, first.Message = "Report", "daily", "big", 90*time.Second, "first"
	first.Schema = json.RawMessage(`{"type": "object",  "properties": {}}`)
	first.Extra = map[string]json.RawMessage{"priority": json.RawMessage(`7`), "labels": json.RawMessage(`["a"]`)}
	v1 := deploy(t, c, first, engine.FlowOptions{})
	got, err := other.Latest(ctx, "main", "f/demo/report")
	if err != nil || got.Version != v1 || string(got.Value) != string(first.Value) || string(got.Schema) != string(first.Schema) || got.Timeout != 90*time.Second ||
		got.CreatedBy != "ann" || got.Summary != "Report" || got.Doc != "daily" || got.Tag != "big" || string(got.Extra["labels"]) != `["a"]` || got.Locks != nil {
		t.Fatalf("%+v, %v", got, err)
	}
	_, _, err = c.Create(ctx, ann, "main", first, engine.FlowOptions{})
	want(t, err, engine.Conflict, "deployed there already", "update")
	_, _, err = c.Create(ctx, ann, "main", aFlow("f/demo/none", "x"), over("f/demo/none"))
	want(t, err, engine.NotFound, "no such flow")

	again := *first
	again.Message = "another message changes nothing"
	if v, created, err := c.Create(ctx, ann, "main", &again, engine.FlowOptions{Replace: first.Path, SkipIfNoop: true}); v != v1 || created || err != nil {
		t.Errorf("the same again: %d, %v, %v", v, created, err)
	}
	v2 := deploy(t, c, aFlow("f/demo/report", "return 2"), over("f/demo/report"))
	if v2 <= v1 {
		t.Errorf("version %d follows %d", v2, v1)
	}
	eventually(t, "the other daemon hears of it", func() bool {
		f, err := other.Latest(ctx, "main", "f/demo/report")
		return err == nil && f.Version == v2
	})
	for _, c := range []*catalog.Flows{c, other} {
		if f, err := c.ByVersion(ctx, "main", v1); err != nil || string(f.Value) != string(first.Value) {
			t.Errorf("the first version: %+v, %v", f, err)
		}
		_, err = c.ByVersion(ctx, "admins", v1)
		want(t, err, engine.NotFound, "no such flow version")
	}
	list, err := c.History(ctx, "main", "f/demo/report")
	if err != nil || len(list) != 2 || list[0].Version != v2 || list[1].Message != "first" {
		t.Errorf("history %+v, %v", list, err)
	}
	_, err = c.Latest(ctx, "main", "f/demo/reprot")
	want(t, err, engine.NotFound, "did you mean f/demo/report?")
	_, _, err = c.Create(ctx, ann, "nowhere", first, engine.FlowOptions{})
	want(t, err, engine.NotFound, "no workspace nowhere")
}

func TestFlowMoves(t *testing.T) {
	t.Parallel()
	c, ctx := open(t, storetest.URL(t)).Flows(), t.Context()
	v1 := deploy(t, c, aFlow("f/demo/old", "return 1"), engine.FlowOptions{})
	deploy(t, c, aFlow("f/demo/taken", "return 1"), engine.FlowOptions{})
	_, _, err := c.Create(ctx, ann, "main", aFlow("f/demo/taken", "return 2"), over("f/demo/old"))
	want(t, err, engine.Conflict, "deployed there already", "another path")
	v2 := deploy(t, c, aFlow("f/demo/new", "return 2"), over("f/demo/old"))
	list, err := c.History(ctx, "main", "f/demo/new")
	if err != nil || len(list) != 2 || list[0].Version != v2 || list[1].Version != v1 {
		t.Errorf("history %+v, %v", list, err)
	}
	_, err = c.Latest(ctx, "main", "f/demo/old")
	want(t, err, engine.NotFound, "no such flow")
	if f, err := c.Latest(ctx, "main", "f/demo/new"); err != nil || f.Version != v2 {
		t.Errorf("at its new path: %+v, %v", f, err)
	}
}

func TestFlowArchiveAndDelete(t *testing.T) {
	t.Parallel()
	c, ctx := open(t, storetest.URL(t)).Flows(), t.Context()
	const path = "f/demo/report"
	deploy(t, c, aFlow(path, "return 1"), engine.FlowOptions{})
	v2 := deploy(t, c, aFlow(path, "return 2"), over(path))
	deploy(t, c, aFlow("f/demo/other", "return 1"), engine.FlowOptions{})
	names := func(f engine.FlowFilter) string {
		t.Helper()
		list, err := c.List(ctx, "main", f)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, f := range list {
			out = append(out, f.Path)
		}
		return strings.Join(out, " ")
	}
	if got := names(engine.FlowFilter{PathStart: "f/demo/"}); got != "f/demo/other f/demo/report" {
		t.Errorf("list: %s", got)
	}
	if err := c.Archive(ctx, "main", path, true); err != nil {
		t.Fatal(err)
	}
	if err := c.Archive(ctx, "main", path, true); err != nil { // it is so
		t.Error(err)
	}
	_, err := c.Latest(ctx, "main", path)
	want(t, err, engine.NotFound)
	if f, err := c.ByVersion(ctx, "main", v2); err != nil || !f.Archived {
		t.Errorf("an archived version: %+v, %v", f, err)
	}
	if in, out := names(engine.FlowFilter{}), names(engine.FlowFilter{ShowArchived: true}); in != "f/demo/other" || out != path {
		t.Errorf("lists: %s; %s", in, out)
	}
	if err := c.Archive(ctx, "main", path, false); err != nil {
		t.Fatal(err)
	}
	if f, err := c.Latest(ctx, "main", path); err != nil || f.Version != v2 || f.Archived {
		t.Errorf("back again: %+v, %v", f, err)
	}
	if err := c.Archive(ctx, "main", path, true); err != nil {
		t.Fatal(err)
	}
	v3 := deploy(t, c, aFlow(path, "return 3"), engine.FlowOptions{}) // comes back
	if got := names(engine.FlowFilter{ShowArchived: true}); got != "" {
		t.Errorf("archived: %s", got)
	}
	want(t, c.Archive(ctx, "main", "f/demo/none", true), engine.NotFound)
	for _, wanted := range []bool{true, false} {
		if done, err := c.Delete(ctx, "main", path); done != wanted || err != nil {
			t.Errorf("delete: %v, %v", done, err)
		}
	}
	_, err = c.ByVersion(ctx, "main", v3)
	want(t, err, engine.NotFound)
	_, err = c.History(ctx, "main", path)
	want(t, err, engine.NotFound)
	if v := deploy(t, c, aFlow(path, "return 4"), engine.FlowOptions{}); v <= v3 {
		t.Errorf("version %d was there before", v)
	}
}

// A version runs with ids and with the locks that its deployment found; what was sent stays as it was.
func TestFlowLocks(t *testing.T) {
	t.Parallel()
	c, ctx := open(t, storetest.URL(t)).Flows(), t.Context()
	f := aFlow("f/demo/report", "require pandas")
	v := deploy(t, c, f, engine.FlowOptions{})
	lock := func() string {
		t.Helper()
		as, number, err := c.Flow(ctx, "main", "f/demo/report", 0)
		if err != nil || int64(number) != v {
			t.Fatalf("%d, %v", number, err)
		}
		m := as.Value.Find("a")
		if m == nil {
			t.Fatalf("no module a in %s", as.JSON())
		}
		return m.Value.(*format.RawScript).Lock
	}
	if got := lock(); got != "" {
		t.Errorf("before: %q", got)
	}
	if err := c.SetLocks(ctx, "main", v, map[string]string{"a": "pandas==1"}, ""); err != nil {
		t.Fatal(err)
	}
	if got := lock(); got != "pandas==1" {
		t.Errorf("after: %q", got)
	}
	if got, err := c.Latest(ctx, "main", f.Path); err != nil || string(got.Value) != string(f.Value) {
		t.Errorf("what was sent: %s, %v", got.Value, err)
	}
	if err := c.SetLocks(ctx, "main", v, nil, "step a: no\x00 such package"); err != nil {
		t.Fatal(err)
	}
	if got, err := c.Latest(ctx, "main", f.Path); err != nil || got.LockError != "step a: no such package" {
		t.Errorf("%+v, %v", got, err)
	}
	want(t, c.SetLocks(ctx, "main", 777, nil, ""), engine.NotFound)
}

func TestFlowsRefused(t *testing.T) {
	t.Parallel()
	c, ctx := open(t, storetest.URL(t)).Flows(), t.Context()
	for what, change := range map[string]func(*engine.Flow){
		"valid path":     func(f *engine.Flow) { f.Path = "report" },
		"only dots":      func(f *engine.Flow) { f.Path = "f/demo/.." },
		"not JSON":       func(f *engine.Flow) { f.Value = json.RawMessage(`{"modules": [}`) },
		"a JSON object":  func(f *engine.Flow) { f.Value = json.RawMessage(`[]`) },
		"schema":         func(f *engine.Flow) { f.Schema = json.RawMessage(`7`) },
		"NUL":            func(f *engine.Flow) { f.Summary = "\x00" },
		"UTF-8":          func(f *engine.Flow) { f.Doc = "\xff" },
		"summary has":    func(f *engine.Flow) { f.Summary = strings.Repeat("x", 1<<20) },
		"negative":       func(f *engine.Flow) { f.Timeout = -1 },
		`field "labels"`: func(f *engine.Flow) { f.Extra = map[string]json.RawMessage{"labels": json.RawMessage(`nope`)} },
		"value has":      func(f *engine.Flow) { f.Value = json.RawMessage(`{"x":"` + strings.Repeat("x", 16<<20) + `"}`) },
	} {
		f := aFlow("f/demo/report", "return 1")
		change(f)
		_, _, err := c.Create(ctx, ann, "main", f, engine.FlowOptions{})
		if code := engine.CodeOf(err); code != engine.Invalid && code != engine.TooLarge || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, path := range []string{"\xff", "f/\x00/x"} {
		_, err := c.Latest(ctx, "main", path)
		want(t, err, engine.NotFound)
		_, err = c.History(ctx, "main", path)
		want(t, err, engine.NotFound)
		want(t, c.Archive(ctx, "main", path, true), engine.NotFound)
		if done, err := c.Delete(ctx, "main", path); done || err != nil {
			t.Errorf("delete: %v, %v", done, err)
		}
	}
}
