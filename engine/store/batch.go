package store

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/millrace/millrace/engine"
)

// The states of a batch as numbers; a running one whose jobs are all completed is done.
var batchStates = []engine.BatchState{engine.BatchReceiving, engine.BatchRunning, engine.BatchCanceled, engine.BatchFailed}

const batchRunning = 1

// BatchInsert stores a new batch. False: the workspace has one with this key already.
func (db *DB) BatchInsert(ctx context.Context, b *engine.Batch, key string) (bool, error) {
	n, err := db.count(ctx, "insert batch", "BatchInsert", [16]byte(b.ID), b.Workspace, b.Name, string(b.Kind), b.Path, int64(b.Hash), b.Keep,
		b.CreatedBy, (*[16]byte)(b.Source), orNull(key))
	return n > 0, err
}

// BatchGet returns a batch; see IsNotFound.
func (db *DB) BatchGet(ctx context.Context, ws string, id uuid.UUID) (*engine.Batch, error) {
	return db.batch(ctx, "BatchGet", [16]byte(id), ws)
}

// BatchByKey returns the batch with an idempotency key; see IsNotFound.
func (db *DB) BatchByKey(ctx context.Context, ws, key string) (*engine.Batch, error) {
	return db.batch(ctx, "BatchByKey", ws, key)
}

func (db *DB) batch(ctx context.Context, name string, args ...any) (b *engine.Batch, err error) {
	err = db.read(ctx, func() error {
		list, err := db.batches(ctx, name, args...)
		if err == nil && len(list) == 0 {
			err = pgx.ErrNoRows
		}
		if err == nil {
			b = list[0]
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read batch: %w", err)
	}
	return b, nil
}

// BatchList returns a page of the batches that f selects, newest first.
func (db *DB) BatchList(ctx context.Context, ws string, f engine.BatchFilter) ([]*engine.Batch, error) {
	list, err := db.batches(ctx, "BatchList", ws, f.States, orNull(f.PathExact), orNull(f.PathStart), orNull(f.CreatedBy), f.PerPage,
		(f.Page-1)*f.PerPage)
	if err != nil {
		return nil, fmt.Errorf("list batches: %w", err)
	}
	return list, nil
}

func (db *DB) batches(ctx context.Context, name string, args ...any) ([]*engine.Batch, error) {
	rows, err := db.pool.Query(ctx, strings.ReplaceAll(q(name), "{batch}", q("BatchColumns")), args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scanBatch)
}

func scanBatch(row pgx.CollectableRow) (*engine.Batch, error) {
	var b engine.Batch
	var state int16
	err := row.Scan((*[16]byte)(&b.ID), &b.Workspace, &b.Name, &b.Kind, &b.Path, (*int64)(&b.Hash), &state, &b.Keep, &b.Total, &b.Inserted,
		&b.Done, &b.Failed, &b.Canceled, &b.CreatedBy, &b.CreatedAt, &b.ReceivedAt, &b.FinishedAt, &b.Error, &b.CanceledBy, &b.Reason,
		&b.Source, &b.Running)
	if err != nil {
		return nil, err
	}
	b.State = batchStates[state]
	if state == batchRunning && b.Over() {
		b.State = engine.BatchDone
	}
	b.Queued = max(b.Inserted-b.Done-b.Running, 0)
	return &b, nil
}

// BatchTake makes a batch the caller's to receive; false: somebody has been at it within patience, or it is not receiving.
func (db *DB) BatchTake(ctx context.Context, id uuid.UUID, patience time.Duration) (bool, error) {
	n, err := db.count(ctx, "take batch", "BatchTake", [16]byte(id), patience)
	return n > 0, err
}

// BatchTouch tells how many rows are durable; false: receiving is over. A crash of the server may lose it, which costs nothing.
func (db *DB) BatchTouch(ctx context.Context, id uuid.UUID, inserted int64) (bool, error) {
	tag, err := db.quick.Exec(ctx, q("BatchTouch"), [16]byte(id), inserted)
	if err != nil {
		return false, fmt.Errorf("touch batch: %w", err)
	}
	return tag.RowsAffected() > 0, nil
}

// BatchInterrupt notes that receiving broke off and may be taken up.
func (db *DB) BatchInterrupt(ctx context.Context, id uuid.UUID, inserted int64, why string) error {
	_, err := db.count(ctx, "interrupt batch", "BatchInterrupt", [16]byte(id), inserted, why)
	return err
}

// BatchReceived ends receiving; false: it was over already.
func (db *DB) BatchReceived(ctx context.Context, id uuid.UUID, total int64) (bool, error) {
	n, err := db.count(ctx, "end receiving", "BatchReceived", [16]byte(id), total)
	return n > 0, err
}

// BatchFail ends receiving with an error; false: it was over already.
func (db *DB) BatchFail(ctx context.Context, id uuid.UUID, why string) (bool, error) {
	n, err := db.count(ctx, "fail batch", "BatchFail", [16]byte(id), why)
	return n > 0, err
}

// BatchCancel marks a batch as canceled; its jobs are the caller's to end. False: it is over, or there is none.
func (db *DB) BatchCancel(ctx context.Context, ws string, id uuid.UUID, by, reason string) (bool, error) {
	n, err := db.count(ctx, "cancel batch", "BatchCancel", [16]byte(id), ws, by, reason)
	return n > 0, err
}

// BatchSettle says of a batch whose receiving ended early how many rows there are.
func (db *DB) BatchSettle(ctx context.Context, id uuid.UUID) error {
	var last [16]byte
	lo, hi := batchRange(id)
	err := db.inOrder(ctx, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, q("BatchLastRow"), lo, hi, lo).Scan(&last)
	})
	if err != nil && !IsNotFound(err) {
		return fmt.Errorf("settle batch: %w", err)
	}
	_, err = db.count(ctx, "settle batch", "BatchSettle", lo, engine.BatchRowOf(last))
	return err
}

// BatchFinish notes the end of a batch whose jobs are all completed; nil: of all such.
func (db *DB) BatchFinish(ctx context.Context, id *uuid.UUID) (int64, error) {
	return db.count(ctx, "finish batches", "BatchFinish", (*[16]byte)(id))
}

// BatchStale lists batches whose receiver has been silent for longer than dead, or than resume when it could be taken up.
func (db *DB) BatchStale(ctx context.Context, dead, resume time.Duration) ([]*engine.Batch, error) {
	return db.batchKeys(ctx, "BatchStale", dead, resume)
}

// BatchUnswept lists batches that were canceled, or failed, and are not finished, and whose receiver was not heard of lately.
func (db *DB) BatchUnswept(ctx context.Context, alive time.Duration) ([]*engine.Batch, error) {
	return db.batchKeys(ctx, "BatchUnswept", alive)
}

// BatchOpen tells whether any batch is not finished.
func (db *DB) BatchOpen(ctx context.Context) (bool, error) {
	return db.exists(ctx, "look for batches", "BatchOpen")
}

func (db *DB) batchKeys(ctx context.Context, name string, args ...any) ([]*engine.Batch, error) {
	rows, err := db.pool.Query(ctx, q(name), args...)
	if err != nil {
		return nil, fmt.Errorf("list batches: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (*engine.Batch, error) {
		var b engine.Batch
		return &b, row.Scan((*[16]byte)(&b.ID), &b.Workspace, &b.Keep)
	})
	if err != nil {
		return nil, fmt.Errorf("list batches: %w", err)
	}
	return list, nil
}

// BatchForget removes batches whose jobs retention has taken.
func (db *DB) BatchForget(ctx context.Context) (int64, error) {
	return db.count(ctx, "forget batches", "BatchForget")
}

// batchRange bounds the ids of a batch's jobs: above lo, up to hi.
func batchRange(id uuid.UUID) (lo, hi [16]byte) {
	return id, engine.BatchJobID(id, engine.MaxBatchRows)
}

// BatchCancelQueued completes up to limit queued jobs of a batch, those of rows after one, as canceled. It says how many, and what the
// last row was.
func (db *DB) BatchCancelQueued(ctx context.Context, c Cancel, after int64, limit int) (n int, last int64, err error) {
	lo, hi := batchRange(c.ID)
	var ids []uuid.UUID
	err = db.inOrder(ctx, func(tx pgx.Tx) (err error) {
		ids, err = jobIDs(ctx, tx, "BatchCancelQueued", [16]byte(engine.BatchJobID(c.ID, after)), hi, lo, c.By, c.Reason, []byte(c.Result), limit)
		return err
	})
	if err != nil {
		return 0, after, fmt.Errorf("cancel jobs of a batch: %w", err)
	}
	for _, id := range ids {
		after = max(after, engine.BatchRowOf(id))
	}
	return len(ids), after, nil
}

// BatchRunning lists the running jobs of a batch.
func (db *DB) BatchRunning(ctx context.Context, id uuid.UUID) ([]uuid.UUID, error) {
	ids, err := jobIDs(ctx, db.pool, "BatchRunning", [16]byte(id))
	if err != nil {
		return nil, fmt.Errorf("list running jobs of a batch: %w", err)
	}
	return ids, nil
}

// BatchEnded lists up to limit completed jobs of a batch that ended in one of states, in the order of rows, after one of them.
func (db *DB) BatchEnded(ctx context.Context, after uuid.UUID, states []engine.JobState, limit int) ([]uuid.UUID, error) {
	_, hi := batchRange(after)
	var ids []uuid.UUID
	err := db.inOrder(ctx, func(tx pgx.Tx) (err error) {
		ids, err = jobIDs(ctx, tx, "BatchEnded", [16]byte(after), hi, stateNumbers(states), limit)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list completed jobs of a batch: %w", err)
	}
	return ids, nil
}

// querier is a pool or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

func jobIDs(ctx context.Context, c querier, name string, args ...any) ([]uuid.UUID, error) {
	rows, err := c.Query(ctx, withColumns(q(name)), args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (id uuid.UUID, err error) {
		return id, row.Scan((*[16]byte)(&id))
	})
}

// inOrder runs what walks over a batch's jobs in the order of their ids, a part at a time, in a transaction where Postgres has
// no choice but an index: with old statistics it likes to sort all of them first, again for every part.
func (db *DB) inOrder(ctx context.Context, fn func(tx pgx.Tx) error) error {
	return pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, q("BatchInOrder")); err != nil {
			return err
		}
		return fn(tx)
	})
}

func stateNumbers(states []engine.JobState) (out []int16) {
	for _, s := range states {
		out = append(out, stateNumber(s))
		switch s {
		case engine.StateQueued:
			out = append(out, stateBlocked)
		case engine.StateRunning:
			out = append(out, stateRun)
		}
	}
	return out
}

// BatchPage asks for a part of a batch's rows.
type BatchPage struct {
	Batch  uuid.UUID
	After  int64             // row
	States []engine.JobState // nil: any
	Rows   int               // at most
	Bytes  int               // of results, after which the page ends; one row may be larger
}

// BatchResults returns the rows of a page in their order; more tells whether others may follow.
func (db *DB) BatchResults(ctx context.Context, p BatchPage) (out []engine.BatchRow, more bool, err error) {
	err = db.read(ctx, func() error {
		return db.inOrder(ctx, func(tx pgx.Tx) (err error) {
			out, more, err = batchResults(ctx, tx, p)
			return err
		})
	})
	if err != nil {
		return nil, false, fmt.Errorf("read results of a batch: %w", err)
	}
	return out, more, nil
}

func batchResults(ctx context.Context, tx querier, p BatchPage) (out []engine.BatchRow, more bool, err error) {
	after, hi := batchRange(p.Batch)
	after = engine.BatchJobID(after, p.After)
	rows, err := tx.Query(ctx, q("BatchResults"), after, hi, [16]byte(p.Batch), stateNumbers(p.States), p.Rows)
	if err != nil {
		return nil, false, err
	}
	defer rows.Close()
	var blobs [][]byte
	for size := 0; size < p.Bytes && rows.Next(); {
		v := rows.RawValues()
		id := readUUID(v[0])
		out = append(out, engine.BatchRow{Row: engine.BatchRowOf(id), Job: id, State: stateName(readInt(v[1])), Result: json.RawMessage(readBytes(v[2]))})
		blobs = append(blobs, readBytes(v[3]))
		if size += len(v[2]); v[3] != nil {
			break // it is large
		}
	}
	more = rows.Next() || len(out) == p.Rows
	rows.Close()
	if err := rows.Err(); err != nil {
		return nil, false, err
	}
	for i, hash := range blobs {
		if hash == nil {
			continue
		}
		if err := tx.QueryRow(ctx, q("BatchBlob"), hash).Scan((*[]byte)(&out[i].Result)); err != nil && !IsNotFound(err) {
			return nil, false, err
		}
	}
	return out, more, nil
}

// BatchJobs returns jobs of any batch or none, with their arguments, in the order of ids; those that are not there are left out.
func (db *DB) BatchJobs(ctx context.Context, ws string, ids []uuid.UUID) ([]*engine.Job, error) {
	found := make(map[uuid.UUID]*engine.Job, len(ids))
	err := db.read(ctx, func() error {
		rows, err := db.quick.Query(ctx, withColumns(q("BatchJobs")), ws, uuids(ids)) // by its keys, whatever is known of the tables
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			v := rows.RawValues()
			j := readJob(v)
			j.Preprocessed = readBool(v[jobColumns])
			found[j.ID] = j
		}
		return rows.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("read jobs: %w", err)
	}
	out := make([]*engine.Job, 0, len(found))
	for _, id := range ids {
		if j := found[id]; j != nil {
			out = append(out, j)
		}
	}
	return out, nil
}
