package deploy_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/deploy"
	"github.com/millrace/millrace/engine/flow/check"
	"github.com/millrace/millrace/engine/flow/format"
	"github.com/millrace/millrace/runtimes"
	"github.com/millrace/millrace/runtimes/mock"
)

// world is everything around Flows: it lets only ann write below f/ann, and remembers what it was asked.
type world struct {
	deploy.FlowCatalog
	stored []*engine.Flow
	jobs   []engine.RunRequest
}

func (w *world) Can(p engine.Principal, verb, _, path string) error {
	if verb == "write" && (p.Username != "ann" || !strings.HasPrefix(path, "f/ann/")) {
		return engine.Errorf(engine.Forbidden, verb, "you may not")
	}
	return nil
}

func (w *world) Create(_ context.Context, _ engine.Principal, _ string, f *engine.Flow, o engine.FlowOptions) (int64, bool, error) {
	w.stored = append(w.stored, f)
	return int64(len(w.stored)), !o.SkipIfNoop, nil
}

func (w *world) ByVersion(context.Context, string, int64) (*engine.Flow, error) {
	return &engine.Flow{Path: "f/bob/x"}, nil
}

func (w *world) Run(_ context.Context, _ engine.Principal, r engine.RunRequest) (uuid.UUID, error) {
	w.jobs = append(w.jobs, r)
	return engine.NewJobID(), nil
}

func (w *world) CheckFlow(ctx context.Context, _, path string, f *format.Flow) ([]check.Finding, error) {
	return check.Flow(ctx, f, check.Lookup{Path: path})
}

func TestFlowsAreJudgedBeforeTheyAreStored(t *testing.T) {
	t.Parallel()
	registry := runtimes.NewRegistry()
	registry.Register(mock.New())
	ann, bob := engine.Principal{Username: "ann"}, engine.Principal{Username: "bob"}
	const script = `{"id": "a", "value": {"type": "rawscript", "language": "mock", "content": "return 1", "input_transforms": {}}}`
	for name, c := range map[string]struct {
		who     engine.Principal
		path    string
		modules string
		change  func(*engine.Flow)
		options engine.FlowOptions
		want    string // of the error; "": none
		warned  int
		jobs    int
	}{
		"what needs to be made ready": {who: ann, path: "f/ann/x", modules: script, jobs: 1},
		"the same again":              {who: ann, path: "f/ann/x", modules: script, options: engine.FlowOptions{Replace: "f/ann/x", SkipIfNoop: true}},
		"without scripts":             {who: ann, path: "f/ann/x", modules: `{"id": "a", "value": {"type": "identity"}}`},
		"with a warning":              {who: ann, path: "f/ann/x", modules: `{"id": "a", "value": {"type": "identity"}, "stop_after_if": {"expr": "true", "error_include_result": true}}`, warned: 1},
		"an error":                    {who: ann, path: "f/ann/x", modules: "\n" + `{"id": "a", "value": {"type": "identity"}, "skip_if": {"expr": "results.b"}}`, want: `2:64 module a skip_if.expr: there is no step "b"`},
		"no modules":                  {who: ann, path: "f/ann/x", modules: `7`, want: "module"},
		"an agent":                    {who: ann, path: "f/ann/x", modules: `{"id": "a", "value": {"type": "aiagent", "tools": []}}`, want: "AI agents do not run in flows yet"},
		"a decision":                  {who: ann, path: "f/ann/x", modules: `{"id": "a", "value": {"type": "aidecision"}}`, want: "module a value.type"},
		"no JSON":                     {who: ann, path: "f/ann/x", change: func(f *engine.Flow) { f.Value = json.RawMessage("[") }, want: "1:1: not valid JSON"},
		"a priority":                  {who: ann, path: "f/ann/x", modules: script, change: func(f *engine.Flow) { f.Extra = map[string]json.RawMessage{"priority": json.RawMessage("101")} }, want: "priority must be"},
		"a stranger":                  {who: bob, path: "f/ann/x", modules: script, want: "you may not"},
		"to where one may not":        {who: ann, path: "f/bob/x", modules: script, options: engine.FlowOptions{Replace: "f/ann/x"}, want: "you may not"},
		"from where one may not":      {who: ann, path: "f/ann/x", modules: script, options: engine.FlowOptions{Replace: "f/bob/x"}, want: "you may not"},
	} {
		w := &world{}
		d := deploy.NewFlows(w, w, w, w, registry)
		f := &engine.Flow{Path: c.path, Value: json.RawMessage(`{"modules": [` + c.modules + `]}`)}
		if c.change != nil {
			c.change(f)
		}
		version, _, found, err := d.Create(t.Context(), c.who, "main", f, c.options)
		if c.want != "" {
			if err == nil || !strings.Contains(err.Error(), c.want) || len(w.stored) != 0 {
				t.Errorf("%s: %v, want %s; stored %d", name, err, c.want, len(w.stored))
			}
			continue
		}
		if err != nil || version != 1 || len(found) != c.warned || len(w.jobs) != c.jobs {
			t.Errorf("%s: %d, %v, %v, %d jobs", name, version, found, err, len(w.jobs))
			continue
		}
		if c.jobs > 0 && (w.jobs[0].Kind != engine.KindFlowDependencies || w.jobs[0].Hash != 1 || w.jobs[0].Path != c.path) {
			t.Errorf("%s: job %+v", name, w.jobs[0])
		}
		if ready := w.stored[0].Locks != nil; ready != (c.jobs == 0 && c.modules != script) {
			t.Errorf("%s: locks %v", name, w.stored[0].Locks)
		}
	}
}
