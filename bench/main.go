// Command bench measures a whole daemon from outside and writes bench/results/latest.json; README.md beside it says how to
// read the figures. It starts a daemon of its own in a new folder, or uses the one that --server names. `bench soak` and `bench
// growth` are the measurements that take long.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

type options struct {
	server    string // URL of a running daemon; "" starts one
	token     string
	workspace string
	daemon    string // the millrace binary
	data      string // where the own daemon keeps its data; "" is a new folder
	out       string
	parts     []string
	n         int           // samples of each closed loop
	seconds   time.Duration // of each saturation
	keep      bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	found, err := runLong(ctx, os.Args[1:])
	if !found {
		var o options
		if o, err = parse(os.Args[1:]); err == nil {
			err = run(ctx, o)
		}
	}
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func parse(args []string) (options, error) {
	var o options
	var only string
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.StringVar(&o.server, "server", "", "`URL` of a running daemon, as http://127.0.0.1:8000; without it one is started")
	fs.StringVar(&o.token, "token", os.Getenv("MILLRACE_TOKEN"), "a token for --server (or MILLRACE_TOKEN)")
	fs.StringVar(&o.workspace, "workspace", "main", "workspace to work in")
	fs.StringVar(&o.daemon, "daemon", ".build/bin/millrace", "the millrace `binary` to start")
	fs.StringVar(&o.data, "data", "", "data `folder` of the started daemon; without it a new one, removed at the end")
	fs.StringVar(&o.out, "out", "bench/results/latest.json", "`file` for the figures")
	fs.StringVar(&only, "only", "", "comma-separated `parts` to run: "+strings.Join(partNames(), ", "))
	fs.IntVar(&o.n, "n", 2000, "samples of each closed loop")
	fs.DurationVar(&o.seconds, "for", 10*time.Second, "how long each saturation lasts")
	fs.BoolVar(&o.keep, "merge", false, "keep the figures of --out that this run does not measure")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if fs.NArg() > 0 {
		return o, fmt.Errorf("bench takes no argument %q; see --help", fs.Arg(0))
	}
	if only == "" {
		o.parts = partNames()
	} else {
		o.parts = strings.Split(only, ",")
	}
	for _, p := range o.parts {
		if !slices.Contains(partNames(), p) {
			return o, fmt.Errorf("--only %q: there are %s", p, strings.Join(partNames(), ", "))
		}
	}
	if o.n < 10 || o.seconds <= 0 {
		return o, errors.New("--n must be at least 10 and --for more than nothing")
	}
	return o, nil
}

// run measures what o asks for. A part that fails is reported at the end and does not keep the others from running.
func run(ctx context.Context, o options) error {
	b := &bench{options: o, report: newReport()}
	if err := b.begin(ctx); err != nil {
		return err
	}
	defer b.end()
	b.report.readMachine(b.folder())
	var errs []error
	for _, p := range parts {
		if !slices.Contains(o.parts, p.name) {
			continue
		}
		if p.name != "startup" {
			if err := b.settled(ctx); err != nil {
				return err
			}
		}
		fmt.Printf("%-9s %s\n", p.name, p.title)
		watch := startWatch()
		if err := p.run(ctx, b); err != nil {
			fmt.Printf("          failed: %v\n", err)
			errs = append(errs, fmt.Errorf("%s: %w", p.name, err))
		}
		b.report.Machine.Load[p.name], b.report.Machine.Steal[p.name] = watch.share()
		if ctx.Err() != nil {
			return errors.New("interrupted")
		}
	}
	if err := b.report.save(o.out, o.keep); err != nil {
		return err
	}
	b.report.print(os.Stdout)
	return errors.Join(errs...)
}
