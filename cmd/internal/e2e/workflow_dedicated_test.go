package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/millrace/millrace/web/client"
	"github.com/millrace/millrace/web/wire"
)

// keptWorkflow counts in its process how many runs have begun there. How it goes on is in what: it waits, or ends the process.
const keptWorkflow = `from wmill import workflow, task, step, sleep, wait_for_approval
import os

begun = []

def count():
    begun.append(1)
    return len(begun)

@task
async def double(x: int):
    return x * 2

@workflow
async def main(n: int, what: str):
    print("this is run", n)
    number = await step("number", count)
    doubled = await double(n)
    if what == "ask":
        doubled = (await wait_for_approval(timeout=86400))["value"]
    if what == "wait":
        await sleep(3)
    if what == "crash":
        await step("crash", lambda: os._exit(3))
    print("and ends", n)
    return [n, number, doubled, os.environ["WM_JOB_ID"]]
`

const keptWorkflowInTypeScript = `import { workflow, task, step, sleep, waitForApproval } from "windmill-client";

let begun = 0;
const double = task(async (x: number) => x * 2);

export const main = workflow(async (n: number, what: string) => {
  console.log("this is run", n);
  const number = await step("number", () => ++begun);
  let doubled = await double(n);
  if (what === "ask") ({ value: doubled } = await waitForApproval({ timeout: 86400 }));
  if (what === "wait") await sleep(3);
  if (what === "crash") await step("crash", () => process.exit(3));
  process.stdout.write("and ends " + n + "\n");
  return [n, number, doubled, process.env.WM_JOB_ID];
});
`

// TestWorkflowsInOneProcess runs workflows side by side in the process that is kept for their script.
func TestWorkflowsInOneProcess(t *testing.T) {
	share(t, "2", []part{{"Python", func(t *testing.T, d *daemon) { keptWorkflows(t, d, "python3", keptWorkflow) }},
		{"Bun", func(t *testing.T, d *daemon) { keptWorkflows(t, d, "bun", keptWorkflowInTypeScript) }}})
}

func keptWorkflows(t *testing.T, d *daemon, language, source string) {
	ctx, path := t.Context(), "u/test/kept_"+language
	_, err := d.CreateScript(ctx, wire.NewScript{Path: path, Language: language, Content: source, More: map[string]json.RawMessage{"dedicated_worker": json.RawMessage("true")}}, false)
	if err != nil {
		t.Fatal(err)
	}
	begin := func(n int, what string) uuid.UUID {
		id, err := d.Run(ctx, client.Run{Path: path, Args: json.RawMessage(fmt.Sprintf(`{"n": %d, "what": %q}`, n, what))})
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	numbers := map[int]bool{}
	ends := func(id uuid.UUID, n, starts int) {
		t.Helper()
		j := d.wait(ctx, id)
		var got []any
		if err := json.Unmarshal([]byte(result(j)), &got); err != nil || len(got) != 4 || got[0] != float64(n) || got[2] != float64(2*n) || got[3] != id.String() {
			t.Fatalf("run %d: %s %s", n, j.Status, result(j))
		}
		numbers[int(got[1].(float64))] = true
		if want := fmt.Sprintf("and ends %d\n", n); !strings.Contains(j.Logs, want) || strings.Count(j.Logs, "this is run") != starts {
			t.Errorf("the log of run %d:\n%s", n, j.Logs)
		}
	}
	const many = 20
	var ids []uuid.UUID
	for n := range many {
		what := ""
		if n == many/2 {
			what = strings.Repeat("large ", 1<<18) // comes in many pieces
		}
		ids = append(ids, begin(n, what))
	}
	for n, id := range ids {
		ends(id, n, 1)
	}
	if len(numbers) != many {
		t.Errorf("%d runs counted to %d, not in one process", many, len(numbers))
	}

	// One that waits for a day is let go, and goes on in the same process when it is told.
	asks := begin(many, "ask")
	d.suspended(t, asks)
	if err := d.AnswerFlow(ctx, asks, json.RawMessage(fmt.Sprint(2*many)), true); err != nil {
		t.Fatal(err)
	}
	ends(asks, many, 1)
	if !numbers[many+1] {
		t.Errorf("the step of one that was let go ran again, or elsewhere: %v", numbers)
	}

	// Those that wait when another one ends the process go on elsewhere, and no step of theirs runs again.
	clear(numbers)
	ids = ids[:0]
	for n := range 3 {
		ids = append(ids, begin(n, "wait"))
	}
	canceled := begin(9, "wait")
	for _, id := range append(ids, canceled) {
		d.asksFor(t, id, "sleep")
	}
	if err := d.Cancel(ctx, canceled, "enough"); err != nil {
		t.Fatal(err)
	}
	if j := d.wait(ctx, canceled); j.Status != "canceled" {
		t.Errorf("canceled: %s %s", j.Status, result(j))
	}
	if j := d.wait(ctx, begin(5, "crash")); j.Status != "failure" || !strings.Contains(result(j), "before it ") {
		t.Errorf("the one that ends its process: %s %s", j.Status, result(j))
	}
	for n, id := range ids {
		ends(id, n, 2)
	}
	for n := range numbers {
		if n <= many+1 {
			t.Errorf("a step ran again, in another process: %v", numbers)
		}
	}
}

// asksFor waits until a workflow has asked for something of a kind.
func (d *daemon) asksFor(t *testing.T, id uuid.UUID, kind string) {
	t.Helper()
	for t.Context().Err() == nil {
		list, err := d.WorkflowSteps(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range list {
			if s.Kind == kind {
				return
			}
		}
	}
	t.Fatalf("job %s asks for no %s", id, kind)
}
