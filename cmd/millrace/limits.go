package main

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/sandbox"
)

const (
	limitsUsage = "what a run may use that asks for nothing, such as `memory_mb=1024,pids=256,work_mb=512,open_files=1024,output_mb=20`; further cpu (cores), " +
		"swap_mb and io_mb (a second, to and from each disk), which are 0: no quota, no swap, no bound"
	maxLimitsUsage = "the most that a script may ask for: `memory_mb, cpu, pids, work_mb, open_files and output_mb`; what is left out is bounded by what this host has"
)

// What a script may ask for when nothing else is said: enough for any, and far from what a host has.
const (
	maxPids     = 4096
	maxFiles    = 65536 // as far as this process could open as many, which no process in a slot can exceed
	maxOutputMB = 100   // kept in memory while the run lives, and in the database after it
)

// openFiles is how many files a process of this host may have open.
func openFiles() int {
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil || r.Max > maxFiles {
		return maxFiles
	}
	return int(r.Max)
}

// parsePairs reads "name=number,..." into the given fields; zero is allowed, what is not named stays.
func parsePairs(flag, text string, fields map[string]func(float64)) error {
	if text == "" {
		return nil
	}
	for pair := range strings.SplitSeq(text, ",") {
		name, value, ok := strings.Cut(strings.TrimSpace(pair), "=")
		set := fields[name]
		if set == nil || !ok {
			return fmt.Errorf("--%s %q: there is no %q; give %s", flag, text, name, "memory_mb=1024,pids=256 and the like, see --help")
		}
		n, err := strconv.ParseFloat(value, 64)
		if err != nil || n < 0 || n > 1<<30 || math.IsNaN(n) {
			return fmt.Errorf("--%s %q: %s is %q, which is no number from 0 on", flag, text, name, value)
		}
		set(n)
	}
	return nil
}

func whole[T int | int64](to *T, unit T) func(float64) {
	return func(n float64) { *to = T(n) * unit }
}

// checkLimits reads --limits and --max-limits.
func (c *config) checkLimits(limits, most string) error {
	l, m := sandbox.Limits{}, engine.LimitOptions{}
	err := errors.Join(
		parsePairs("limits", limits, map[string]func(float64){
			"memory_mb": whole(&l.Memory, 1<<20), "swap_mb": whole(&l.Swap, 1<<20), "pids": whole(&l.Pids, 1),
			"cpu": func(n float64) { l.CPU = n }, "work_mb": whole(&l.WorkSize, 1<<20), "io_mb": whole(&l.IO, 1<<20),
			"open_files": whole(&l.OpenFiles, 1), "output_mb": whole(&l.Output, 1<<20),
		}),
		parsePairs("max-limits", most, map[string]func(float64){
			"memory_mb": whole(&m.MemoryMB, 1), "pids": whole(&m.Pids, 1), "cpu": func(n float64) { m.CPU = n }, "work_mb": whole(&m.WorkMB, 1),
			"open_files": whole(&m.OpenFiles, 1), "output_mb": whole(&m.OutputMB, 1),
		}))
	if err != nil {
		return err
	}
	memory := memoryTotal() >> 20
	m.MemoryMB, m.CPU = cmp.Or(m.MemoryMB, memory), cmp.Or(m.CPU, float64(runtime.NumCPU()))
	m.Pids, m.WorkMB = cmp.Or(m.Pids, maxPids), cmp.Or(m.WorkMB, memory)
	m.OpenFiles, m.OutputMB = cmp.Or(m.OpenFiles, openFiles()), cmp.Or(m.OutputMB, maxOutputMB)
	// Who lowers the maximum below the defaults means the defaults too.
	d := l.WithDefaults()
	if m.MemoryMB > 0 {
		l.Memory = min(d.Memory, m.MemoryMB<<20)
	}
	if m.WorkMB > 0 {
		l.WorkSize = min(d.WorkSize, m.WorkMB<<20)
	}
	l.Pids, l.OpenFiles, l.Output = min(d.Pids, m.Pids), min(d.OpenFiles, m.OpenFiles), min(d.Output, m.OutputMB<<20)
	if err := asked(l).Check(); err != nil {
		return fmt.Errorf("--limits, --max-limits: %w", err)
	}
	c.limits, c.maxLimits = l, m
	return nil
}

// asked is l as a script would ask for it.
func asked(l sandbox.Limits) engine.LimitOptions {
	return engine.LimitOptions{MemoryMB: l.Memory >> 20, CPU: l.CPU, Pids: l.Pids, WorkMB: l.WorkSize >> 20, OpenFiles: l.OpenFiles, OutputMB: l.Output >> 20}
}
