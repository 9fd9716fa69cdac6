package store

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"

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
func (db *DB) listHanded(ctx context.Context, ws string, f engine.JobFilter, offset, limit int) ([]*engine.JobView, error) {
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
	part := func(states []engine.JobState, offset, limit int) ([]*engine.JobView, error) {
		g := f
		g.States = slices.Clone(states)
		if len(f.States) > 0 {
			g.States = slices.DeleteFunc(g.States, func(s engine.JobState) bool { return !slices.Contains(f.States, s) })
		}
		if len(g.States) == 0 {
			return nil, nil
		}
		return db.jobList(ctx, ws, g, offset, limit)
	}
	out, err := part(handed[0], 0, offset+limit)
	if err != nil {
		return nil, err
	}
	// All that runs may be before the page, or none: so many more of those that completed can be in it. What is left out here is before
	// the page in any case.
	skip := max(0, offset-len(out))
	ended, err := part(handed[1], skip, offset+limit-skip)
	if err != nil {
		return nil, err
	}
	// A job that completed between the two is in both; later it will be what it is in the second.
	over := make(map[uuid.UUID]bool, len(ended))
	for _, v := range ended {
		over[v.ID] = true
	}
	out = slices.DeleteFunc(out, func(v *engine.JobView) bool { return over[v.ID] })
	out = append(out, ended...)
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
	first := min(offset-skip, len(out))
	return out[first:min(first+limit, len(out))], nil
}
