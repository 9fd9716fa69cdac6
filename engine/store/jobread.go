package store

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/millrace/millrace/engine"
)

// JobGet returns everything known of a job but its logs; see IsNotFound.
func (db *DB) JobGet(ctx context.Context, ws string, id uuid.UUID) (*engine.JobView, error) {
	views, err := db.views(ctx, db.quick, withColumns(q("JobGet")), [16]byte(id), ws)
	if err == nil && len(views) == 0 {
		err = pgx.ErrNoRows
	}
	if err != nil {
		return nil, fmt.Errorf("read job %s: %w", id, err)
	}
	return views[0], nil
}

// JobResult is the cheap answer to "is it done, and what came out".
type JobResult struct {
	State    engine.JobState
	Started  *time.Time
	Finished *time.Time // nil: not completed
	Result   json.RawMessage
}

// JobResult looks a result up; see IsNotFound.
func (db *DB) JobResult(ctx context.Context, ws string, id uuid.UUID) (*JobResult, error) {
	var r JobResult
	var state int16
	var result, blob []byte
	err := db.read(ctx, func() error {
		return db.quick.QueryRow(ctx, q("JobResult"), [16]byte(id), ws).Scan(&state, &r.Started, &r.Finished, &result, &blob)
	})
	if err != nil {
		return nil, fmt.Errorf("read result of job %s: %w", id, err)
	}
	if r.State, r.Result = stateName(int64(state)), result; result == nil {
		r.Result = blob
	}
	return &r, nil
}

// specsListed bounds the specs by which a list is narrowed; with more of them the jobs themselves are looked at.
const specsListed = 500

// JobList returns the jobs that f selects, without arguments kept in blobs and without results.
func (db *DB) JobList(ctx context.Context, ws string, f engine.JobFilter) ([]*engine.JobView, error) {
	return db.jobList(ctx, ws, f, (f.Page-1)*f.PerPage, f.PerPage)
}

// jobList is JobList with the rows that are left out before and those that are wanted, instead of a page.
func (db *DB) jobList(ctx context.Context, ws string, f engine.JobFilter, offset, limit int) ([]*engine.JobView, error) {
	l := list{ascending: f.Ascending}
	for _, s := range f.States {
		n := stateNumber(s)
		if n < 0 {
			return nil, engine.Errorf(engine.Invalid, "job.list", "%q is not a state of jobs", s)
		}
		l.active, l.completed = l.active || n <= stateRunning, l.completed || n > stateRunning
	}
	states := stateNumbers(f.States)
	if inTwo(f) {
		return db.listHanded(ctx, ws, f, offset, limit)
	}
	var kinds []string
	for _, k := range f.Kinds {
		kinds = append(kinds, string(k))
	}
	specs, err := db.specSelect(ctx, ws, kinds, f)
	if err != nil || (specs != nil && len(specs) == 0) {
		return nil, err
	}
	l.batch = f.Batch != nil
	ended := l.completed && !l.active
	if ended && f.Parent == nil && f.Batch == nil {
		l.rare = rareOnly(states)
		l.ofSpecs = l.rare != nil && specs != nil
		l.ids = l.rare != nil || specs == nil
	}
	l.specs = specs != nil && !l.ids && (len(states) == 0 || ended) && f.Parent == nil && f.Batch == nil && f.Worker == "" &&
		!f.HasNoParent && len(f.Args) == 0 && len(f.Result) == 0
	args := []any{pgx.QueryExecModeDescribeExec, ws, states, kinds, orNull(f.PathExact), orNull(f.PathStart),
		orNull(f.CreatedBy), orNull(f.Tag), orNull(f.Worker), (*[16]byte)(f.Parent), timeOrNull(f.CreatedAfter), timeOrNull(f.CreatedBefore),
		f.HasNoParent, orNull(string(f.Args)), orNull(string(f.Result)), limit, offset, (*[16]byte)(f.Batch), specs, orNull(f.Schedule),
		lastOfBatch(f.Batch)}
	if l.ids {
		args = append(args, idRange(f.CreatedAfter, f.CreatedBefore, time.Now())...)
	}
	if l.specs && ended && !l.ascending {
		if views, err := db.latest(ctx, l, f, offset+limit, args); err != nil || len(views) == limit {
			return views, err
		}
	}
	// The statement is planned for these very values: conditions that do not filter fold away.
	read := func() ([]*engine.JobView, error) { return db.views(ctx, db.pool, l.query(), args...) }
	if l.rows() {
		read = func() ([]*engine.JobView, error) { return db.viewsInOrder(ctx, l.query(), args...) }
	}
	views, err := read()
	if err != nil {
		return nil, fmt.Errorf("list jobs: %w", err)
	}
	return views, nil
}

// A list of what completed of a script passes by all of its jobs that still wait and are younger. When that may be manyWaiting, the
// jobs that completed last are looked at first, latestListed and twice as many as are wanted: where so many of one script wait, most are
// of that script.
const (
	manyWaiting  = 2000
	latestListed = 5000
)

// latest is the list of l if it is a full page and can be had that way.
func (db *DB) latest(ctx context.Context, l list, f engine.JobFilter, wanted int, args []any) ([]*engine.JobView, error) {
	var waiting int64
	err := db.read(ctx, func() error { return db.quick.QueryRow(ctx, q("QueueEstimate")).Scan(&waiting) })
	if err != nil {
		return nil, fmt.Errorf("list jobs: %w", err)
	}
	if waiting < manyWaiting {
		return nil, nil
	}
	l.latest = true
	args = append(slices.Clone(args), idRange(f.CreatedAfter, f.CreatedBefore, time.Now())...)
	views, err := db.views(ctx, db.pool, l.query(), append(args, latestListed+2*wanted)...)
	if err != nil {
		return nil, fmt.Errorf("list jobs: %w", err)
	}
	return views, nil
}

// specSelect finds what the jobs that f selects may run; nil: too much, or f does not narrow that.
func (db *DB) specSelect(ctx context.Context, ws string, kinds []string, f engine.JobFilter) (ids []int32, err error) {
	if kinds == nil && f.PathExact == "" && f.PathStart == "" && f.CreatedBy == "" && f.Tag == "" && f.Schedule == "" {
		return nil, nil
	}
	err = db.read(ctx, func() error {
		rows, err := db.pool.Query(ctx, q("SpecSelect"), ws, kinds, orNull(f.PathExact), orNull(f.PathStart), orNull(f.CreatedBy),
			orNull(f.Tag), specsListed+1, orNull(f.Schedule))
		if err == nil {
			ids, err = pgx.CollectRows(rows, pgx.RowTo[int32])
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list jobs: %w", err)
	}
	if len(ids) > specsListed {
		return nil, nil
	}
	return ids, nil
}

// views runs a statement that selects {job}, the arguments' blob, {view}, the result and the result's blob.
func (db *DB) views(ctx context.Context, pool *pgxpool.Pool, sql string, args ...any) (out []*engine.JobView, err error) {
	err = db.read(ctx, func() error {
		out, err = viewsOnce(ctx, pool, sql, args...)
		return err
	})
	return out, err
}

// viewsInOrder does so in a transaction where Postgres has no choice but indexes.
func (db *DB) viewsInOrder(ctx context.Context, sql string, args ...any) (out []*engine.JobView, err error) {
	err = db.read(ctx, func() error {
		return db.inOrder(ctx, func(tx pgx.Tx) error {
			out, err = viewsOnce(ctx, tx, sql, args...)
			return err
		})
	})
	return out, err
}

func viewsOnce(ctx context.Context, on querier, sql string, args ...any) ([]*engine.JobView, error) {
	rows, err := on.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []*engine.JobView
	for rows.Next() {
		out = append(out, readView(rows.RawValues()))
	}
	return out, rows.Err()
}

func readView(v [][]byte) *engine.JobView {
	out := &engine.JobView{Job: *readJob(v)}
	v = v[jobColumns:]
	out.State, out.Worker, out.Attempt = stateName(readInt(v[0])), int32(readInt(v[1])), int32(readInt(v[2]))
	if v[3] != nil {
		t := readTime(v[3])
		out.StartedAt = &t
	}
	if v[4] != nil {
		t := readTime(v[4])
		out.FinishedAt = &t
	}
	out.CPU, out.MemoryPeak = time.Duration(readInt(v[5]))*time.Microsecond, readInt(v[6])
	out.CanceledBy, out.Reason, out.WorkerName = string(v[7]), string(v[8]), string(v[9])
	out.Usage, out.Skipped, out.Preprocessed = readUsage(v[10]), readBool(v[11]), readBool(v[12])
	if out.Result = readBytes(v[13]); out.Result == nil {
		out.Result = readBytes(v[14])
	}
	return out
}

// JobCounts counts the queued and running jobs of a workspace.
func (db *DB) JobCounts(ctx context.Context, ws string) (queued, running int64, err error) {
	if err := db.pool.QueryRow(ctx, q("JobCounts"), ws).Scan(&queued, &running); err != nil {
		return 0, 0, fmt.Errorf("count jobs: %w", err)
	}
	return queued, running, nil
}

// JobTagCounts counts the queued and running jobs of every tag.
func (db *DB) JobTagCounts(ctx context.Context) ([]engine.TagCount, error) {
	rows, err := db.pool.Query(ctx, q("JobTagCounts"))
	if err != nil {
		return nil, fmt.Errorf("count jobs: %w", err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowToStructByPos[engine.TagCount])
	if err != nil {
		return nil, fmt.Errorf("count jobs: %w", err)
	}
	return out, nil
}

// Ahead is the place of an active job in the queue.
type Ahead struct {
	State        engine.JobState
	ScheduledFor time.Time
	Later        bool // ScheduledFor is still to come
	Tag          string
	Attempt      int32
	Jobs         int64 // that would be claimed before it
	Workers      int   // that take its tag
	FreeSlots    int   // of those workers
}

// JobAhead returns the place of a job that is queued or running; see IsNotFound. lease is how old the heartbeat of a live
// worker may be.
func (db *DB) JobAhead(ctx context.Context, ws string, id uuid.UUID, lease time.Duration) (*Ahead, error) {
	var a Ahead
	var state int16
	err := db.pool.QueryRow(ctx, q("JobAhead"), [16]byte(id), ws, lease).Scan(&state, &a.ScheduledFor, &a.Later, &a.Tag,
		&a.Attempt, &a.Jobs, &a.Workers, &a.FreeSlots)
	if err != nil {
		return nil, fmt.Errorf("look up place of job %s: %w", id, err)
	}
	a.State = stateName(int64(state))
	return &a, nil
}

// read does fn, which only reads, and once more when a connection turned out to be dead, as all are after a restart of the
// server.
func (db *DB) read(ctx context.Context, fn func() error) error {
	err := fn()
	if IsUnavailable(err) && ctx.Err() == nil {
		db.pool.Reset()
		db.quick.Reset()
		err = fn()
	}
	return err
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func timeOrNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
