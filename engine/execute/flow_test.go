package execute

import (
	"context"
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/flow/format"
)

// oneFlow has one version, 7.
type oneFlow struct {
	value   string
	locks   map[string]string
	errText string
}

func (o *oneFlow) Flow(_ context.Context, _, path string, version engine.Hash) (*format.Flow, engine.Hash, error) {
	if version != 7 {
		return nil, 0, &engine.Error{Code: engine.NotFound, Op: "flow.get", Path: path, Msg: "no such flow version"}
	}
	v, err := format.ParseValue([]byte(o.value))
	return &format.Flow{Value: *v}, 7, err
}

func (o *oneFlow) SetLocks(_ context.Context, _ string, _ int64, locks map[string]string, errText string) error {
	o.locks, o.errText = locks, errText
	return nil
}

func TestFlowDependencies(t *testing.T) {
	t.Parallel()
	step := func(id, content, more string) string {
		return `{"id":"` + id + `","value":{"type":"rawscript","language":"mock","content":"` + content + `","input_transforms":{}` + more + `}}`
	}
	for name, c := range map[string]struct {
		modules string
		version engine.Hash
		locks   map[string]string
		want    string // of the result
		errText string
	}{
		"what needs nothing": {step("a", "return 1", "") + `,{"id":"i","value":{"type":"identity"}}`, 7, map[string]string{}, `"status":"ok"`, ""},
		"within a loop": {step("a", "return 1", "") + `,{"id":"l","value":{"type":"forloopflow","iterator":{"type":"static","value":[]},"modules":[` + step("b", "require good; return 1", "") + `]}}`,
			7, map[string]string{"b": "good"}, `"status":"ok"`, ""},
		"a lock that was brought": {step("a", "require good; return 1", `,"lock":"good==1"`), 7, map[string]string{}, `"status":"ok"`, ""},
		"one that cannot be":      {step("a", "require missing; return 1", "") + "," + step("b", "require good; return 1", ""), 7, map[string]string{"b": "good"}, "DependencyError", "step a: "},
		"another language":        {`{"id":"a","value":{"type":"rawscript","language":"cobol","content":"x","input_transforms":{}}}`, 7, map[string]string{}, "cobol", "step a: "},
		"a version that is gone":  {"", 8, nil, "no such flow version", ""},
	} {
		x := setup(t)
		o := &oneFlow{value: `{"modules":[` + c.modules + `]}`}
		x.cfg.Flows = o
		claim := &engine.Claim{Attempt: 1, Started: time.Now(), Job: &engine.Job{ID: engine.NewJobID(), Workspace: "main", Kind: engine.KindFlowDependencies,
			Path: "f/demo/x", Hash: c.version, Args: json.RawMessage(`{}`)}}
		out, done := x.Execute(t.Context(), claim)
		if !done || !strings.Contains(string(out.Result), c.want) || (out.State == engine.StateSuccess) != strings.Contains(c.want, "ok") {
			t.Errorf("%s: %s %s, want %s", name, out.State, out.Result, c.want)
		}
		for id := range o.locks {
			o.locks[id] = strings.Fields(o.locks[id] + " .")[0]
		}
		if len(o.locks) != len(c.locks) || !maps.EqualFunc(o.locks, c.locks, strings.HasPrefix) || !strings.HasPrefix(o.errText, c.errText) || (o.errText == "") != (c.errText == "") {
			t.Errorf("%s: locks %v, %q, want %v, %q", name, o.locks, o.errText, c.locks, c.errText)
		}
	}
}
