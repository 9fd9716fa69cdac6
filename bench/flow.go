package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// The parts that measure flows: over HTTP with steps that do something, and through the engine's own benchmarks with steps that do not.

// fibo says what it returned, and how long it computed in this flow so far.
const fibo = `import time

def fibo(n):
    return n if n < 2 else fibo(n - 1) + fibo(n - 2)

def main(n: int, spent: float = 0):
    began = time.perf_counter()
    value = fibo(n)
    return {"value": value, "spent": spent + time.perf_counter() - began}
`

const fiboPath = "f/bench/fibo_dedicated"

type object = map[string]any

// fiboFlow is a sequence of steps that each compute fibo(n); path "": each in a sandbox of its own.
func fiboFlow(steps, n int, path string) string {
	list := make([]object, steps)
	for i := range list {
		inputs := object{"n": object{"type": "static", "value": n}}
		if i > 0 {
			inputs["spent"] = object{"type": "javascript", "expr": fmt.Sprintf("results.s%d.spent", i-1)}
		}
		list[i] = object{"id": fmt.Sprintf("s%d", i), "value": step(fibo, path, inputs)}
	}
	return preview(list)
}

func step(source, path string, inputs object) object {
	if path != "" {
		return object{"type": "script", "path": path, "input_transforms": inputs}
	}
	return object{"type": "rawscript", "language": scripts[0].language, "content": source, "input_transforms": inputs}
}

func preview(modules []object) string {
	body, err := json.Marshal(object{"value": object{"modules": modules}, "args": object{}})
	if err != nil {
		panic(err) // of strings and numbers only
	}
	return string(body)
}

// fiboRun runs such a flow and tells how long the scripts computed.
func (b *bench) fiboRun(c *conn, flow string, want int) (spent time.Duration, err error) {
	status, answer, err := c.do("POST", b.path("jobs/run_wait_result/preview_flow"), flow)
	if err != nil {
		return 0, err
	}
	var got struct {
		Value int
		Spent float64
	}
	if status != 200 && status != 201 || json.Unmarshal(answer, &got) != nil || got.Value != want {
		return 0, fmt.Errorf("status %d, answer %.300s, want the value %d", status, answer, want)
	}
	return time.Duration(got.Spent * float64(time.Second)), nil
}

const (
	flowRuns  = 100
	longRuns  = 3 // of ten steps of half a second
	fanOut    = 10000
	fanRuns   = 3
	flowClass = 16 // clients of flow3_isolated_rate
)

// flows measures sequences of steps.
func flows(ctx context.Context, b *bench) error {
	script := object{"path": fiboPath, "language": scripts[0].language, "content": fibo, "dedicated_worker": true}
	if err := b.deployWith(ctx, script); err != nil {
		return err
	}
	for _, c := range []struct {
		key, path string
		steps     int
	}{{"flow3_isolated", "", 3}, {"flow40_isolated", "", 40}, {"flow40_dedicated", fiboPath, 40}} {
		flow := fiboFlow(c.steps, 10, c.path)
		do := func(conn *conn, _ int) error {
			_, err := b.fiboRun(conn, flow, 55)
			return err
		}
		if _, err := closedLoop(b.server, 20, do); err != nil {
			return fmt.Errorf("%s: %w", c.key, err)
		}
		n := flowRuns
		if c.steps == 3 {
			n = b.n / 2
		}
		got, err := closedLoop(b.server, n, do)
		if err != nil {
			return fmt.Errorf("%s: %w", c.key, err)
		}
		b.report.latency(c.key, got)
		if c.steps == 3 {
			perSecond, n, err := saturate(b.server, flowClass, b.seconds, do)
			if err != nil {
				return fmt.Errorf("%s: %w", c.key, err)
			}
			b.report.set("flow3_isolated_rate", perSecond, "1/s", n)
		}
	}
	return b.overhead()
}

// overhead is what ten steps that compute for long take beyond their computing.
func (b *bench) overhead() error {
	flow := fiboFlow(10, 33, "")
	var over, whole sample
	_, err := closedLoop(b.server, longRuns, func(c *conn, _ int) error {
		began := time.Now()
		spent, err := b.fiboRun(c, flow, 3524578)
		whole = append(whole, time.Since(began))
		over = append(over, time.Since(began)-spent)
		return err
	})
	if err != nil {
		return fmt.Errorf("fibo33: %w", err)
	}
	b.report.set("fibo33_overhead", ms(over.at(0.5)), "ms", len(over))
	b.report.set("fibo33_whole", ms(whole.at(0.5)), "ms", len(whole))
	return nil
}

// fanout measures parallel loops of many elements, and their join.
func fanout(ctx context.Context, b *bench) error {
	s := scripts[0]
	path := "f/bench/dedicated_" + s.key
	if err := b.deployWith(ctx, object{"path": path, "language": s.language, "content": s.source, "dedicated_worker": true}); err != nil {
		return err
	}
	for _, c := range []struct{ key, path string }{{"fanout10k_dedicated", path}, {"fanout10k_isolated", ""}} {
		run := func(n int) error {
			loop := object{"type": "forloopflow", "parallel": true, "skip_failures": false,
				"iterator": object{"type": "javascript", "expr": fmt.Sprintf("Array.from({length: %d}, (_, i) => i)", n)},
				"modules":  []object{{"id": "x", "value": step(s.source, c.path, object{"n": object{"type": "javascript", "expr": "flow_input.iter.value"}})}}}
			want := make([]string, n)
			for i := range want {
				want[i] = strconv.Itoa(i + 1)
			}
			return b.flowResult(preview([]object{{"id": "l", "value": loop}}), "["+strings.Join(want, ",")+"]")
		}
		if err := run(fanOut / 20); err != nil {
			return fmt.Errorf("%s: %w", c.key, err)
		}
		var got sample
		for range fanRuns {
			began := time.Now()
			if err := run(fanOut); err != nil {
				return fmt.Errorf("%s: %w", c.key, err)
			}
			got = append(got, time.Since(began))
		}
		b.report.set(c.key, ms(got.at(0.5)), "ms", len(got))
	}
	return nil
}

// flowResult runs a flow and compares its result.
func (b *bench) flowResult(flow, want string) error {
	c, err := b.server.dial()
	if err != nil {
		return err
	}
	defer c.close()
	status, answer, err := c.do("POST", b.path("jobs/run_wait_result/preview_flow"), flow)
	if err == nil && (status != 200 && status != 201 || string(answer) != want) {
		err = fmt.Errorf("status %d, answer %.300s, want %.300s", status, answer, want)
	}
	return err
}

// flowNoop measures flows whose steps do nothing: what a step costs by the number of steps before it, and by the size of results that
// nobody reads, and parallel loops.
func flowNoop(ctx context.Context, b *bench) error {
	out, err := benchmarkOf(ctx, "./engine/flow/runner/", nil, "^Benchmark(Steps|Unread|FanOut)$", "1x")
	if err != nil {
		return err
	}
	return known(out, b.readFigures(out))
}
