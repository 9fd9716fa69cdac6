package e2e

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"github.com/millrace/millrace/cmd/internal/push"
	"github.com/millrace/millrace/web/client"
	"github.com/millrace/millrace/web/wire"
)

const aWorkflow = `from wmill import workflow, task, step, sleep, parallel, TaskError

@task
async def double(x: int):
    return x * 2

@task(retry={"attempts": 1})
def boom(x: int):
    raise ValueError("no %d" % x)

@workflow
async def main(n: int, steps: int):
    total = 0
    for i in range(steps):
        total += await step("add", lambda: i)
    doubles = await parallel(range(n), double)
    await sleep(0.1)
    try:
        await boom(7)
    except TaskError as e:
        return [total, sum(doubles), e.result["error"]["message"]]
`

const aWorkflowInTypeScript = `import { workflow, task, step, sleep, parallel } from "windmill-client";

const double = task(async (x: number) => x * 2);
const boom = task(async (x: number) => { throw new Error("no " + x); }, { retry: { attempts: 1 } });

export const main = workflow(async (n: number, steps: number) => {
  let total = 0;
  for (let i = 0; i < steps; i++) total += await step("add", () => i);
  const doubles: number[] = await parallel([...Array(n).keys()], double);
  await sleep(0.1);
  try {
    await boom(7);
  } catch (e) {
    return [total, doubles.reduce((a, b) => a + b), e.result.error.message];
  }
});
`

// TestWorkflows has fewer slots than a workflow and its tasks.
func TestWorkflows(t *testing.T) { share(t, "2", []part{{"Workflows", workflows}}) }

// workflows runs workflows as code in both languages, on two slots: a thousand steps, and more tasks than slots.
func workflows(t *testing.T, d *daemon) {
	ctx := t.Context()
	for _, c := range []struct{ language, source, args, want string }{
		{"python3", aWorkflow, `{"n": 40, "steps": 1000}`, `[499500,1560,"no 7"]`},
		{"bun", aWorkflowInTypeScript, `{"n": 40, "steps": 1000}`, `[499500,1560,"no 7"]`},
	} {
		id, err := d.Run(ctx, client.Run{Preview: &wire.Preview{Language: c.language, Content: c.source, Path: "u/test/workflow"}, Args: json.RawMessage(c.args)})
		if err != nil {
			t.Fatal(err)
		}
		if j := d.wait(ctx, id); result(j) != c.want {
			t.Errorf("%s: %s %s", c.language, j.Status, result(j))
		}
	}
	const double = `{"modules": [{"id": "a", "value": {"type": "rawscript", "language": "bash", "content": "n=\"$1\"\necho $((n * 2))", "input_transforms": {"n": {"type": "javascript", "expr": "flow_input.n"}}}}]}`
	flow, err := json.Marshal(map[string]any{"path": "f/test/double", "summary": "", "value": json.RawMessage(double)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := push.Flow(ctx, d.Client, "f/test/double", flow, t.Output()); err != nil {
		t.Fatal(err)
	}
	for language, source := range map[string]string{
		"python3": "from wmill import workflow, task_flow\n\n@workflow\nasync def main(path: str):\n    return int(await task_flow(path)(n=21))\n",
		"bun":     "import { workflow, taskFlow } from \"windmill-client\";\nexport const main = workflow(async (path: string) => Number(await taskFlow(path)({ n: 21 })));\n",
	} {
		for path, want := range map[string]string{"f/test/double": "42", "f/test/none": "f/test/none: no such flow"} {
			id, err := d.Run(ctx, client.Run{Preview: &wire.Preview{Language: language, Content: source, Path: "u/test/taskflow"}, Args: json.RawMessage(`{"path": "` + path + `"}`)})
			if err != nil {
				t.Fatal(err)
			}
			if j := d.wait(ctx, id); !strings.Contains(result(j), want) || (j.Status == "success") != (want == "42") {
				t.Errorf("%s: a task that is the flow %s: %s %s", language, path, j.Status, result(j))
			}
		}
	}
	missingFlow(t, d)
	hold := "from wmill import workflow, task\nimport time\n\n@task\ndef hold():\n    print('held', flush=True)\n    time.sleep(600)\n\n@workflow\nasync def main():\n    await hold()\n"
	id, err := d.Run(ctx, client.Run{Preview: &wire.Preview{Language: "python3", Content: hold, Path: "u/test/hold"}})
	if err != nil {
		t.Fatal(err)
	}
	task := d.child(t, id.String())
	if err := d.Cancel(ctx, id, "enough"); err != nil {
		t.Fatal(err)
	}
	if j := d.wait(ctx, id); j.Status != "canceled" {
		t.Errorf("a workflow that was canceled: %s %s", j.Status, result(j))
	}
	if j := d.wait(ctx, task.ID); j.Status != "canceled" {
		t.Errorf("its task: %s %s", j.Status, result(j))
	}
}

// missingFlow: a task that is a flow which is not there fails like any other: the workflow hears why and what to do, and goes on as it likes.
func missingFlow(t *testing.T, d *daemon) {
	for language, source := range map[string]string{
		"python3": `from wmill import workflow, task_flow, task_script, TaskError

@workflow
async def main():
    said = []
    for call in (task_flow("f/test/none"), task_script("f/test/nothing"), task_flow("f/test/double")):
        try:
            said.append(await call(n=4))
        except TaskError as e:
            said.append([e.result["error"]["message"], e.step_key])
    return said
`,
		"bun": `import { workflow, taskFlow, taskScript } from "windmill-client";

export const main = workflow(async () => {
  const said: any[] = [];
  for (const call of [taskFlow("f/test/none"), taskScript("f/test/nothing"), taskFlow("f/test/double")]) {
    try {
      said.push(await call({ n: 4 }));
    } catch (e) {
      said.push([e.result.error.message, e.step_key]);
    }
  }
  return said;
});
`,
	} {
		j := d.finish(client.Run{Preview: &wire.Preview{Language: language, Content: source, Path: "u/test/missing"}})
		var said []any
		if err := json.Unmarshal([]byte(result(j)), &said); err != nil || len(said) != 3 {
			t.Fatalf("%s: %s %s", language, j.Status, result(j))
		}
		for i, want := range [][]string{{"f/test/none", "no such flow", "deploy it first: millrace flow push"}, {"f/test/nothing", "no such script", "deploy it first: millrace script push"}} {
			caught, ok := said[i].([]any)
			for _, w := range want {
				if !ok || len(caught) != 2 || !strings.Contains(caught[0].(string), w) || caught[1] == "" || caught[1] == nil {
					t.Errorf("%s: what is missing: %v, want %s", language, said[i], w)
				}
			}
		}
		if n, ok := said[2].(float64); (!ok || n != 8) && said[2] != "8" {
			t.Errorf("%s: after two failures: %v", language, said[2])
		}
	}
}

// child waits for a running task of a workflow.
func (d *daemon) child(t *testing.T, parent string) *wire.Job {
	for t.Context().Err() == nil {
		list, err := d.Jobs(t.Context(), url.Values{"parent_job": {parent}})
		if err != nil {
			t.Fatal(err)
		}
		for i := range list {
			if list[i].Status == "running" {
				return &list[i]
			}
		}
	}
	t.Fatal("no task runs")
	return nil
}

// TestWorkflowSurvives kills the daemon in the middle of a workflow: its steps are not run again, its tasks are not either, and a task
// that was running is.
func TestWorkflowSurvives(t *testing.T) {
	const source = `from wmill import workflow, task, step, parallel
import os, time, uuid

@task
def one(n: int, slow: bool = False):
    if slow:
        print("slow", flush=True)
        time.sleep(2)
    return str(uuid.uuid4())

@workflow
async def main():
    a = await step("a", lambda: str(uuid.uuid4()))
    b = await one(1)
    await step("say", lambda: print("told", a, b, flush=True))
    c = await one(2, slow=True)
    return [a, b]
`
	data := folder(t)
	d := start(t, data)
	ctx := t.Context()
	id, err := d.Run(ctx, client.Run{Preview: &wire.Preview{Language: "python3", Content: source, Path: "u/test/survives"}})
	if err != nil {
		t.Fatal(err)
	}
	var told string
	for told == "" {
		j, err := d.Job(ctx, id, true)
		if err != nil {
			t.Fatal(err)
		}
		if _, after, ok := strings.Cut(j.Logs, "told "); ok && strings.Contains(after, "\n") {
			told, _, _ = strings.Cut(after, "\n")
		}
	}
	d.child(t, id.String())
	_ = d.cmd.Process.Kill()
	<-d.done
	again := start(t, data)
	a, b, _ := strings.Cut(told, " ")
	j := again.wait(ctx, id)
	if want := `["` + a + `","` + b + `"]`; result(j) != want || j.Attempt < 2 {
		t.Errorf("%s %s in attempt %d, want %s", j.Status, result(j), j.Attempt, want)
	}
	if strings.Contains(j.Logs, "told") {
		t.Errorf("a step ran again:\n%s", j.Logs)
	}
}
