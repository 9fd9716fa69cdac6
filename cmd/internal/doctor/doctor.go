// Package doctor finds out what this host can do for Millrace and how to mend what is missing. It only looks: the one thing it
// writes is a scratch file in the data folder (or the nearest folder above it that exists) to time the disk.
//
// A Check that is Missing keeps the daemon from its work; one with a Warning means that something works less well. A
// Report is the JSON contract of "millrace doctor --json".
package doctor

import (
	"context"
	"sync"

	"github.com/millrace/millrace/runtimes"
	"github.com/millrace/millrace/sandbox"
)

// Status of one check.
type Status string

// The statuses.
const (
	OK      Status = "ok"
	Warning Status = "warning"
	Missing Status = "missing"
)

// Check is one fact about the host.
type Check struct {
	Area   string `json:"area"` // "kernel", "sandbox", "gpu", "languages", "postgres", "disk"
	Name   string `json:"name"`
	Status Status `json:"status"`
	Value  string `json:"value"`         // what was found
	Why    string `json:"why,omitempty"` // what it means, when it is not ok
	Fix    string `json:"fix,omitempty"` // how to mend it, when it is not ok
}

// Isolation is what the walls of jobs will be.
type Isolation struct {
	Mode  string `json:"mode"` // "full", "rootless" or "none"
	Lacks []Lack `json:"lacks"`
}

// Lack is a wall that full isolation would have.
type Lack struct {
	What string `json:"what"`
	Why  string `json:"why"`
	Fix  string `json:"fix"`
}

// Report is the whole answer. OK is false when any check is Missing.
type Report struct {
	OK        bool      `json:"ok"`
	Isolation Isolation `json:"isolation"`
	Disk      *Disk     `json:"disk"` // nil when it could not be measured
	Checks    []Check   `json:"checks"`
}

// Config says what to look at.
type Config struct {
	Data        string // the data folder, which may not exist yet
	Lib         string // folder of the product's helpers; "" when it was not found
	DatabaseURL string // set: the private Postgres is not needed
	Registry    *runtimes.Registry
	// Strength, when set, says what the isolator of this host lacks; otherwise it is judged from what the kernel offers.
	Strength func(context.Context) (sandbox.Strength, error)
}

// Examine looks at the host.
func Examine(ctx context.Context, c Config) Report {
	host := readHost()
	var languages, postgres []Check
	var wg sync.WaitGroup // both start programs to ask for versions
	wg.Go(func() { languages = checkLanguages(ctx, c.Registry, c.Lib) })
	wg.Go(func() { postgres = checkPostgres(ctx, c.DatabaseURL) })
	wg.Wait()

	var r Report
	r.Checks = append(r.Checks, host.checkKernel()...)
	r.Checks = append(r.Checks, host.checkSandbox()...)
	r.Checks = append(r.Checks, checkGPUs("/")...)
	r.Checks = append(r.Checks, checkLib(c.Lib))
	r.Checks = append(r.Checks, languages...)
	r.Checks = append(r.Checks, postgres...)
	var disk []Check
	disk, r.Disk = checkDisk(c.Data) // last and alone, so that nothing else disturbs the measurement
	r.Checks = append(r.Checks, disk...)
	r.Isolation = isolation(ctx, c, host)
	r.OK = true
	for _, check := range r.Checks {
		r.OK = r.OK && check.Status != Missing
	}
	return r
}

func isolation(ctx context.Context, c Config, h host) Isolation {
	strength := h.strength()
	if c.Strength != nil {
		said, err := c.Strength(ctx)
		if err != nil {
			said = sandbox.Strength{Mode: "none", Lacks: []sandbox.Lack{{What: sandbox.LackWalls, Why: err.Error(),
				Fix: "mend what the checks above call missing"}}}
		}
		strength = said
	}
	out := Isolation{Mode: strength.Mode, Lacks: []Lack{}}
	for _, l := range strength.Lacks {
		out.Lacks = append(out.Lacks, Lack(l))
	}
	return out
}
