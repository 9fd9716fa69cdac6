package main

import (
	"context"
	"fmt"
	"strconv"
	"time"
)

const dedicatedClients = 64

// dedicated measures scripts whose process is kept, one after the other.
func dedicated(ctx context.Context, b *bench) error {
	return each(ctx, scripts[:2], func(s script) error {
		path := "f/bench/dedicated_" + s.key
		err := b.deployWith(ctx, map[string]any{"path": path, "language": s.language, "content": s.source, "dedicated_worker": true})
		if err != nil {
			return err
		}
		path = b.path("jobs/run_wait_result/p/" + path)
		call := func(c *conn, i int) error {
			status, answer, err := c.do("POST", path, fmt.Sprintf(s.args, i))
			if err != nil {
				return err
			}
			return check(status, answer, i+1)
		}
		if _, err := closedLoop(b.server, warmUp, call); err != nil {
			return err
		}
		alone, err := closedLoop(b.server, b.n, call)
		if err != nil {
			return err
		}
		b.report.latency("dedicated_result_"+s.key, alone)
		if _, _, err := saturate(b.server, dedicatedClients, b.seconds/5, call); err != nil {
			return fmt.Errorf("warm-up: %w", err)
		}
		perSecond, n, err := saturate(b.server, dedicatedClients, b.seconds, call)
		if err != nil {
			return err
		}
		b.report.set("dedicated_rate_"+s.key, perSecond, "1/s", n)
		return nil
	})
}

// pandas is n + 1 by a way that needs most of what a data script does.
const pandas = `import numpy as np
import pandas as pd

def main(n: int):
    df = pd.DataFrame({"key": np.arange(1000) % 7, "value": np.arange(1000)})
    return int(df.groupby("key")["value"].sum().sum()) - 499500 + n + 1
`

const (
	hotWarmUp = 60 // runs, a while apart, in which its imports get to be done ahead
	hotPause  = 100 * time.Millisecond
)

// hot measures a script whose imports take far longer than it does: previews that differ in a comment, which nobody can know, and
// then the same script again and again.
func hot(ctx context.Context, b *bench) error {
	path := "f/bench/pandas"
	if err := b.deployWith(ctx, map[string]any{"path": path, "language": scripts[0].language, "content": pandas}); err != nil {
		return err
	}
	mark := time.Now().UnixNano()
	first, err := closedLoop(b.server, coldRuns, func(c *conn, i int) error {
		body := fmt.Sprintf(`{"content":%s,"language":%q,"args":{"n":%d}}`, strconv.Quote(pandas+fmt.Sprintf("# %d\n", mark+int64(i))), scripts[0].language, i)
		status, answer, err := c.do("POST", b.path("jobs/run_wait_result/preview"), body)
		if err != nil {
			return err
		}
		return check(status, answer, i+1)
	})
	if err != nil {
		return err
	}
	b.report.set("cold_pandas", ms(first.at(0.5)), "ms", len(first))
	call := func(c *conn, i int) error {
		status, answer, err := c.do("POST", b.path("jobs/run_wait_result/p/"+path), fmt.Sprintf(`{"n":%d}`, i))
		if err != nil {
			return err
		}
		return check(status, answer, i+1)
	}
	if _, err := pausedLoop(b.server, hotWarmUp, hotPause, call); err != nil {
		return err
	}
	got, err := closedLoop(b.server, b.n, call)
	if err != nil {
		return err
	}
	b.report.latency("hot_pandas", got)
	return nil
}
