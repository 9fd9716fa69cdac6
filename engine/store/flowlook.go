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

// FlowPart is a job of a run: that of a step or of an item.
type FlowPart struct {
	ID         uuid.UUID
	Step       string
	Item       int32
	State      engine.JobState
	StartedAt  *time.Time
	FinishedAt *time.Time
}

// FlowParts lists up to limit jobs of a run in the order in which they were born.
func (db *DB) FlowParts(ctx context.Context, run uuid.UUID, limit int) (out []FlowPart, err error) {
	err = db.read(ctx, func() error {
		rows, err := db.quick.Query(ctx, q("FlowJobsOf"), [16]byte(run), limit)
		if err != nil {
			return err
		}
		defer rows.Close()
		out = nil
		for rows.Next() {
			v := rows.RawValues()
			p := FlowPart{ID: readUUID(v[0]), Step: string(v[1]), Item: int32(readInt(v[2])), State: stateName(readInt(v[3]))}
			if v[4] != nil {
				at := readTime(v[4])
				p.StartedAt = &at
			}
			if v[5] != nil {
				at := readTime(v[5])
				p.FinishedAt = &at
			}
			out = append(out, p)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("list jobs of run %s: %w", run, err)
	}
	return out, nil
}

// FlowRestartPut keeps where a job that is going to be pushed begins.
func (db *DB) FlowRestartPut(ctx context.Context, id uuid.UUID, origin json.RawMessage) error {
	if _, err := db.pool.Exec(ctx, q("FlowRestartPut"), [16]byte(id), origin); err != nil {
		return fmt.Errorf("store the origin of flow %s: %w", id, err)
	}
	return nil
}

// FlowRestart returns what FlowRestartPut kept; see IsNotFound.
func (db *DB) FlowRestart(ctx context.Context, id uuid.UUID) (origin json.RawMessage, err error) {
	err = db.read(ctx, func() error { return db.quick.QueryRow(ctx, q("FlowRestartGet"), [16]byte(id)).Scan(&origin) })
	if err != nil {
		return nil, fmt.Errorf("read the origin of flow %s: %w", id, err)
	}
	return origin, nil
}

// FlowUserStatePut keeps a value under a key of a flow, in place of the one that was there.
func (db *DB) FlowUserStatePut(ctx context.Context, root uuid.UUID, key string, value json.RawMessage) error {
	if _, err := db.pool.Exec(ctx, q("FlowUserStatePut"), [16]byte(root), key, value); err != nil {
		return fmt.Errorf("store state %q of flow %s: %w", key, root, err)
	}
	return nil
}

// FlowUserState returns such a value; see IsNotFound.
func (db *DB) FlowUserState(ctx context.Context, root uuid.UUID, key string) (value json.RawMessage, err error) {
	err = db.read(ctx, func() error { return db.quick.QueryRow(ctx, q("FlowUserStateGet"), [16]byte(root), key).Scan(&value) })
	if err != nil {
		return nil, fmt.Errorf("read state %q of flow %s: %w", key, root, err)
	}
	return value, nil
}

// FlowUserStates returns all values of a flow.
func (db *DB) FlowUserStates(ctx context.Context, root uuid.UUID) (out map[string]json.RawMessage, err error) {
	err = db.read(ctx, func() error {
		rows, err := db.quick.Query(ctx, q("FlowUserStates"), [16]byte(root))
		if err != nil {
			return err
		}
		out = map[string]json.RawMessage{}
		var key string
		var value json.RawMessage
		_, err = pgx.ForEachRow(rows, []any{&key, &value}, func() error {
			out[key] = append(json.RawMessage(nil), value...)
			return nil
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read states of flow %s: %w", root, err)
	}
	return out, nil
}
