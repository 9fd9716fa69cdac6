package main

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/millrace/millrace/cmd/internal/chaos/fault"
)

type options struct {
	kills  int
	faults []string
	seed   uint64
	limit  time.Duration
	daemon string
	out    string
	dir    string
	keep   bool
}

func parse(args []string) (options, error) {
	var o options
	var faults string
	fs := flag.NewFlagSet("chaos", flag.ContinueOnError)
	fs.IntVar(&o.kills, "kills", 200, "processes to kill, in all")
	fs.StringVar(&faults, "faults", "", "comma-separated `names`; empty: all of "+strings.Join(names(), ", "))
	fs.Uint64Var(&o.seed, "seed", 0, "of the plan; 0: a new one, which is printed")
	fs.DurationVar(&o.limit, "for", time.Hour, "begin no further fault after this long")
	fs.StringVar(&o.daemon, "daemon", ".build/bin/millrace", "the millrace `binary`")
	fs.StringVar(&o.out, "out", "", "`file` for the figures (JSON); a table for the manual lies beside it; empty: none")
	fs.StringVar(&o.dir, "dir", "/var/tmp", "`folder` for databases and ledgers, on a disk")
	fs.BoolVar(&o.keep, "keep", false, "keep databases, logs and ledgers; they are kept anyway when a promise was broken")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if fs.NArg() > 0 {
		return o, fmt.Errorf("chaos takes no argument %q; see --help", fs.Arg(0))
	}
	if o.faults = names(); faults != "" {
		o.faults = strings.Split(faults, ",")
	}
	for _, name := range o.faults {
		if !slices.Contains(names(), name) {
			return o, fmt.Errorf("--faults %q: there are %s", name, strings.Join(names(), ", "))
		}
	}
	if o.kills < 1 {
		return o, errors.New("--kills must be at least 1")
	}
	if o.seed == 0 {
		o.seed = rand.Uint64N(1 << 32)
	}
	return o, nil
}

func names() (out []string) {
	for _, f := range fault.All() {
		out = append(out, f.Name)
	}
	return out
}

// step is a fault and how often it hits.
type step struct {
	fault.Fault
	hits int
}

// plan deals the kills to the chosen faults by their shares, each at least one, and adds the faults that kill nobody.
func plan(all []fault.Fault, chosen []string, kills int) []step {
	var out []step
	shares := 0
	for _, f := range all {
		if slices.Contains(chosen, f.Name) {
			out = append(out, step{Fault: f})
			shares += f.Share
		}
	}
	dealt, seen := 0, 0
	for i := range out {
		f := &out[i]
		if f.Share == 0 {
			f.hits = f.Hits(kills)
			continue
		}
		seen += f.Share // rounded so that the sum is right
		f.hits = max(1, kills*seen/shares-dealt)
		dealt += f.hits
	}
	return out
}
