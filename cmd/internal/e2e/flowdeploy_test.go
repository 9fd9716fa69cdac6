package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/web/client"
)

// reportFolder is a folder as wmill sync writes it: scripts in two languages, one in a file of its own and one with a package.
var reportFolder = map[string]string{
	"f/e2e/report__flow/flow.yaml": `summary: Report
description: ''
value:
  modules:
    - id: a
      summary: Squares
      value:
        type: rawscript
        language: python3
        content: '!inline squares.inline_script.py'
        lock: '!inline squares.inline_script.lock'
        input_transforms:
          n:
            type: javascript
            expr: flow_input.n
    - id: b
      value:
        type: rawscript
        language: bash
        content: '!inline count.sh'
        input_transforms:
          list:
            type: javascript
            expr: results.a.length
schema:
  $schema: https://json-schema.org/draft/2020-12/schema
  type: object
  order: [n]
  properties:
    n: {type: integer, description: '', default: 3}
  required: [n]
`,
	"f/e2e/report__flow/squares.inline_script.py":   "def main(n: int):\n    return [i * i for i in range(n)]\n",
	"f/e2e/report__flow/squares.inline_script.lock": "",
	"f/e2e/report__flow/count.sh":                   "list=\"$1\"\necho \"$list squares\"\n",
	"f/e2e/outer__flow/flow.yaml": `summary: Outer
value:
  modules:
    - id: inner
      value:
        type: flow
        path: f/e2e/report
        input_transforms:
          n: {type: javascript, expr: flow_input.m + 1}
`,
	"f/e2e/cycle__flow/flow.yaml": `summary: Report
value:
  modules:
    - {id: a, value: {type: flow, path: f/e2e/outer, input_transforms: {}}}
`,
}

// deployedFlows deploys folders unchanged, and runs them over HTTP, by a schedule and as flows in flows.
func deployedFlows(t *testing.T, d *daemon) {
	ctx, dir := t.Context(), t.TempDir()
	writeFiles(t, dir, reportFolder)
	push := func(args ...string) (string, error) {
		cmd := exec.CommandContext(ctx, binary(t), append([]string{"flow", "push", "--socket", filepath.Join(d.data, "run", "millrace.sock")}, args...)...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := push("f/e2e/outer__flow"); err == nil || !strings.Contains(out, "flow.yaml:7:15: error module inner value.path: there is no flow f/e2e/report") {
		t.Errorf("a flow of what is not there: %v\n%s", err, out)
	}
	for _, folder := range []string{"f/e2e/report__flow", "f/e2e/outer__flow"} {
		if out, err := push(folder); err != nil || !strings.Contains(out, "is deployed as version") {
			t.Fatalf("push %s: %v\n%s", folder, err, out)
		}
	}
	if out, err := push("f/e2e/report__flow"); err != nil || !strings.Contains(out, "has not changed") {
		t.Errorf("the same again: %v\n%s", err, out)
	}
	if out, err := push("f/e2e/cycle__flow", "f/e2e/report"); err == nil || !strings.Contains(out, "f/e2e/report -> f/e2e/outer -> f/e2e/report") {
		t.Errorf("a cycle: %v\n%s", err, out)
	}

	for args, want := range map[string]string{`{"n": 4}`: `"4 squares"`, `{"n": "x"}`: "ArgumentError", `{}`: "ArgumentError"} {
		got, err := d.RunWait(ctx, client.Run{FlowPath: "f/e2e/report", Args: json.RawMessage(args)})
		if text := string(got) + message(err); !strings.Contains(text, want) {
			t.Errorf("with %s: %s, want %s", args, text, want)
		}
	}
	if got, err := d.RunWait(ctx, client.Run{FlowPath: "f/e2e/outer", Args: json.RawMessage(`{"m": 6}`)}); err != nil || string(got) != `"7 squares"` {
		t.Errorf("a flow in a flow: %s, %v", got, err)
	}
	scheduled(t, d)
	versions(t, d, push)
}

func writeFiles(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// scheduled waits for a tick of a schedule of the flow.
func scheduled(t *testing.T, d *daemon) {
	ctx := t.Context()
	yes := true
	s := client.NewSchedule{Path: "f/e2e/report", Cron: "* * * * * *", ScriptPath: "f/e2e/report", IsFlow: &yes, Enabled: &yes, Args: json.RawMessage(`{"n": 2}`)}
	if err := d.CreateSchedule(ctx, s); err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(time.Minute); ; {
		list, err := d.Jobs(ctx, filter("schedule_path", "f/e2e/report", "success", "true", "job_kinds", "flow"))
		if err != nil {
			t.Fatal(err)
		}
		if len(list) > 0 {
			if got, err := d.Result(ctx, list[0].ID); err != nil || string(got) != `"2 squares"` {
				t.Errorf("a scheduled run: %s, %v", got, err)
			}
			break
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("the schedule did not run the flow")
		}
	}
	if err := d.DeleteSchedule(ctx, "f/e2e/report"); err != nil {
		t.Error(err)
	}
	s.Path, s.ScriptPath = "f/e2e/none", "f/e2e/none"
	if err := d.CreateSchedule(ctx, s); err == nil || !strings.Contains(err.Error(), "the flow is not there") {
		t.Errorf("a schedule of no flow: %v", err)
	}
}

// versions: a run that has begun keeps its version; an old one runs by its number; an archived flow does not run.
func versions(t *testing.T, d *daemon, push func(...string) (string, error)) {
	ctx := t.Context()
	history, err := d.FlowHistory(ctx, "f/e2e/report")
	if err != nil || len(history) != 1 {
		t.Fatalf("history %+v, %v", history, err)
	}
	first := history[0].ID
	slow := `{"path": "f/e2e/slow", "summary": "", "value": {"modules": [{"id": "a", "value": {"type": "identity"}, "sleep": {"type": "static", "value": 2}},
		{"id": "b", "value": {"type": "rawscript", "language": "bash", "content": "echo WORD", "input_transforms": {}}}]}}`
	deploy := func(word string) int64 {
		t.Helper()
		done, err := d.DeployFlow(ctx, "f/e2e/slow", json.RawMessage(strings.Replace(slow, "WORD", word, 1)), false)
		if err != nil {
			t.Fatal(err)
		}
		return done.Version
	}
	old := deploy("old")
	id, err := d.Run(ctx, client.Run{FlowPath: "f/e2e/slow"})
	if err != nil {
		t.Fatal(err)
	}
	deploy("new")
	if j := d.wait(ctx, id); result(j) != `"old"` {
		t.Errorf("a run that had begun: %s %s", j.Status, result(j))
	}
	if got, err := d.RunWait(ctx, client.Run{FlowVersion: old}); err != nil || string(got) != `"old"` {
		t.Errorf("an old version: %s, %v", got, err)
	}
	if err := d.ArchiveFlow(ctx, "f/e2e/report"); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Run(ctx, client.Run{FlowPath: "f/e2e/report"}); !client.IsNotFound(err) {
		t.Errorf("an archived flow: %v", err)
	}
	if got, err := d.RunWait(ctx, client.Run{FlowVersion: first, Args: json.RawMessage(`{"n": 1}`)}); err != nil || string(got) != `"1 squares"` {
		t.Errorf("its version: %s, %v", got, err)
	}
	if got, err := d.RunWait(ctx, client.Run{FlowPath: "f/e2e/outer", Args: json.RawMessage(`{"m": 6}`)}); err == nil || !strings.Contains(err.Error(), "no such flow") {
		t.Errorf("a flow of an archived flow: %s, %v", got, err)
	}
	if out, err := push("f/e2e/report__flow"); err != nil || !strings.Contains(out, "is deployed as version") {
		t.Errorf("brought back: %v\n%s", err, out)
	}
}
