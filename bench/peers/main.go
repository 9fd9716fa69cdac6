// Command peers runs real systems beside Millrace on one machine and compares them in one run. README.md beside it says how, what
// each figure means and what was decided for each peer. It has three commands: `peers install` installs them, `peers run` does that too,
// measures and writes bench/results/peers.json, `peers report` draws what is in there.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

type options struct {
	peers  []string // names of variants
	works  []string
	all    bool // variants, not only the best tuned of each peer
	quick  bool
	smoke  bool
	delay  time.Duration // added to every flush of PostgreSQL and Redis
	slots  int
	scale  bool // clients, jobs and slots
	rounds int
	out    string
	merge  bool
	note   string
	folder string // of the peers
	build  string // where they are installed and keep their data
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := command(ctx, os.Args[1:])
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

func command(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New("say install, run or report; peers run --help lists the flags")
	}
	switch args[0] {
	case "run", "install":
		o, err := parse(args[1:])
		if err != nil {
			return err
		}
		return run(ctx, o, args[0] == "install")
	case "report":
		fs := flag.NewFlagSet("peers report", flag.ContinueOnError)
		in := fs.String("in", "bench/results/peers.json", "`file` with the figures")
		out := fs.String("out", "bench/results/peers.html", "`file` for the page; the table goes beside it with the ending .md")
		readme := fs.String("readme", "", "`file` whose table of peers is to be written anew, between the marks in it")
		published := fs.String("published", "bench/peers/published.json", "`file` with figures of systems that have no adapter here")
		if err := fs.Parse(args[1:]); err != nil {
			return err
		}
		return writeReport(*in, *published, *out, *readme)
	}
	return fmt.Errorf("%q is no command: say install, run or report", args[0])
}

func parse(args []string) (options, error) {
	var o options
	var peers, works string
	fs := flag.NewFlagSet("peers run", flag.ContinueOnError)
	fs.StringVar(&peers, "peers", "", "comma-separated `names` of peers, as in the config.json of each; without it the best tuned one of each folder")
	fs.BoolVar(&o.all, "all", false, "every variant: those that users find, too, with fewer repetitions than the best tuned one")
	fs.StringVar(&works, "works", "", "comma-separated `works`: "+strings.Join(workNames(), ", "))
	fs.BoolVar(&o.quick, "quick", false, "few repetitions: ten minutes, wide intervals")
	fs.BoolVar(&o.smoke, "smoke", false, "only see that the peers work: a few runs of each, results checked, figures worthless")
	fs.DurationVar(&o.delay, "flush-delay", 0, "`time` to add to every flush of PostgreSQL and Redis, as a slower disk would")
	fs.IntVar(&o.slots, "slots", 0, "jobs at a time for peers with worker processes, and for Millrace; 0: 2 for each core")
	fs.BoolVar(&o.scale, "scale", false, "how cost grows: 1 to 256 clients, 1,000 to 1,000,000 jobs, and 1, 2 and 4 slots for each core")
	fs.IntVar(&o.rounds, "rounds", 0, "`times` that each system has its turn at each work; 0: 3, or 2 with --quick, and 1 for what takes long")
	fs.StringVar(&o.out, "out", "bench/results/peers.json", "`file` for the figures")
	fs.BoolVar(&o.merge, "merge", false, "keep the figures of --out that this run does not measure")
	fs.StringVar(&o.note, "note", "", "a `sentence` to keep with the figures")
	fs.StringVar(&o.folder, "folder", "bench/peers", "`folder` of the peers")
	fs.StringVar(&o.build, "build", ".build/peers", "`folder` where they are installed and keep their data")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if fs.NArg() > 0 {
		return o, fmt.Errorf("peers run takes no argument %q; see --help", fs.Arg(0))
	}
	o.peers, o.works = split(peers), split(works)
	for _, w := range o.works {
		if !slices.Contains(workNames(), w) {
			return o, fmt.Errorf("--works %q: there are %s", w, strings.Join(workNames(), ", "))
		}
	}
	if o.slots == 0 {
		o.slots = slotsPerCore * cores()
	}
	var err error
	if o.folder, err = filepath.Abs(o.folder); err == nil {
		o.build, err = filepath.Abs(o.build)
	}
	return o, err
}

const slotsPerCore = 2

func split(list string) []string {
	if list == "" {
		return nil
	}
	return strings.Split(list, ",")
}

// run measures each peer beside Millrace, or installs them only. A peer that fails is reported and does not keep the others from running.
func run(ctx context.Context, o options, onlyInstall bool) error {
	all, err := readPeers(o.folder)
	if err != nil {
		return err
	}
	chosen, err := choose(all, o.peers)
	if err != nil {
		return err
	}
	if !o.all && o.peers == nil {
		chosen = onlyTuned(chosen)
	}
	chosen = tunedFirst(chosen)
	if onlyInstall {
		ours, err := find(all, own[0])
		if err != nil {
			return err
		}
		return installAll(ctx, append([]variant{ours}, chosen...), o.build)
	}
	if o.delay > 0 {
		chosen = slices.DeleteFunc(chosen, func(v variant) bool {
			if v.config.Store == "own" {
				fmt.Printf("== %s is left out: the flushes of a store of its own cannot be slowed\n", v.Title)
			}
			return v.config.Store == "own"
		})
	}
	res := newResults(o)
	if o.merge {
		if err := res.load(o.out); err != nil {
			return err
		}
	}
	if err := errors.Join(os.MkdirAll(o.build, 0o755), res.look()); err != nil {
		return err
	}
	mark := fmt.Sprintf("PEERS_RUN=%d", os.Getpid())
	defer endMarked(mark)
	s := session{options: o, results: res, mark: mark}
	series := []int{o.slots}
	if o.scale {
		series = nil
		for _, n := range slotSeries {
			series = append(series, n*cores())
		}
	}
	var errs []error
	for _, s.slots = range series {
		errs = append(errs, s.all(ctx, all, chosen))
		if ctx.Err() != nil {
			return errors.New("interrupted")
		}
	}
	return errors.Join(errs...)
}

// all measures peer after peer.
func (s session) all(ctx context.Context, all, chosen []variant) error {
	var errs []error
	if !s.smoke { // ours have tests of their own
		s.lanes = &lanes{}
		defer func() { s.lanes.end(s) }()
		if !s.scale {
			err := s.lanes.first(ctx, s, all)
			errs = append(errs, err)
			s.results.fail(own[0], err)
		}
	}
	for _, v := range chosen {
		if ctx.Err() != nil {
			break
		}
		began := time.Now()
		fmt.Printf("== %s\n", v.Title)
		s.results.describe(v, "")
		err := s.measure(ctx, all, v)
		if ctx.Err() != nil {
			err = errors.New("interrupted")
		}
		s.results.fail(v.Name, err)
		if err != nil {
			fmt.Printf("   failed: %v\n", err)
			errs = append(errs, fmt.Errorf("%s: %w", v.Name, err))
			if s.lanes != nil {
				s.lanes.end(s) // they may still be doing what nobody waits for
			}
		}
		// Also when interrupted: what was measured is whole.
		if err := errors.Join(s.results.look(), s.results.save()); err != nil {
			return err
		}
		fmt.Printf("   %.0f s\n", time.Since(began).Seconds())
	}
	return errors.Join(errs...)
}
