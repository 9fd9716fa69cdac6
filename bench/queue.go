package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// The parts that run the engine's own benchmarks, which need neither HTTP nor a sandbox, and the same jobs over HTTP.

// noop measures the life of a job that does nothing.
func noop(ctx context.Context, b *bench) error {
	out, err := benchmark(ctx, nil, "^BenchmarkNoop$", "3s")
	if err != nil {
		return err
	}
	return known(out, b.readNoop(out))
}

// backlog measures the queue with a million jobs waiting. What is printed of a benchmark carries the metric's key.
func backlog(ctx context.Context, b *bench) error {
	return b.figures(ctx, nil, "^BenchmarkBacklog$", "2000x")
}

// pinned compares phases of a minute, two without and two with a transaction that holds a snapshot.
func pinned(ctx context.Context, b *bench) error {
	return b.figures(ctx, []string{"MILLRACE_PIN=60s"}, "^BenchmarkPinned$", "1x")
}

func (b *bench) figures(ctx context.Context, env []string, pattern, time string) error {
	out, err := benchmark(ctx, env, pattern, time)
	if err != nil {
		return err
	}
	return known(out, b.readFigures(out))
}

func known(out string, taken int) error {
	if taken == 0 {
		return fmt.Errorf("the benchmark reports nothing that is known:\n%s", tail([]byte(out), 2000))
	}
	return nil
}

// benchmark runs benchmarks of engine/queue and returns what they print.
func benchmark(ctx context.Context, env []string, pattern, time string) (string, error) {
	return benchmarkOf(ctx, queuePackage, env, pattern, time)
}

func benchmarkOf(ctx context.Context, pkg string, env []string, pattern, time string) (string, error) {
	var out bytes.Buffer
	err := goTestOf(ctx, pkg, &out, env, "-run", "^$", "-bench", pattern, "-benchtime", time, "-timeout", "20m")
	if err != nil {
		return "", fmt.Errorf("%w\n%s", err, tail(out.Bytes(), 2000))
	}
	return out.String(), nil
}

// diskFolder is where the tests' databases lie. The usual folder for temporary files may be in memory, where flushing costs
// nothing.
const diskFolder = "/var/tmp"

const queuePackage = "./engine/queue/"

// goTest runs tests of engine/queue.
func goTest(ctx context.Context, out io.Writer, env []string, args ...string) error {
	return goTestOf(ctx, queuePackage, out, env, args...)
}

func goTestOf(ctx context.Context, pkg string, out io.Writer, env []string, args ...string) error {
	cmd := exec.CommandContext(ctx, goCommand(), append(append([]string{"test"}, args...), pkg)...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Env = append(os.Environ(), env...)
	if os.Getenv("TMPDIR") == "" {
		cmd.Env = append(cmd.Env, "TMPDIR="+diskFolder)
	}
	// The go command waits for the test, whatever it is told itself. The test's server ends with the test.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	runtime.LockOSThread() // whose end would be its death signal
	defer runtime.UnlockOSThread()
	// What a thread's children have is what it has itself: a millisecond, as the daemon's process.
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1_000_000, 0, 0, 0)
	defer unix.Prctl(unix.PR_SET_TIMERSLACK, 50_000, 0, 0, 0) //nolint:errcheck // the kernel's own
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go test: %w", err)
	}
	return nil
}

// benchLine is "BenchmarkNoop/c=64-2   60000   51234 ns/op   19500 jobs/s ...".
var benchLine = regexp.MustCompile(`(?m)^Benchmark(\w+)(?:/([\w=]+))?(?:-\d+)?\s+(\d+)\s+(.*)$`)

// readNoop takes the figures from the output of BenchmarkNoop and returns how many it took: times with one client, rates with
// more, and processor time with 64.
func (b *bench) readNoop(out string) (taken int) {
	for _, line := range benchLine.FindAllStringSubmatch(out, -1) {
		clients, ok := strings.CutPrefix(line[2], "c=")
		n, err := strconv.Atoi(line[3])
		if line[1] != "Noop" || !ok || err != nil {
			continue
		}
		for unit, value := range units(line[4]) {
			name, isTime := strings.CutSuffix(unit, "-us")
			cpu, isCPU := strings.CutSuffix(unit, "-cpu-us/job")
			switch {
			case isTime && clients == "1":
				b.report.set("noop_"+strings.ReplaceAll(name, "-", "_"), value/1000, "ms", n)
			case unit == "jobs/s" && clients != "1":
				b.report.set("noop_rate_c"+clients, value, "1/s", n)
			case isCPU && clients == "64":
				b.report.set("noop_cpu_"+cpu+"_c64", value/1000, "ms", n)
			default:
				continue
			}
			taken++
		}
	}
	return taken
}

// figureUnit is a metric's key and unit, as benchmarks print it: "backlog_start_p50-ms".
var figureUnit = regexp.MustCompile(`^([a-z][a-z0-9_]*)-(ms|1/s|MB|%)$`)

// readFigures takes the figures whose units are keys of metrics, and returns how many it took. A benchmark that repeats
// something else than what it counts reports the number behind its figures as n.
func (b *bench) readFigures(out string) (taken int) {
	for _, line := range benchLine.FindAllStringSubmatch(out, -1) {
		n, err := strconv.Atoi(line[3])
		if err != nil {
			continue
		}
		all := units(line[4])
		if own, ok := all["n"]; ok {
			n = int(own)
		}
		for unit, value := range all {
			if f := figureUnit.FindStringSubmatch(unit); f != nil {
				b.report.set(f[1], value, f[2], n)
				taken++
			}
		}
	}
	return taken
}

// units reads "51234 ns/op   19500 jobs/s".
func units(text string) map[string]float64 {
	out := map[string]float64{}
	fields := strings.Fields(text)
	for i := 0; i+1 < len(fields); i += 2 {
		if v, err := strconv.ParseFloat(fields[i], 64); err == nil {
			out[fields[i+1]] = v
		}
	}
	return out
}

func goCommand() string {
	if path := os.Getenv("MILLRACE_GO"); path != "" {
		return path
	}
	if path, err := exec.LookPath("go"); err == nil {
		return path
	}
	return "/usr/local/go/bin/go"
}

const noopClients = 64

// noopHTTP measures jobs that do nothing from the outside.
func noopHTTP(_ context.Context, b *bench) error {
	do := func(c *conn, _ int) error { return waitNoop(c, b.path("jobs/run_wait_result/noop")) }
	if _, err := closedLoop(b.server, warmUp, do); err != nil {
		return fmt.Errorf("warm-up: %w", err)
	}
	got, err := closedLoop(b.server, b.n, do)
	if err != nil {
		return err
	}
	b.report.latency("noop_http_result", got)
	if _, _, err := saturate(b.server, noopClients, b.seconds/5, do); err != nil {
		return fmt.Errorf("warm-up: %w", err)
	}
	perSecond, n, err := saturate(b.server, noopClients, b.seconds, do)
	if err != nil {
		return err
	}
	b.report.set("noop_http_rate_c64", perSecond, "1/s", n)
	return nil
}

func waitNoop(c *conn, path string) error {
	status, answer, err := c.do("POST", path, "{}")
	if err == nil && (status != 200 && status != 201 || string(answer) != "null") {
		err = fmt.Errorf("status %d, answer %.300s, want null", status, answer)
	}
	return err
}
