package store

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// Debounced is the state of a debounce key, locked by a transaction.
type Debounced struct {
	Workspace, Key string
	Job            uuid.UUID // stands for the key
	First          time.Time // when the first of the merged requests came
	Count          int       // of merged requests; 0: the key is new
	Now            time.Time // the server's clock
}

// DebounceLock locks a key, which comes into being for job, until tx ends.
func (db *DB) DebounceLock(ctx context.Context, tx Tx, ws, key string, job uuid.UUID) (*Debounced, error) {
	d := Debounced{Workspace: ws, Key: key}
	err := tx.QueryRow(ctx, q("DebounceLock"), ws, key, [16]byte(job)).Scan((*[16]byte)(&d.Job), &d.First, &d.Count, &d.Now)
	if err != nil {
		return nil, fmt.Errorf("lock debounce key: %w", err)
	}
	return &d, nil
}

// DebounceFormer returns the arguments of the job that stands for d, and holds that job as it is until tx ends; false: it is
// too late to replace it. step: it belongs to a flow, which has to end it.
func (db *DB) DebounceFormer(ctx context.Context, tx Tx, d *Debounced) (args []byte, waits, step bool, err error) {
	err = tx.QueryRow(ctx, q("DebounceFormer"), [16]byte(d.Job), d.Workspace).Scan(&args, &step)
	if IsNotFound(err) {
		return nil, false, false, nil
	}
	if err != nil {
		return nil, false, false, fmt.Errorf("look for the debounced job: %w", err)
	}
	return args, true, step, nil
}

// DebounceOut takes a step that another job stands for out of the queue, for its flow to end it; it returns the limit that it waited for.
func (db *DB) DebounceOut(ctx context.Context, tx Tx, job, by uuid.UUID) (gate int32, err error) {
	if err := tx.QueryRow(ctx, q("DebounceOut"), [16]byte(job), by.String()).Scan(&gate); err != nil {
		return 0, fmt.Errorf("take the debounced step out: %w", err)
	}
	return gate, nil
}

// DebounceStep stores what stands for the key of d, and when that step is due; args: its arguments have changed.
func (db *DB) DebounceStep(ctx context.Context, tx Tx, d *Debounced, i *JobInsert, args bool) error {
	_, err := tx.Exec(ctx, q("DebounceSet"), d.Workspace, d.Key, [16]byte(d.Job), d.First, d.Count)
	if err == nil {
		_, err = tx.Exec(ctx, q("DebounceMove"), [16]byte(d.Job), i.Job.ScheduledFor)
	}
	if err == nil && args {
		text := string(i.Job.Args)
		inline := &text
		if i.ArgsBlob != nil {
			inline = nil
		}
		_, err = tx.Exec(ctx, q("DebounceArgs"), [16]byte(d.Job), inline, i.ArgsBlob)
	}
	if err != nil {
		return fmt.Errorf("store debounced step: %w", err)
	}
	return nil
}

// DebounceEnd completes a job as canceled because another one stands for its key; it returns the limit that it waited for.
func (db *DB) DebounceEnd(ctx context.Context, tx Tx, job uuid.UUID, result []byte) (gate int32, err error) {
	if err := tx.QueryRow(ctx, withColumns(q("DebounceEnd")), [16]byte(job), string(result)).Scan(&gate); err != nil {
		return 0, fmt.Errorf("end the debounced job: %w", err)
	}
	return gate, nil
}

// DebounceSet stores what stands for the key of d, and inserts that job; see JobInsert.Inserted.
func (db *DB) DebounceSet(ctx context.Context, tx Tx, d *Debounced, i *JobInsert) error {
	if _, err := tx.Exec(ctx, q("DebounceSet"), d.Workspace, d.Key, [16]byte(d.Job), d.First, d.Count); err != nil {
		return fmt.Errorf("store debounce key: %w", err)
	}
	name, params := "JobInsertFull", fullJobs(newRows(jobTypes), []*JobInsert{i})
	if i.Job.IdempotencyKey != "" {
		r := newRows(jobTypes)
		addJob(r.reset(), i)
		name, params = "JobInsertKeyed", r.scalars()
	}
	i.Inserted = false
	rr := tx.Conn().PgConn().ExecParams(ctx, q(name), params, jobStatements[name], binaryFormat, binaryFormat)
	markInserted([]*JobInsert{i})(rr)
	if _, err := rr.Close(); err != nil {
		return fmt.Errorf("insert job: %w", err)
	}
	return nil
}

// DebounceSweep forgets keys that have not been used for longer than age and whose job is completed.
func (db *DB) DebounceSweep(ctx context.Context, age time.Duration) (int64, error) {
	return db.count(ctx, "forget debounce keys", "DebounceSweep", age)
}
