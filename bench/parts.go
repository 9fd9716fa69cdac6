package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// part measures some keys; each can run alone with --only.
type part struct {
	name  string
	title string
	run   func(context.Context, *bench) error
}

var parts = []part{
	{"startup", "daemon start to the first job served, database already made", startup},
	{"ack", "POST to durable acknowledgement, open loop, 500 a second", ack},
	{"result", "POST to result, fresh sandbox, one client", result},
	{"rate", "isolated jobs a second, 16 clients", rate},
	{"dedicated", "runs a second of dedicated scripts, 64 clients", dedicated},
	{"flow", "sequences of steps, isolated and dedicated", flows},
	{"workflow", "workflows as code: steps in their process", workflows},
	{"fanout", "a parallel loop of 10,000 elements, dedicated and isolated", fanout},
	{"idle", "what the daemon takes when nothing happens", idle},
	{"hot", "a script that imports pandas, first and later runs", hot},
	{"cold", "first run of a script that nobody has seen", cold},
	{"nohttp", "jobs that do nothing, over HTTP", noopHTTP},
	{"remote", "jobs that another process of the same database starts", remote},
	{"flownoop", "flows whose steps do nothing, through the engine's API", flowNoop},
	{"noop", "the queue alone, through the engine's API", noop},
	{"backlog", "the same with a million jobs waiting", backlog},
	{"pinned", "the same while a transaction stays open", pinned},
}

func partNames() []string {
	var out []string
	for _, p := range parts {
		out = append(out, p.name)
	}
	return out
}

// script is the same small work in each language: n + 1, so that every answer can be checked.
type script struct {
	key      string // as in the metric keys
	language string
	source   string
	again    string // a line with %d that makes a source nobody has seen
	args     string // with %d for n
	// pause is the time between two requests of the one client. An interpreter that cannot be forked boots for each run, and a
	// client without a pause would measure the boots; rate_LANG does that.
	pause time.Duration
}

var scripts = []script{
	{"python", "python3", "def main(n: int):\n    return n + 1\n", "# %d\n", `{"n":%d}`, 0},
	{"bun", "bun", "export async function main(n: number) {\n  return n + 1;\n}\n", "// %d\n", `{"n":%d}`, 25 * time.Millisecond},
	{"go", "go", "package inner\n\nfunc main(n int) (int, error) {\n\treturn n + 1, nil\n}\n", "// %d\n", `{"n":%d}`, 0},
	{"bash", "bash", "n=\"$1\"\necho $((n + 1))\n", "# %d\n", `{"n":%d}`, 0},
}

func (s script) path() string { return "f/bench/" + s.key }

// call runs s and checks the answer.
func (b *bench) call(s script) request {
	path := b.path("jobs/run_wait_result/p/" + s.path())
	return func(c *conn, i int) error {
		status, answer, err := c.do("POST", path, fmt.Sprintf(s.args, i))
		if err != nil {
			return err
		}
		return check(status, answer, i+1)
	}
}

// check compares an answer with the number it must be; Bash answers with text.
func check(status int, answer []byte, want int) error {
	got := strings.Trim(string(answer), "\" \n")
	if status != 200 && status != 201 || got != strconv.Itoa(want) {
		return fmt.Errorf("status %d, answer %.300s, want %d", status, answer, want)
	}
	return nil
}

const warmUp = 200 // runs that do not count

// prepared deploys s and warms it up.
func (b *bench) prepared(ctx context.Context, s script) error {
	if err := b.deploy(ctx, s.path(), s.language, s.source); err != nil {
		return err
	}
	if err := b.build(ctx, s); err != nil {
		return err
	}
	_, err := closedLoop(b.server, min(warmUp, b.n), b.call(s))
	return err
}

// buildTries allows for a compiler whose cache is empty: the daemon answers 504 when a run takes longer than it waits.
const buildTries = 5

// build runs s until it has been built and answers.
func (b *bench) build(ctx context.Context, s script) error {
	c, err := b.server.dial()
	if err != nil {
		return err
	}
	defer c.close()
	for try := 1; ; try++ {
		status, answer, err := c.do("POST", b.path("jobs/run_wait_result/p/"+s.path()), fmt.Sprintf(s.args, 0))
		if err != nil {
			return err
		}
		if status != 504 || try == buildTries || ctx.Err() != nil {
			return check(status, answer, 1)
		}
	}
}

// each runs do for every language and goes on with the others when one fails.
func each(ctx context.Context, list []script, do func(script) error) error {
	var errs []error
	for _, s := range list {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := do(s); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", s.key, err))
		}
	}
	return errors.Join(errs...)
}

func result(ctx context.Context, b *bench) error {
	return each(ctx, scripts, func(s script) error {
		if err := b.prepared(ctx, s); err != nil {
			return err
		}
		got, err := pausedLoop(b.server, b.n, s.pause, b.call(s))
		if err != nil {
			return err
		}
		b.report.latency("http_result_"+s.key, got)
		return nil
	})
}

const rateClients = 16

func rate(ctx context.Context, b *bench) error {
	return each(ctx, scripts, func(s script) error {
		if err := b.prepared(ctx, s); err != nil {
			return err
		}
		if _, _, err := saturate(b.server, rateClients, b.seconds/5, b.call(s)); err != nil {
			return fmt.Errorf("warm-up: %w", err)
		}
		perSecond, n, err := saturate(b.server, rateClients, b.seconds, b.call(s))
		if err != nil {
			return err
		}
		b.report.set("rate_"+s.key, perSecond, "1/s", n)
		return nil
	})
}

const (
	ackRate        = 500.0 // a second
	ackSamples     = 10000
	ackConnections = 32
)

func ack(_ context.Context, b *bench) error {
	path := b.path("jobs/run/noop")
	do := func(c *conn, _ int) error {
		status, answer, err := c.do("POST", path, "{}")
		if err == nil && (status != 201 || len(answer) != 36) {
			err = fmt.Errorf("status %d, answer %.300s, want the id of a job", status, answer)
		}
		return err
	}
	if _, err := openLoop(b.server, ackRate, 1000, ackConnections, do); err != nil {
		return fmt.Errorf("warm-up: %w", err)
	}
	got, err := openLoop(b.server, ackRate, ackSamples, ackConnections, do)
	if err != nil {
		return err
	}
	b.report.latency("http_ack", got)
	return nil
}

const coldRuns = 15

// cold runs sources that differ in a comment, so that nothing prepared for one serves the next.
func cold(ctx context.Context, b *bench) error {
	return each(ctx, scripts, func(s script) error {
		if s.language == "bash" {
			return nil // has nothing to prepare
		}
		mark := time.Now().UnixNano()
		got, err := closedLoop(b.server, coldRuns, func(c *conn, i int) error {
			source := s.source + fmt.Sprintf(s.again, mark+int64(i))
			body := fmt.Sprintf(`{"content":%s,"language":%q,"args":%s}`, strconv.Quote(source), s.language, fmt.Sprintf(s.args, i))
			status, answer, err := c.do("POST", b.path("jobs/run_wait_result/preview"), body)
			if err != nil {
				return err
			}
			return check(status, answer, i+1)
		})
		if err != nil {
			return err
		}
		b.report.set("cold_"+s.key, ms(got.at(0.5)), "ms", len(got))
		b.report.set("cold_"+s.key+"_max", ms(got.at(1)), "ms", len(got))
		return nil
	})
}

const startups = 5

// startup restarts the own daemon. The script is deployed once; its first run ends the measurement.
func startup(ctx context.Context, b *bench) error {
	if b.own == nil {
		return errors.New("only a daemon of its own can be restarted; leave --server out")
	}
	s := scripts[0]
	if err := b.deploy(ctx, s.path(), s.language, s.source); err != nil {
		return err
	}
	var got sample
	for i := range startups {
		if err := b.stop(); err != nil {
			return err
		}
		if err := b.start(ctx); err != nil {
			return err
		}
		c, err := b.server.dial()
		if err != nil {
			return err
		}
		err = b.call(s)(c, i)
		c.close()
		if err != nil {
			return err
		}
		got = append(got, time.Since(b.own.started))
	}
	b.report.set("startup", ms(got.at(0.5)), "ms", len(got))
	b.report.set("startup_max", ms(got.at(1)), "ms", len(got))
	return nil
}

const (
	idleSettle = 10 * time.Second // after the last job
	idleWatch  = 30 * time.Second
)

// idle measures what is there when nothing runs: the daemon, its helper and PostgreSQL, after all that this run has done with them, and the
// sandboxes that wait for work in a daemon that has just begun, where no process has been kept that ran something.
func idle(ctx context.Context, b *bench) error {
	if b.own == nil {
		return errors.New("only a daemon of its own can be looked into; leave --server out")
	}
	if err := b.rested(ctx); err != nil {
		return err
	}
	before := cpuOf(family(b.own.cmd.Process.Pid))
	if err := pause(ctx, idleWatch); err != nil {
		return err
	}
	now := family(b.own.cmd.Process.Pid)
	b.report.set("idle_cpu", 100*float64(cpuOf(now)-before)/float64(idleWatch), "%", int(idleWatch.Seconds()))
	services := 0.0
	for _, p := range now {
		if strings.HasPrefix(p.name, "millrace") || strings.HasPrefix(p.name, "postgres") {
			services += p.pss()
		}
	}
	b.report.set("idle_rss", services, "MB", len(now))
	if err := b.stop(); err != nil {
		return err
	}
	if err := b.start(ctx); err != nil {
		return err
	}
	if err := b.rested(ctx); err != nil {
		return err
	}
	waiting := map[string][]float64{}
	for _, p := range family(b.own.cmd.Process.Pid) {
		for _, key := range []string{"python", "bun"} {
			if strings.HasPrefix(p.name, key) {
				waiting[key] = append(waiting[key], p.pss())
			}
		}
	}
	for key, list := range waiting {
		sum := 0.0
		for _, mb := range list {
			sum += mb
		}
		b.report.set("sandbox_pss_"+key, sum/float64(len(list)), "MB", len(list))
	}
	return nil
}

// rested returns when nothing has run for a while, and what is kept ready for the scripts is there.
func (b *bench) rested(ctx context.Context) error {
	for _, s := range scripts {
		if err := b.prepared(ctx, s); err != nil {
			return err
		}
	}
	return pause(ctx, idleSettle)
}

func cpuOf(list []process) (sum time.Duration) {
	for _, p := range list {
		sum += p.cpu
	}
	return sum
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
