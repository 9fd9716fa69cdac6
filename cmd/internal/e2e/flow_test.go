package e2e

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/millrace/millrace/web/client"
)

// aFlow has steps in four languages, a loop, a branch, a step that fails once, and a failure that is gone on from.
const aFlow = `{
  "modules": [
    {"id": "a", "value": {"type": "rawscript", "language": "python3", "content": "def main(n: int):\n    return [i * i for i in range(n)]",
      "input_transforms": {"n": {"type": "javascript", "expr": "flow_input.n"}}}},
    {"id": "b", "value": {"type": "forloopflow", "parallel": true, "iterator": {"type": "javascript", "expr": "results.a"}, "modules": [
      {"id": "c", "value": {"type": "rawscript", "language": "bun", "content": "export async function main(x: number, i: number) { return { x, i } }",
        "input_transforms": {"x": {"type": "javascript", "expr": "flow_input.iter.value + 1"}, "i": {"type": "javascript", "expr": "flow_input.iter.index"}}}}]}},
    {"id": "d", "continue_on_error": true, "value": {"type": "rawscript", "language": "bash", "content": "echo no; exit 3", "input_transforms": {}}},
    {"id": "e", "value": {"type": "branchone", "default": [], "branches": [{"expr": "result.error != null", "modules": [
      {"id": "f", "value": {"type": "rawscript", "language": "go", "content": "package inner\n\nfunc main(list []any, ok bool) (any, error) {\n\treturn map[string]any{\"n\": len(list), \"ok\": ok}, nil\n}",
        "input_transforms": {"list": {"type": "javascript", "expr": "results.b"}, "ok": {"type": "javascript", "expr": "results.b.every(r => r.x === r.i * r.i + 1)"}}}}]}]}}
  ]
}`

// flows runs a flow through the whole product, and asks what a wrong one and a canceled one say.
func flows(t *testing.T, d *daemon) {
	ctx := t.Context()
	got, err := d.RunWait(ctx, client.Run{Flow: &client.FlowPreview{Value: json.RawMessage(aFlow)}, Args: json.RawMessage(`{"n": 5}`)})
	if err != nil || string(got) != `{"n":5,"ok":true}` {
		t.Fatalf("%s, %v", got, err)
	}
	wrong := `{"modules": [{"id": "a", "value": {"type": "rawscript", "language": "bash", "content": "", "input_transforms": {"x": {"type": "javascript", "expr": "results.nobody +"}}}}]}`
	if _, err := d.Run(ctx, client.Run{Flow: &client.FlowPreview{Value: json.RawMessage(wrong)}}); err == nil || !strings.Contains(err.Error(), "module a") {
		t.Errorf("a flow that is wrong: %v", err)
	}
	sleepy := `{"modules": [{"id": "a", "value": {"type": "identity"}, "sleep": {"type": "static", "value": 3600}}]}`
	id, err := d.Run(ctx, client.Run{Flow: &client.FlowPreview{Value: json.RawMessage(sleepy)}})
	if err != nil {
		t.Fatal(err)
	}
	for { // it is begun in its own time
		j, err := d.Job(ctx, id, false)
		if err != nil {
			t.Fatal(err)
		}
		if j.Status == "running" && j.Worker == "" {
			break
		}
	}
	if err := d.Cancel(ctx, id, "enough"); err != nil {
		t.Fatal(err)
	}
	if j := d.wait(ctx, id); j.Status != "canceled" || !strings.Contains(result(j), "enough") {
		t.Errorf("a flow that was canceled: %s %s", j.Status, result(j))
	}
}
