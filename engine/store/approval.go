package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Approval is what a workflow asks people for.
type Approval struct {
	N       int32
	Key     string
	OK      *bool // nil: nobody has answered; false: nobody has in time
	Options json.RawMessage
	At      time.Time
	Due     time.Time
}

// Approvals lists what a workflow has asked people for, oldest first.
func (db *DB) Approvals(ctx context.Context, job uuid.UUID) (out []Approval, err error) {
	err = db.read(ctx, func() error {
		rows, err := db.quick.Query(ctx, q("CheckpointApprovals"), [16]byte(job))
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (a Approval, err error) {
			return a, row.Scan(&a.N, &a.Key, &a.OK, &a.Options, &a.At, &a.Due)
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read approvals of job %s: %w", job, err)
	}
	return out, nil
}

// ApprovalAnswer keeps the first answer that comes in time, and what the workflow gets for it; false: it is not that.
func (db *DB) ApprovalAnswer(ctx context.Context, n int32, v *Vote, value json.RawMessage) (bool, error) {
	var payload any
	if len(v.Payload) > 0 {
		payload = v.Payload
	}
	tag, err := db.pool.Exec(ctx, q("CheckpointAnswer"), [16]byte(v.Job), n, value, v.ResumeID, v.Approved, v.Approver, v.Account, payload)
	if err != nil {
		return false, fmt.Errorf("store an answer for job %s: %w", v.Job, err)
	}
	return tag.RowsAffected() > 0, nil
}

// ApprovalOutcome is what a workflow gets for what it asked; ok nil: nobody has answered yet. Once its time is over, that is late.
func (db *DB) ApprovalOutcome(ctx context.Context, job uuid.UUID, n int32, late json.RawMessage) (ok *bool, value json.RawMessage, err error) {
	if _, err = db.pool.Exec(ctx, q("CheckpointExpire"), [16]byte(job), n, late); err == nil {
		err = db.quick.QueryRow(ctx, q("CheckpointOutcome"), [16]byte(job), n).Scan(&ok, &value)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read an answer for job %s: %w", job, err)
	}
	return ok, value, nil
}

// CheckpointAnswered makes a suspended workflow due because somebody has answered; false: it is not suspended.
func (db *DB) CheckpointAnswered(ctx context.Context, job uuid.UUID) (tag string, prio int16, due time.Time, ok bool, err error) {
	err = db.pool.QueryRow(ctx, q("CheckpointAnswered"), [16]byte(job)).Scan(&tag, &prio, &due, &ok)
	if err != nil && !IsNotFound(err) {
		return tag, prio, due, false, fmt.Errorf("wake job %s: %w", job, err)
	}
	return tag, prio, due, ok, nil
}
