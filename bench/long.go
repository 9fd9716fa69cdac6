package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// The long measurements are commands of their own: they take minutes to hours, need no daemon, and write a file each.

type longOptions struct {
	during time.Duration
	rate   int
	rows   int
	out    string
}

// long is a command that runs one test of engine/queue, which writes what it saw to a file.
type long struct {
	name, out string
	flags     func(*flag.FlagSet, *longOptions)
	run       func(context.Context, longOptions) error
}

var longs = []long{
	{"soak", "bench/results/soak.json", func(fs *flag.FlagSet, o *longOptions) {
		fs.DurationVar(&o.during, "time", 30*time.Minute, "how long the load lasts")
		fs.IntVar(&o.rate, "rate", 10_000, "jobs a second")
	}, soak},
	{"growth", "bench/results/growth.json", func(fs *flag.FlagSet, o *longOptions) {
		fs.IntVar(&o.rows, "rows", 10_000_000, "completed jobs to grow to, from a thousand by tens")
	}, growth},
}

// runLong runs the long measurement that the arguments name; found is false when they name none.
func runLong(ctx context.Context, args []string) (found bool, err error) {
	for _, l := range longs {
		if len(args) == 0 || args[0] != l.name {
			continue
		}
		o := longOptions{out: l.out}
		fs := flag.NewFlagSet("bench "+l.name, flag.ContinueOnError)
		fs.StringVar(&o.out, "out", l.out, "`file` for the figures")
		l.flags(fs, &o)
		if err := fs.Parse(args[1:]); err != nil {
			return true, err
		}
		if fs.NArg() > 0 {
			return true, fmt.Errorf("bench %s takes no argument %q", l.name, fs.Arg(0))
		}
		return true, l.run(ctx, o)
	}
	return false, nil
}

// longTest runs a test and reads the file that it leaves into into, also when it fails.
func longTest(ctx context.Context, name string, limit time.Duration, env []string, into any) error {
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // a temporary folder
	file := filepath.Join(dir, "report.json")
	testErr := goTest(ctx, os.Stdout, append(env, "MILLRACE_BENCH_OUT="+file), "-run", "^"+name+"$", "-v", "-count=1", "-timeout", limit.String())
	b, err := os.ReadFile(file)
	if err != nil {
		return errors.Join(testErr, err)
	}
	return errors.Join(testErr, json.Unmarshal(b, into))
}

// soakFile is bench/results/soak.json.
type soakFile struct {
	Machine machine    `json:"machine"`
	Soak    soakReport `json:"soak"`
}

// soakReport is what TestSoak of engine/queue writes; the samples are kept as they are.
type soakReport struct {
	Seconds   float64           `json:"seconds"`
	Rate      int               `json:"rate"`
	Pushed    int64             `json:"pushed"`
	Completed int64             `json:"completed"`
	Ran       int64             `json:"ran"`
	Left      int64             `json:"left"`
	StartP50  float64           `json:"start_p50_ms"`
	StartP99  float64           `json:"start_p99_ms"`
	StartMax  float64           `json:"start_max_ms"`
	WALPerJob float64           `json:"wal_bytes_per_job"`
	OwnCPU    float64           `json:"own_cpu_us_per_job"`
	ServerCPU float64           `json:"server_cpu_us_per_job"`
	Growth    []tendency        `json:"growth"`
	Samples   []json.RawMessage `json:"samples"`
	Failures  []string          `json:"failures"`
}

// tendency is the line that was fitted to a value after the warm-up.
type tendency struct {
	Name    string  `json:"name"`
	From    float64 `json:"from"`
	To      float64 `json:"to"`
	Allowed float64 `json:"allowed"`
}

// soakStartP99 is what the start of a job should take during a soak. A machine that does other things misses it, so that it is
// reported and no more.
const soakStartP99 = 10.0

// soak runs a steady load for a long time. It fails when jobs are missing or memory or tables grow.
func soak(ctx context.Context, o longOptions) error {
	if o.during <= 0 || o.rate <= 0 {
		return errors.New("--time and --rate must be more than nothing")
	}
	if err := hasSpace(o.during.Seconds() * float64(o.rate)); err != nil {
		return fmt.Errorf("%w: give a shorter --time", err)
	}
	f := soakFile{Machine: machineNow()}
	watch := startWatch()
	err := longTest(ctx, "TestSoak", o.during+20*time.Minute, []string{"MILLRACE_SOAK=" + o.during.String(),
		fmt.Sprintf("MILLRACE_SOAK_RATE=%d", o.rate)}, &f.Soak)
	_, f.Machine.Steal["soak"] = watch.share()
	if f.Soak.Rate == 0 {
		return err // it has not come to its report
	}
	err = errors.Join(err, writeJSON(o.out, f))
	f.Soak.print(os.Stdout)
	return err
}

func (r soakReport) print(w io.Writer) {
	_, _ = fmt.Fprintf(w, "\n%d jobs in %.0f s, %.0f a second of %d; %d started, %d completed, %d left\n", r.Pushed, r.Seconds,
		float64(r.Pushed)/r.Seconds, r.Rate, r.Ran, r.Completed, r.Left)
	verdict := ""
	if r.StartP99 > soakStartP99 {
		verdict = "  missed"
	}
	_, _ = fmt.Fprintf(w, "start p50 %.2f ms, p99 %.2f ms (target %.0f)%s, max %.0f ms\n", r.StartP50, r.StartP99, soakStartP99, verdict, r.StartMax)
	_, _ = fmt.Fprintf(w, "a job: %.0f bytes of WAL, %.0f us of the server's CPU, %.0f us of this side's\n", r.WALPerJob, r.ServerCPU, r.OwnCPU)
	for _, g := range r.Growth {
		verdict := "flat"
		if g.To-g.From > g.Allowed {
			verdict = "GROWS"
		}
		_, _ = fmt.Fprintf(w, "%-32s %8.1f -> %8.1f  %s\n", g.Name, g.From, g.To, verdict)
	}
	for _, f := range r.Failures {
		_, _ = fmt.Fprintln(w, "failed:", f)
	}
}

// growthFile is bench/results/growth.json.
type growthFile struct {
	Machine machine      `json:"machine"`
	Growth  growthReport `json:"growth"`
}

// growthReport is what TestGrowth of engine/queue writes.
type growthReport struct {
	Rows    []int        `json:"rows"`
	SizeMB  []float64    `json:"size_mb"`
	Costs   []growthCost `json:"costs"`
	Backlog int          `json:"backlog"`
}

type growthCost struct {
	Name  string    `json:"name"`
	Title string    `json:"title"`
	N     int       `json:"n"`
	CPU   []float64 `json:"server_cpu_us"`
	P50   []float64 `json:"p50_us"`
	P99   []float64 `json:"p99_us"`
}

const (
	bytesPerJob = 500     // of the tables, their indexes included
	walSpace    = 6 << 30 // what the server keeps of its log at most, and some more
)

// hasSpace says whether the disk bears that many jobs.
func hasSpace(jobs float64) error {
	var fs unix.Statfs_t
	if err := unix.Statfs(diskFolder, &fs); err != nil {
		return fmt.Errorf("%s: %w", diskFolder, err)
	}
	if free, need := float64(fs.Bavail)*float64(fs.Bsize), jobs*bytesPerJob+walSpace; free < need {
		return fmt.Errorf("%s has %.0f GB left, %.0f jobs need %.0f", diskFolder, free/1e9, jobs, need/1e9)
	}
	return nil
}

// growth measures what a job costs while the history grows, and draws it.
func growth(ctx context.Context, o longOptions) error {
	if o.rows < 1000 {
		return errors.New("--rows must be at least 1000")
	}
	if err := hasSpace(float64(o.rows)); err != nil {
		return fmt.Errorf("%w: give fewer --rows", err)
	}
	f := growthFile{Machine: machineNow()}
	watch := startWatch()
	err := longTest(ctx, "TestGrowth", 2*time.Hour, []string{fmt.Sprintf("MILLRACE_GROWTH=%d", o.rows)}, &f.Growth)
	_, f.Machine.Steal["growth"] = watch.share()
	if len(f.Growth.Rows) == 0 {
		return err
	}
	f.Growth.print(os.Stdout)
	svg := o.out[:len(o.out)-len(filepath.Ext(o.out))] + ".svg"
	return errors.Join(err, writeJSON(o.out, f), os.WriteFile(svg, f.Growth.chart(), 0o644))
}

func (r growthReport) print(w io.Writer) {
	_, _ = fmt.Fprintf(w, "\nus of the server's CPU for one, by completed jobs in the tables (%d queued)\n%-36s", r.Backlog, "")
	for _, n := range r.Rows {
		_, _ = fmt.Fprintf(w, "%10d", n)
	}
	_, _ = fmt.Fprintf(w, "    last/first\n")
	for _, c := range r.Costs {
		_, _ = fmt.Fprintf(w, "%-36s", c.Title)
		for _, v := range c.CPU {
			_, _ = fmt.Fprintf(w, "%10.0f", v)
		}
		_, _ = fmt.Fprintf(w, "%12.2f\n", c.ratio())
	}
}

// ratio is how much more the last step costs than the first.
func (c growthCost) ratio() float64 {
	if len(c.CPU) == 0 || c.CPU[0] == 0 {
		return 0
	}
	return c.CPU[len(c.CPU)-1] / c.CPU[0]
}

// machineNow describes this machine, with the disk on which tests keep their databases.
func machineNow() machine {
	r := newReport()
	r.readMachine(diskFolder)
	return r.Machine
}

func writeJSON(file string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, append(b, '\n'), 0o644)
}
