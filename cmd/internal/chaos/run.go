package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/millrace/millrace/cmd/internal/chaos/fault"
)

// run inflicts the planned faults one after the other.
func run(ctx context.Context, o options, out io.Writer) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	daemon, err := filepath.Abs(o.daemon)
	if err != nil {
		return err
	}
	base, err := os.MkdirTemp(o.dir, "millrace-chaos-")
	if err != nil {
		return err
	}
	if err := os.Chmod(base, 0o755); err != nil { // the server and the daemon run as other users
		return err
	}
	steps := plan(fault.All(), o.faults, o.kills)
	fmt.Fprintf(out, "chaos: %d faults, seed %d\n", len(steps), o.seed)
	began := time.Now()
	rep := newReport(o)
	for i, st := range steps {
		if ctx.Err() != nil || time.Since(began) > o.limit {
			break
		}
		s := &fault.Stage{Dir: filepath.Join(base, st.Name), Self: self, Daemon: daemon, Seed: o.seed + uint64(i), Hits: st.hits}
		r := st.Inflict(ctx, s)
		rep.Faults = append(rep.Faults, r)
		fmt.Fprintln(out, line(r))
		if r.OK() && !o.keep {
			os.RemoveAll(s.Dir) // it is of no further use
		}
	}
	rep.Seconds = time.Since(began).Round(time.Second).Seconds()
	fmt.Fprint(out, "\n", rep.table())
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	if o.out != "" {
		if err := rep.save(o.out); err != nil {
			return err
		}
	}
	if bad := rep.bad(); len(bad) > 0 {
		return fmt.Errorf("%s; databases, logs and ledgers are in %s, the plan's seed is %d", strings.Join(bad, "; "), base, o.seed)
	}
	if !o.keep {
		os.RemoveAll(base)
	}
	return nil
}
