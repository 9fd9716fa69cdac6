package main

import (
	"context"
	"errors"
	"fmt"
)

// inline is a workflow as code: three steps in its own process, each stored before the next one begins.
const inline = `from wmill import workflow, step

@workflow
async def main(n: int):
    a = await step("a", lambda: n + 1)
    b = await step("b", lambda: a + 1)
    return await step("c", lambda: b + 1)
`

// inlineBun is the same in TypeScript.
const inlineBun = `import { workflow, step } from "windmill-client";

export const main = workflow(async (n: number) => {
  const a = await step("a", () => n + 1);
  const b = await step("b", () => a + 1);
  return await step("c", () => b + 1);
});
`

const inlineClass = 16 // clients of steps3_inline_rate

// stepsLane is a way in which the workflow runs.
type stepsLane struct {
	key, language, source string
	dedicated             bool
	clients               int
}

// workflows measures steps that are kept without being jobs.
func workflows(ctx context.Context, b *bench) error {
	var errs []error
	for _, l := range []stepsLane{
		{"steps3_inline", scripts[0].language, inline, false, inlineClass},
		{"steps3_dedicated", scripts[0].language, inline, true, dedicatedClients},
		{"steps3_dedicated_bun", scripts[1].language, inlineBun, true, dedicatedClients},
	} {
		errs = append(errs, b.steps(ctx, l))
	}
	return errors.Join(errs...)
}

func (b *bench) steps(ctx context.Context, l stepsLane) error {
	path := "f/bench/" + l.key
	if err := b.deployWith(ctx, object{"path": path, "language": l.language, "content": l.source, "dedicated_worker": l.dedicated}); err != nil {
		return err
	}
	do := func(c *conn, _ int) error {
		status, answer, err := c.do("POST", b.path("jobs/run_wait_result/p/"+path), `{"n": 1}`)
		if err == nil && (status/100 != 2 || string(answer) != "4") {
			err = fmt.Errorf("status %d, answer %.300s, want 4", status, answer)
		}
		return err
	}
	if _, err := closedLoop(b.server, 20, do); err != nil {
		return fmt.Errorf("%s: %w", l.key, err)
	}
	got, err := closedLoop(b.server, b.n/2, do)
	if err != nil {
		return fmt.Errorf("%s: %w", l.key, err)
	}
	b.report.latency(l.key, got)
	perSecond, n, err := saturate(b.server, l.clients, b.seconds, do)
	if err != nil {
		return fmt.Errorf("%s_rate: %w", l.key, err)
	}
	b.report.set(l.key+"_rate", perSecond, "1/s", n)
	return nil
}
