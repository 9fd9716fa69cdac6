package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/millrace/millrace/cmd/internal/doctor"
)

var doctorCommand = command{
	name: "doctor", usage: "[--data DIR]", short: "say what this host can do and how to mend what is missing",
	long: "\nThe exit status is 1 when something is missing without which the daemon can not work.",
	new: func(c *call) func(context.Context) error {
		cfg := doctor.Config{Registry: c.cfg.Registry, Strength: c.cfg.Strength}
		c.flags.StringVar(&cfg.Data, "data", c.or("MILLRACE_DATA", c.usualData()), "data `folder` of the daemon")
		c.flags.StringVar(&cfg.DatabaseURL, "database-url", c.env("MILLRACE_DATABASE_URL"), "`URL` when the daemon uses a PostgreSQL of yours")
		return func(ctx context.Context) error {
			if err := c.want(); err != nil {
				return err
			}
			if c.cfg.Lib != nil {
				if lib, err := c.cfg.Lib(); err == nil {
					cfg.Lib = lib
				}
			}
			report := doctor.Examine(ctx, cfg)
			if c.json {
				if err := c.printJSON(report); err != nil {
					return err
				}
			} else {
				c.printReport(report)
			}
			if !report.OK {
				return errSaid
			}
			return nil
		}
	},
}

// usualData is the data folder that serve takes by itself, or the one of the checkout that we stand in.
func (c *call) usualData() string {
	if _, err := os.Stat(".data"); err == nil {
		return ".data"
	}
	if os.Geteuid() != 0 && c.env("HOME") != "" {
		return filepath.Join(c.env("HOME"), ".local", "share", "millrace")
	}
	return "/var/lib/millrace"
}

func (c *call) printReport(r doctor.Report) {
	area := ""
	for _, check := range r.Checks {
		name := check.Area
		if name == area {
			name = ""
		}
		area = check.Area
		fmt.Fprintf(c.stdout, "%-10s %-8s %-16s %s\n", name, check.Status, check.Name, check.Value)
		for _, line := range []string{check.Why, check.Fix} {
			if check.Status != doctor.OK && line != "" {
				fmt.Fprintf(c.stdout, "%-10s %-8s %-16s -> %s\n", "", "", "", line)
			}
		}
	}
	fmt.Fprintf(c.stdout, "\nisolation of jobs: %s\n", r.Isolation.Mode)
	for _, l := range r.Isolation.Lacks {
		fmt.Fprintf(c.stdout, "  lacks %s: %s\n  -> %s\n", l.What, l.Why, l.Fix)
	}
	switch missing := count(r, doctor.Missing); {
	case missing > 0:
		fmt.Fprintf(c.stdout, "\n%d missing: the daemon can not work here until that is mended\n", missing)
	case count(r, doctor.Warning) > 0:
		fmt.Fprintf(c.stdout, "\nthe daemon can work here, with the limits said above\n")
	default:
		fmt.Fprintf(c.stdout, "\neverything is there\n")
	}
}

func count(r doctor.Report, s doctor.Status) int {
	n := 0
	for _, check := range r.Checks {
		if check.Status == s {
			n++
		}
	}
	return n
}
