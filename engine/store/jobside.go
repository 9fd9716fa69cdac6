package store

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/millrace/millrace/engine"
)

// The work on q that does not go through the writer.

// BulkRows is how many jobs one bulk insert may hold: more would keep locks and memory for too long.
const BulkRows = 500

// JobInsertBulk inserts up to BulkRows jobs, queued, in one transaction on a side connection.
func (db *DB) JobInsertBulk(ctx context.Context, list []*JobInsert) error {
	c, err := db.pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("insert jobs: %w", err)
	}
	defer c.Release()
	if plainBatch(list) {
		if err := insertBatch(ctx, c, list); !IsConflict(err, "") {
			return err
		} // some are there already
	}
	const name = "JobInsertFull"
	rr := c.Conn().PgConn().ExecParams(ctx, q(name), fullJobs(newRows(jobTypes), list), jobStatements[name], binaryFormat, binaryFormat)
	markInserted(list)(rr)
	if _, err := rr.Close(); err != nil {
		return fmt.Errorf("insert jobs: %w", err)
	}
	return nil
}

// JobClaim claims queued jobs on a side connection. The claim may be lost by a crash of the server: the jobs are queued then,
// and the fence is not confused because worker numbers are never used again.
func (db *DB) JobClaim(ctx context.Context, jc *JobClaim) error {
	c, err := db.quick.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("claim jobs: %w", err)
	}
	defer c.Release()
	const name = "JobClaim"
	if _, err := c.Conn().Prepare(ctx, name, withColumns(q(name))); err != nil {
		return fmt.Errorf("claim jobs: %w", err)
	}
	rr := c.Conn().PgConn().ExecPrepared(ctx, name, claimParams(newRows(laneTypes), jc), binaryFormat, binaryFormat)
	readClaims(jc)(rr)
	if _, err := rr.Close(); err != nil {
		return fmt.Errorf("claim jobs: %w", err)
	}
	return nil
}

// JobHeads lists the tags and priorities that have queued jobs, and says the server's clock.
func (db *DB) JobHeads(ctx context.Context, tags []string) (heads []JobHead, now time.Time, err error) {
	rows, err := db.quick.Query(ctx, q("JobHeads"), tags)
	if err != nil {
		return nil, now, fmt.Errorf("look for jobs: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var h JobHead
		var next *time.Time
		if err := rows.Scan(&h.Tag, &h.Prio, &h.Mark, &next, &now); err != nil {
			return nil, now, fmt.Errorf("look for jobs: %w", err)
		}
		if next != nil {
			h.Next = *next
		}
		heads = append(heads, h)
	}
	if err := rows.Err(); err != nil {
		return nil, now, fmt.Errorf("look for jobs: %w", err)
	}
	return heads, now, nil
}

// JobByKey returns the job that holds an idempotency key; see IsNotFound.
func (db *DB) JobByKey(ctx context.Context, ws, key string) (id uuid.UUID, err error) {
	if err := db.pool.QueryRow(ctx, q("JobKey"), ws, key).Scan((*[16]byte)(&id)); err != nil {
		return id, fmt.Errorf("look up idempotency key: %w", err)
	}
	return id, nil
}

// JobKeyExpire forgets idempotency keys older than age.
func (db *DB) JobKeyExpire(ctx context.Context, age time.Duration) (int64, error) {
	return db.count(ctx, "expire idempotency keys", "JobKeyExpire", age)
}

// JobOwner says whether a job is running, and for whom.
func (db *DB) JobOwner(ctx context.Context, id uuid.UUID) (worker, attempt int32, running bool, err error) {
	err = db.pool.QueryRow(ctx, q("JobOwned"), [16]byte(id)).Scan(&worker, &attempt)
	if IsNotFound(err) {
		return 0, 0, false, nil
	}
	if err != nil {
		return 0, 0, false, fmt.Errorf("look up owner of job: %w", err)
	}
	return worker, attempt, true, nil
}

// JobFinished says whether this very outcome is the one that is stored.
func (db *DB) JobFinished(ctx context.Context, f *JobFinish) (bool, error) {
	var result *string
	if len(f.Result) > 0 && f.ResultBlob == nil {
		text := string(f.Result)
		result = &text
	}
	return db.exists(ctx, "look up outcome", "JobFinished", [16]byte(f.ID), f.Worker, f.Attempt, stateNumber(f.State), result, f.ResultBlob)
}

// JobExists says whether ws has a job of this id.
func (db *DB) JobExists(ctx context.Context, ws string, id uuid.UUID) (bool, error) {
	return db.exists(ctx, "look up job", "JobExists", [16]byte(id), ws)
}

// JobHandBack makes claimed jobs queued again. Those that are to be canceled are completed with the result canceled; it returns
// the ones of them that counted for a limit.
func (db *DB) JobHandBack(ctx context.Context, claims []*engine.Claim, canceled json.RawMessage) (ended []GateEnd, err error) {
	ids, workers, attempts := make([][16]byte, len(claims)), make([]int32, len(claims)), make([]int32, len(claims))
	for i, c := range claims {
		ids[i], workers[i], attempts[i] = c.Job.ID, c.Worker, c.Attempt
	}
	if _, err := db.count(ctx, "hand jobs back", "JobHandBack", ids, workers, attempts); err != nil {
		return nil, err
	}
	rows, err := db.pool.Query(ctx, withColumns(q("JobHandBackEnd")), ids, workers, attempts, string(canceled))
	if err == nil {
		ended, err = pgx.CollectRows(rows, func(r pgx.CollectableRow) (e GateEnd, err error) {
			err = r.Scan((*[16]byte)(&e.Job), &e.Gate)
			return e, err
		})
	}
	if err != nil {
		return nil, fmt.Errorf("end jobs that are handed back: %w", err)
	}
	return slices.DeleteFunc(ended, func(e GateEnd) bool { return e.Gate == 0 }), nil
}

// JobRunning lists what runs by the books for a worker, as far as handing back needs it.
func (db *DB) JobRunning(ctx context.Context, worker int32) ([]*engine.Claim, error) {
	rows, err := db.pool.Query(ctx, q("JobRunning"), worker)
	if err != nil {
		return nil, fmt.Errorf("list running jobs: %w", err)
	}
	defer rows.Close()
	var out []*engine.Claim
	for rows.Next() {
		c := &engine.Claim{Job: &engine.Job{}, Worker: worker}
		if err := rows.Scan((*[16]byte)(&c.Job.ID), &c.Attempt, &c.Job.Tag, &c.Job.Priority, &c.Gate); err != nil {
			return nil, fmt.Errorf("list running jobs: %w", err)
		}
		out = append(out, c)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list running jobs: %w", err)
	}
	return out, nil
}

// JobDueAgain makes due what a clock that was set back has put into the future: all that was due at the time that it would
// show without that. It returns how many jobs that were.
func (db *DB) JobDueAgain(ctx context.Context, without time.Time) (int64, error) {
	return db.count(ctx, "make jobs due again", "JobDueAgain", without)
}

// Cancel says who cancels which job and why.
type Cancel struct {
	Workspace string
	ID        uuid.UUID
	By        string
	Reason    string
	Result    json.RawMessage // of a job that is canceled before it ran
}

// JobCancelQueued completes a queued job as canceled; false: it is not queued. gate is the limit it counted or waited for.
func (db *DB) JobCancelQueued(ctx context.Context, c Cancel) (gate int32, done bool, err error) {
	sql := withColumns(q("JobCancelQueued"))
	err = db.pool.QueryRow(ctx, sql, [16]byte(c.ID), c.Workspace, c.By, c.Reason, string(c.Result)).Scan(&gate)
	if IsNotFound(err) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("cancel job: %w", err)
	}
	return gate, true, nil
}

// JobCancelRunning marks a running job as to be killed and says whose it is; false: it is not running.
func (db *DB) JobCancelRunning(ctx context.Context, c Cancel) (worker int32, running bool, err error) {
	err = db.pool.QueryRow(ctx, q("JobCancelRunning"), [16]byte(c.ID), c.Workspace, c.By, c.Reason).Scan(&worker)
	if IsNotFound(err) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("cancel job: %w", err)
	}
	return worker, true, nil
}

// JobCanceled lists the running jobs of a worker that are to be killed.
func (db *DB) JobCanceled(ctx context.Context, worker int32) ([]Cancel, error) {
	rows, err := db.quick.Query(ctx, q("JobCanceled"), worker)
	if err != nil {
		return nil, fmt.Errorf("look for canceled jobs: %w", err)
	}
	defer rows.Close()
	var out []Cancel
	for rows.Next() {
		var c Cancel
		if err := rows.Scan((*[16]byte)(&c.ID), &c.By, &c.Reason); err != nil {
			return nil, fmt.Errorf("look for canceled jobs: %w", err)
		}
		out = append(out, c)
	}
	return out, rows.Err()
}

// Rescue is what happened to the jobs of workers that are gone.
type Rescue struct {
	Requeued int64
	Ended    []uuid.UUID // lost too often, or canceled
	Gates    []GateEnd   // of those that counted for a limit
}

// How much the loss of its worker counts against a job. What a worker died of is most likely in what it had in hand: one job alone is
// the suspect, several share the suspicion, and most of them are innocent. Yet a job that kills its workers among others has to end,
// too. Whether a claimed job had begun is not known here: to write that down would cost every job a statement.
const (
	lossAlone = 4 // it was the only job that the worker had
	lossCrowd = 1 // it was one of several
)

// lostMost is the count of losses of a job that may lose its worker so often when it is alone.
func lostMost(alone int) int { return alone * lossAlone }

// JobRescue takes the running jobs of workers that are gone: queued again, or, when lost more than maxLost times, completed
// as failures with the result lost; those to be canceled are completed with the result canceled. A job that was lost together with
// others bears that four times as often. Several rescuers may run.
func (db *DB) JobRescue(ctx context.Context, maxLost int, lost, canceled json.RawMessage) (Rescue, error) {
	var out Rescue
	for { // before any is ended: with whom a job was lost is what q holds
		n, err := db.count(ctx, "rescue jobs", "JobRescue", lostMost(maxLost), lossCrowd, lossAlone)
		out.Requeued += n
		if err != nil {
			return out, err
		}
		if n == 0 {
			break
		}
	}
	for {
		rows, err := db.pool.Query(ctx, withColumns(q("JobRescueEnd")), lostMost(maxLost), string(lost), string(canceled))
		if err != nil {
			return out, fmt.Errorf("rescue jobs: %w", err)
		}
		n := 0
		for ; rows.Next(); n++ {
			var id uuid.UUID
			var gate int32
			if err := rows.Scan((*[16]byte)(&id), &gate); err != nil {
				rows.Close()
				return out, fmt.Errorf("rescue jobs: %w", err)
			}
			out.Ended = append(out.Ended, id)
			if gate != 0 {
				out.Gates = append(out.Gates, GateEnd{Job: id, Gate: gate})
			}
		}
		if err := rows.Err(); err != nil {
			return out, fmt.Errorf("rescue jobs: %w", err)
		}
		if n == 0 {
			return out, nil
		}
	}
}

// count runs a statement of the ordinary pool and returns how many rows it touched.
func (db *DB) count(ctx context.Context, what, name string, args ...any) (int64, error) {
	var tag pgconn.CommandTag
	tag, err := db.pool.Exec(ctx, withColumns(q(name)), args...)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", what, err)
	}
	return tag.RowsAffected(), nil
}

func (db *DB) exists(ctx context.Context, what, name string, args ...any) (ok bool, err error) {
	if err := db.pool.QueryRow(ctx, q(name), args...).Scan(&ok); err != nil {
		return false, fmt.Errorf("%s: %w", what, err)
	}
	return ok, nil
}
