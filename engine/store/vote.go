package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Vote is an answer to a flow that waits for approval.
type Vote struct {
	Job      uuid.UUID // whom it was asked for: the job of a step, or the run of a flow
	ResumeID int64     // which of the links
	Run      *uuid.UUID
	Module   *string // with Run, the gate that it counts for; nil: none has taken it yet
	Approved bool
	Approver string          // as it is shown
	Account  string          // "": without an account
	Payload  json.RawMessage // nil: none
	At       time.Time
}

// WorkspaceKey returns the key that a workspace signs links with; fresh becomes it when there is none yet.
func (db *DB) WorkspaceKey(ctx context.Context, ws string, fresh []byte) (key []byte, err error) {
	err = db.read(ctx, func() error { return db.pool.QueryRow(ctx, q("WorkspaceKey"), ws).Scan(&key) })
	if IsNotFound(err) && fresh != nil {
		if _, err = db.pool.Exec(ctx, q("WorkspaceKeyMake"), ws, fresh); err == nil {
			err = db.pool.QueryRow(ctx, q("WorkspaceKey"), ws).Scan(&key)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("read the key of workspace %s: %w", ws, err)
	}
	return key, nil
}

// VotePut keeps an answer and tells whether it is the first one by that link.
func (db *DB) VotePut(ctx context.Context, v *Vote) (fresh bool, err error) {
	var run any
	if v.Run != nil {
		run = [16]byte(*v.Run)
	}
	var payload any
	if len(v.Payload) > 0 {
		payload = v.Payload
	}
	tag, err := db.pool.Exec(ctx, q("VotePut"), [16]byte(v.Job), v.ResumeID, run, v.Module, v.Approved, v.Approver, v.Account, payload)
	if err != nil {
		return false, fmt.Errorf("store an answer for job %s: %w", v.Job, err)
	}
	return tag.RowsAffected() > 0, nil
}

// VoteGet returns the answer by a link; see IsNotFound.
func (db *DB) VoteGet(ctx context.Context, job uuid.UUID, resume int64) (v *Vote, err error) {
	list, err := db.votes(ctx, "VoteGet", [16]byte(job), resume)
	if err == nil && len(list) == 0 {
		err = pgx.ErrNoRows
	}
	if err != nil {
		return nil, fmt.Errorf("read an answer for job %s: %w", job, err)
	}
	return &list[0], nil
}

// VotesOf lists the answers that count for a gate, oldest first; module "": for any gate of the run.
func (db *DB) VotesOf(ctx context.Context, run uuid.UUID, module string) ([]Vote, error) {
	var of *string
	if module != "" {
		of = &module
	}
	list, err := db.votes(ctx, "VotesOf", [16]byte(run), of)
	if err != nil {
		return nil, fmt.Errorf("read answers for run %s: %w", run, err)
	}
	return list, nil
}

// VoteTake has a gate take up to limit answers that were given for a flow and not for one of its steps.
func (db *DB) VoteTake(ctx context.Context, flow, run uuid.UUID, module string, limit int) error {
	free, err := db.votes(ctx, "VotesFree", [16]byte(flow), limit)
	for _, v := range free {
		if err == nil {
			_, err = db.pool.Exec(ctx, q("VoteTake"), [16]byte(v.Job), v.ResumeID, [16]byte(run), module)
		}
	}
	if err != nil {
		return fmt.Errorf("take answers for flow %s: %w", flow, err)
	}
	return nil
}

func (db *DB) votes(ctx context.Context, statement string, args ...any) (out []Vote, err error) {
	err = db.read(ctx, func() error {
		rows, err := db.quick.Query(ctx, q(statement), args...)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (v Vote, err error) {
			to := []any{(*[16]byte)(&v.Job), &v.ResumeID, &v.Approved, &v.Approver, &v.Account, &v.Payload, &v.At}
			if len(row.FieldDescriptions()) > len(to) {
				to = append(to, &v.Module)
			}
			return v, row.Scan(to...)
		})
		return err
	})
	return out, err
}
