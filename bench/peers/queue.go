package main

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// probing is how long a system is asked for urgent jobs: one that reads a million rows for each takes minutes otherwise.
const probing = 20 * time.Second

// backlog fills a system's queue and times urgent jobs that come meanwhile.
func (s session) backlog(ctx context.Context, y *system, z size) error {
	if !s.wanted("W7") || !y.knows("backlog") || y.variant.config.Store != "postgres" || z.backlog == 0 {
		return nil
	}
	if _, err := y.ask(ctx, request{Op: "backlog", Work: "empty", N: z.backlog}); err != nil {
		return err
	}
	h := newHistogram()
	for i, end := 0, time.Now().Add(probing); i < z.probes && (i < z.least || time.Now().Before(end)); i++ {
		took, _, err := y.one(ctx, request{Work: "empty", Arg: i, Urgent: true})
		if err != nil {
			return fmt.Errorf("probe: %w", err)
		}
		if err := record(h, took); err != nil {
			return err
		}
	}
	return s.keep(y, work{name: "W7", key: "backlog", unit: "ms",
		title: fmt.Sprintf("urgent empty job with %d others queued", z.backlog)}, sample{value: float64(h.ValueAtQuantile(50)) / 1000, hist: h})
}

// pinned compares the throughput while a transaction holds an old snapshot with that without one, in the order A B B A.
func (s session) pinned(ctx context.Context, y *system, z size) error {
	if !s.wanted("W8") || y.variant.config.Store != "postgres" || z.pinned == 0 || !y.knows("backlog") {
		return nil
	}
	var free, held float64
	for _, hold := range []bool{false, true, true, false} {
		release := func() {}
		if hold {
			var err error
			if release, err = holdSnapshot(ctx, y.store.env); err != nil {
				return err
			}
		}
		n, err := saturate(ctx, y.adapter, "empty", z.pinClients, z.pinned)
		release()
		if err != nil {
			return fmt.Errorf("pinned: %w", err)
		}
		if hold {
			held += float64(n)
		} else {
			free += float64(n)
		}
	}
	return s.keep(y, work{name: "W8", key: "pinned", unit: "%", higher: true,
		title: fmt.Sprintf("throughput kept while a snapshot is held for %v", z.pinned)}, sample{value: 100 * held / free})
}

// holdSnapshot opens a transaction in psql and leaves it open until release is called.
func holdSnapshot(ctx context.Context, env []string) (release func(), err error) {
	values := map[string]string{}
	for _, e := range env {
		k, v, _ := strings.Cut(e, "=")
		values[k] = v
	}
	cmd := exec.CommandContext(ctx, filepath.Join(values["PG_BIN"], "psql"), "-qAtX", values["DATABASE_URL"])
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	release = func() {
		_ = in.Close() // ends psql, and with it the transaction
		_ = cmd.Wait()
	}
	if _, err = io.WriteString(in, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1;\n"); err == nil {
		_, err = io.ReadFull(out, make([]byte, 2))
	}
	if err != nil {
		release()
		return nil, fmt.Errorf("hold a snapshot: %w", err)
	}
	return release, nil
}
