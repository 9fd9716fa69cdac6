package store

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/millrace/millrace/engine"
)

// handed are the states of jobs that a worker has or had: what it runs, and what completed.
var handed = [2][]engine.JobState{{engine.StateRunning}, {engine.StateSuccess, engine.StateFailure, engine.StateCanceled}}

// inTwo says that f selects only jobs that a worker has or had, and not only of one of those.
func inTwo(f engine.JobFilter) bool {
	within := func(states []engine.JobState) bool {
		return len(f.States) > 0 && !slices.ContainsFunc(f.States, func(s engine.JobState) bool { return !slices.Contains(states, s) })
	}
	return (f.Worker != "" || within(slices.Concat(handed[:]...))) && !within(handed[0]) && !within(handed[1])
}

// listHanded is a list of jobs that a worker has or had: what runs and what completed, each found without a look at what waits, and
// merged.
func (db *DB) listHanded(ctx context.Context, ws string, f engine.JobFilter) ([]*engine.JobView, error) {
	known := f.Worker == ""
	if !known {
		err := db.read(ctx, func() error { return db.quick.QueryRow(ctx, q("WorkerKnown"), f.Worker).Scan(&known) })
		if err != nil {
			return nil, fmt.Errorf("list jobs: %w", err)
		}
	}
	if !known {
		return nil, nil
	}
	first := (f.Page - 1) * f.PerPage
	var out []*engine.JobView
	for _, part := range handed {
		g := f
		g.Page, g.PerPage, g.States = 1, first+f.PerPage, nil
		for _, s := range part {
			if len(f.States) == 0 || slices.Contains(f.States, s) {
				g.States = append(g.States, s)
			}
		}
		if g.States == nil {
			continue
		}
		jobs, err := db.JobList(ctx, ws, g)
		if err != nil {
			return nil, err
		}
		// A job that completed between the two is in both; later it will be what it is in the second.
		out = slices.DeleteFunc(out, func(o *engine.JobView) bool {
			return slices.ContainsFunc(jobs, func(v *engine.JobView) bool { return v.ID == o.ID })
		})
		out = append(out, jobs...)
	}
	slices.SortFunc(out, func(a, b *engine.JobView) int {
		order := bytes.Compare(a.ID[:], b.ID[:])
		if f.Batch == nil {
			order = cmp.Or(a.CreatedAt.Compare(b.CreatedAt), order)
		}
		if !f.Ascending {
			order = -order
		}
		return order
	})
	return out[min(first, len(out)):min(first+f.PerPage, len(out))], nil
}
