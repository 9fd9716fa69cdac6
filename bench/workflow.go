package main

import (
	"context"
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

const (
	inlinePath  = "f/bench/inline"
	inlineClass = 16 // clients of steps3_inline_rate
)

// workflows measures steps that are kept without being jobs.
func workflows(ctx context.Context, b *bench) error {
	if err := b.deployWith(ctx, object{"path": inlinePath, "language": scripts[0].language, "content": inline}); err != nil {
		return err
	}
	do := func(c *conn, _ int) error {
		status, answer, err := c.do("POST", b.path("jobs/run_wait_result/p/"+inlinePath), `{"n": 1}`)
		if err == nil && (status/100 != 2 || string(answer) != "4") {
			err = fmt.Errorf("status %d, answer %.300s, want 4", status, answer)
		}
		return err
	}
	if _, err := closedLoop(b.server, 20, do); err != nil {
		return fmt.Errorf("steps3_inline: %w", err)
	}
	got, err := closedLoop(b.server, b.n/2, do)
	if err != nil {
		return fmt.Errorf("steps3_inline: %w", err)
	}
	b.report.latency("steps3_inline", got)
	perSecond, n, err := saturate(b.server, inlineClass, b.seconds, do)
	if err != nil {
		return fmt.Errorf("steps3_inline_rate: %w", err)
	}
	b.report.set("steps3_inline_rate", perSecond, "1/s", n)
	return nil
}
