package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/millrace/millrace/engine"
)

// Checkpoint is something that a workflow has asked for.
type Checkpoint struct {
	FlowAttempt // the workflow's; worker and attempt are not kept

	N        int32
	Key      string
	Kind     string
	Name     string
	OK       *bool           // nil: it is not over, or, of a task, the job knows
	Value    json.RawMessage // nil: null
	Child    *uuid.UUID
	Tries    int32
	Wait     time.Duration // until it is over by itself; zero: it is not
	Options  json.RawMessage
	Accepted bool // set by a flush: the workflow was still its worker's

	// Of stored ones only.
	At       time.Time
	Result   engine.JobState // of Child; "": it is not over
	Output   json.RawMessage // of Child
	Finished time.Time       // Child's end
	Timed    bool            // Wait is known; it may be over
}

var checkpointTypes = []uint32{
	oidUUID, oidInt4, oidInt4, oidInt4, oidText, oidText, oidText, oidBool, oidJSON, oidUUID, oidInt4, oidInt8, oidJSON,
}

func init() { jobStatements["CheckpointPut"] = oids(checkpointTypes, true) }

// sendCheckpoints sends the statement that stores list.
func sendCheckpoints(r *rows, list []*Checkpoint, send sender) {
	cols := r.reset()
	for _, c := range list {
		addCheckpoint(cols, c)
	}
	send("CheckpointPut", r.arrays(), func(rr *pgconn.ResultReader) {
		got := readIDs(rr, len(list))
		for _, c := range list {
			c.Accepted = got[c.ID]
		}
	})
}

func addCheckpoint(cols []column, c *Checkpoint) {
	cols[0].uuid(c.ID)
	cols[1].int4(c.Worker)
	cols[2].int4(c.Attempt)
	cols[3].int4(c.N)
	cols[4].text(c.Key)
	cols[5].text(c.Kind)
	cols[6].text(c.Name)
	if c.OK == nil {
		cols[7].null()
	} else {
		cols[7].bool(*c.OK)
	}
	cols[8].bytes(c.Value)
	cols[9].uuidOrNull(c.Child)
	cols[10].int4(c.Tries)
	if c.Wait == 0 {
		cols[11].null()
	} else {
		cols[11].int8(c.Wait.Microseconds())
	}
	cols[12].bytes(c.Options)
}

// Checkpoints lists what a workflow has asked for, in its order.
func (db *DB) Checkpoints(ctx context.Context, job uuid.UUID) (out []Checkpoint, err error) {
	err = db.read(ctx, func() error {
		rows, err := db.quick.Query(ctx, q("CheckpointList"), [16]byte(job))
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, readCheckpoint)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read checkpoints of job %s: %w", job, err)
	}
	for i := range out {
		out[i].ID = job
	}
	return out, nil
}

func readCheckpoint(row pgx.CollectableRow) (c Checkpoint, err error) {
	var wait *float64
	var state *int16
	var blob []byte
	var finished *time.Time
	err = row.Scan(&c.N, &c.Key, &c.Kind, &c.Name, &c.OK, &c.Value, &c.Child, &c.Tries, &wait, &c.Options, &c.At, &state, &c.Output, &blob, &finished)
	if wait != nil {
		c.Wait, c.Timed = time.Duration(*wait*float64(time.Second)), true
	}
	if state != nil {
		c.Result, c.Finished = stateName(int64(*state)), *finished
	}
	if c.Output == nil {
		c.Output = blob
	}
	return c, err
}

// CheckpointChildren lists the jobs of a workflow's tasks that are not over.
func (db *DB) CheckpointChildren(ctx context.Context, job uuid.UUID) ([]uuid.UUID, error) {
	ids, err := jobIDs(ctx, db.quick, "CheckpointChildren", [16]byte(job))
	if err != nil {
		return nil, fmt.Errorf("list tasks of job %s: %w", job, err)
	}
	return ids, nil
}

// CheckpointSuspend queues a workflow until what it waits for is over; false: it is not the worker's any more, or is to be canceled.
func (db *DB) CheckpointSuspend(ctx context.Context, a FlowAttempt, s *engine.Suspension) (due time.Time, ok bool, err error) {
	err = db.pool.QueryRow(ctx, q("CheckpointSuspend"), [16]byte(a.ID), a.Worker, a.Attempt, s.Wait, uuids(s.Awaits), s.Asks).Scan(&due)
	if IsNotFound(err) {
		return due, false, nil
	}
	if err != nil {
		return due, false, fmt.Errorf("suspend job %s: %w", a.ID, err)
	}
	return due, true, nil
}

// CheckpointWake makes a suspended workflow due because the job of a task is over; false: it does not wait for it.
func (db *DB) CheckpointWake(ctx context.Context, job, child uuid.UUID) (tag string, prio int16, due time.Time, ok bool, err error) {
	err = db.quick.QueryRow(ctx, q("CheckpointWake"), [16]byte(job), [16]byte(child)).Scan(&tag, &prio, &due)
	if IsNotFound(err) {
		return tag, prio, due, false, nil
	}
	if err != nil {
		return tag, prio, due, false, fmt.Errorf("wake job %s: %w", job, err)
	}
	return tag, prio, due, true, nil
}
