package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/millrace/millrace/engine"
)

// FlowRun is a run as it is stored, with its job.
type FlowRun struct {
	Job       *engine.Job
	Root, Def uuid.UUID
	Place     string
	Rev       int32
	State     json.RawMessage
	Parent    *uuid.UUID // whose item it is
	Step      string
	Item      int32
	Gate      int32 // the limit that it counts for; 0: none
}

// FlowGet returns a run; see IsNotFound.
func (db *DB) FlowGet(ctx context.Context, id uuid.UUID) (r *FlowRun, err error) {
	err = db.read(ctx, func() error {
		rows, err := db.quick.Query(ctx, withColumns(q("FlowGet")), [16]byte(id))
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			v := rows.RawValues()
			r = &FlowRun{Root: readUUID(v[0]), Def: readUUID(v[1]), Place: string(v[2]), Rev: int32(readInt(v[3])), State: readBytes(v[4]),
				Parent: readUUIDOrNil(v[5]), Step: string(v[6]), Item: int32(readInt(v[7])), Gate: int32(readInt(v[8])), Job: readJob(v[9:])}
		}
		return rows.Err()
	})
	if err == nil && r == nil {
		err = pgx.ErrNoRows
	}
	if err != nil {
		return nil, fmt.Errorf("read run %s: %w", id, err)
	}
	return r, nil
}

// FlowSteps lists what has ended in a run, in its order.
func (db *DB) FlowSteps(ctx context.Context, run uuid.UUID) (out []FlowStep, err error) {
	err = db.read(ctx, func() error {
		rows, err := db.quick.Query(ctx, q("FlowStepsOf"), [16]byte(run))
		if err != nil {
			return err
		}
		defer rows.Close()
		out = nil
		for rows.Next() {
			v := rows.RawValues()
			s := FlowStep{Run: run, N: int32(readInt(v[0])), Module: string(v[1]), OK: v[3][0] != 0, Skipped: v[4][0] != 0,
				Job: readUUIDOrNil(v[5]), Value: readBytes(v[6])}
			if v[2] != nil {
				item := int32(readInt(v[2]))
				s.Item = &item
			}
			out = append(out, s)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("read steps of run %s: %w", run, err)
	}
	return out, nil
}

// FlowItem is the result of an item that is a job or a run.
type FlowItem struct {
	Item   int32
	Job    uuid.UUID
	State  engine.JobState
	Result json.RawMessage
}

// FlowItems lists the items of a module that have ended, in their order. An item that was tried several times is there several times.
func (db *DB) FlowItems(ctx context.Context, run uuid.UUID, module string) (out []FlowItem, err error) {
	err = db.read(ctx, func() error {
		rows, err := db.quick.Query(ctx, q("FlowItems"), [16]byte(run), module)
		if err != nil {
			return err
		}
		defer rows.Close()
		out = nil
		for rows.Next() {
			v := rows.RawValues()
			i := FlowItem{Item: int32(readInt(v[0])), Job: readUUID(v[1]), State: stateName(readInt(v[2])), Result: readBytes(v[3])}
			if v[3] == nil {
				i.Result = readBytes(v[4])
			}
			out = append(out, i)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("read items of run %s: %w", run, err)
	}
	return out, nil
}

// FlowResult returns how a job or a run of a flow ended; see IsNotFound.
func (db *DB) FlowResult(ctx context.Context, id uuid.UUID) (state engine.JobState, result json.RawMessage, err error) {
	err = db.read(ctx, func() error {
		var n int16
		var inline, blob []byte
		err := db.quick.QueryRow(ctx, q("FlowResult"), [16]byte(id)).Scan(&n, &inline, &blob)
		state, result = stateName(int64(n)), inline
		if inline == nil {
			result = blob
		}
		return err
	})
	if err != nil {
		return "", nil, fmt.Errorf("read result of job %s: %w", id, err)
	}
	return state, result, nil
}

// FlowHolds tells whether an attempt is still its worker's, or, with worker 0, that of a queued job.
func (db *DB) FlowHolds(ctx context.Context, a FlowAttempt) (bool, error) {
	return db.exists(ctx, "look up attempt", "FlowHolds", [16]byte(a.ID), a.Worker, a.Attempt)
}

// StepOver is a step of a flow that nobody runs and nobody will.
type StepOver struct {
	FlowAttempt
	Job        *engine.Job
	CanceledBy string // "": it was lost too often
	Reason     string
}

// JobStepsOver lists such steps whose worker is gone; lost is how often one may lose it, as with JobRescue.
func (db *DB) JobStepsOver(ctx context.Context, lost int) ([]StepOver, error) {
	return db.stepsOver(ctx, "JobStepsOver", lostMost(lost))
}

// FlowHomeless lists queued steps that only one daemon takes, which has not been heard of for the time of a lease.
func (db *DB) FlowHomeless(ctx context.Context, lease time.Duration) ([]StepOver, error) {
	return db.stepsOver(ctx, "FlowHomeless", lease, engine.HomePrefix+"%")
}

func (db *DB) stepsOver(ctx context.Context, query string, args ...any) ([]StepOver, error) {
	rows, err := db.pool.Query(ctx, withColumns(q(query)), args...)
	if err != nil {
		return nil, fmt.Errorf("list lost steps: %w", err)
	}
	defer rows.Close()
	var out []StepOver
	for rows.Next() {
		v := rows.RawValues()
		j, v := readJob(v), v[jobColumns:]
		out = append(out, StepOver{FlowAttempt: FlowAttempt{ID: j.ID, Worker: int32(readInt(v[0])), Attempt: int32(readInt(v[1]))}, Job: j,
			CanceledBy: string(v[2]), Reason: string(v[3])})
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list lost steps: %w", err)
	}
	return out, nil
}

// FlowDue lists up to limit runs whose time has come.
func (db *DB) FlowDue(ctx context.Context, limit int) ([]uuid.UUID, error) {
	ids, err := jobIDs(ctx, db.quick, "FlowDue", limit)
	if err != nil {
		return nil, fmt.Errorf("look for runs that are due: %w", err)
	}
	return ids, nil
}

// FlowNextDue returns how long it is until a run is due; false: none waits for a time.
func (db *DB) FlowNextDue(ctx context.Context) (in time.Duration, ok bool, err error) {
	err = db.quick.QueryRow(ctx, q("FlowNextDue")).Scan(&in)
	if IsNotFound(err) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("look for the next run that is due: %w", err)
	}
	return in, true, nil
}

// FlowChild is a job of a run that has not ended.
type FlowChild struct {
	ID  uuid.UUID
	Run bool // it is a run itself
}

// FlowChildren lists the jobs of a run that have not ended.
func (db *DB) FlowChildren(ctx context.Context, run uuid.UUID) ([]FlowChild, error) {
	rows, err := db.quick.Query(ctx, q("FlowChildren"), [16]byte(run))
	if err != nil {
		return nil, fmt.Errorf("list jobs of run %s: %w", run, err)
	}
	out, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (c FlowChild, err error) {
		var state int16
		err = row.Scan((*[16]byte)(&c.ID), &state)
		c.Run = state == stateRun
		return c, err
	})
	if err != nil {
		return nil, fmt.Errorf("list jobs of run %s: %w", run, err)
	}
	return out, nil
}
