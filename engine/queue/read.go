package queue

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store"
)

const maxPerPage = 1000

// Get returns everything known of a job but its logs.
func (q *Queue) Get(ctx context.Context, ws string, id uuid.UUID) (*engine.JobView, error) {
	v, err := q.cfg.DB.JobGet(ctx, ws, id)
	return v, missing(err, "job.get", id)
}

// Result is the cheap answer to "is it done, and what came out".
func (q *Queue) Result(ctx context.Context, ws string, id uuid.UUID) (*store.JobResult, error) {
	r, err := q.cfg.DB.JobResult(ctx, ws, id)
	return r, missing(err, "job.result", id)
}

// List returns a page of the jobs that f selects, in a stable order: by creation time, then id. Results, and arguments kept
// out of the row, are left out.
func (q *Queue) List(ctx context.Context, ws string, f engine.JobFilter) ([]*engine.JobView, error) {
	if f.Page == 0 {
		f.Page = 1
	}
	if f.PerPage == 0 {
		f.PerPage = 30
	}
	if f.Page < 1 || f.PerPage < 1 || f.PerPage > maxPerPage {
		return nil, engine.Errorf(engine.Invalid, "job.list", "pages are counted from 1 and hold 1 to %d jobs", maxPerPage)
	}
	for name, b := range map[string][]byte{"args": f.Args, "result": f.Result} {
		if len(b) == 0 {
			continue
		}
		if problem := checkJSON(b); problem != "" {
			return nil, engine.Errorf(engine.Invalid, "job.list", "the filter %s %s", name, problem)
		}
	}
	list, err := q.cfg.DB.JobList(ctx, ws, f)
	return list, wrap(err)
}

// Counts counts the queued and running jobs of a workspace.
func (q *Queue) Counts(ctx context.Context, ws string) (queued, running int64, err error) {
	queued, running, err = q.cfg.DB.JobCounts(ctx, ws)
	return queued, running, wrap(err)
}

// TagCounts counts the queued and running jobs of every tag.
func (q *Queue) TagCounts(ctx context.Context) ([]engine.TagCount, error) {
	out, err := q.cfg.DB.JobTagCounts(ctx)
	return out, wrap(err)
}

// Workers lists the live workers of this database.
func (q *Queue) Workers(ctx context.Context) ([]engine.WorkerView, error) {
	out, err := q.cfg.DB.WorkerList(ctx, q.cfg.Lease)
	return out, wrap(err)
}

// Why explains why a job is not running.
func (q *Queue) Why(ctx context.Context, ws string, id uuid.UUID) (*engine.Why, error) {
	a, err := q.cfg.DB.JobAhead(ctx, ws, id, q.cfg.Lease)
	if store.IsNotFound(err) {
		v, err := q.Get(ctx, ws, id)
		if err != nil {
			return nil, err
		}
		why := &engine.Why{State: v.State}
		if v.FinishedAt != nil {
			why.Reasons = []string{fmt.Sprintf("it is completed since %s", v.FinishedAt.Format(time.RFC3339))}
		}
		return why, nil
	}
	if err != nil {
		return nil, wrap(err)
	}
	why := &engine.Why{State: a.State, Ahead: a.Jobs, Workers: a.Workers, FreeSlots: a.FreeSlots}
	limit, ahead, err := q.gateReasons(ctx, ws, id)
	if limit != nil {
		a.Jobs, why.Ahead = ahead, ahead
	}
	why.Reasons = reasons(a, limit)
	return why, err
}

// reasons explains the place of a job; limit is what there is to say of its limit when it waits for one.
func reasons(a *store.Ahead, limit []string) (out []string) {
	if a.State == engine.StateRunning {
		return []string{"it is running"}
	}
	if a.Later {
		out = append(out, "it is scheduled for "+a.ScheduledFor.UTC().Format(time.RFC3339))
	}
	if a.Attempt > 0 {
		out = append(out, fmt.Sprintf("it was handed back after attempt %d", a.Attempt))
	}
	if a.Workers == 0 {
		return append(out, "no worker takes tag "+a.Tag)
	}
	if a.Later {
		return out
	}
	if out = append(out, limit...); limit == nil && a.FreeSlots == 0 {
		out = append(out, fmt.Sprintf("all slots of the workers that take tag %s are busy", a.Tag))
	}
	switch {
	case a.Jobs == 1:
		out = append(out, "1 job is ahead")
	case a.Jobs > 1:
		out = append(out, fmt.Sprintf("%d jobs are ahead", a.Jobs))
	case a.FreeSlots > 0 && limit == nil:
		out = append(out, "it is next")
	}
	return out
}

// missing turns "no row" into the error that says so.
func missing(err error, op string, id uuid.UUID) error {
	if store.IsNotFound(err) {
		return &engine.Error{Code: engine.NotFound, Op: op, Path: id.String(), Msg: "there is no such job in this workspace"}
	}
	return wrap(err)
}
