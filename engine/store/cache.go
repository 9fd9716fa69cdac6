package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// FlowCache is a job of a FlowOp whose result may be used again.
type FlowCache struct {
	Key []byte
	Job uuid.UUID
	For time.Duration // after its end
}

// CacheGet returns the job whose result is good for key; see IsNotFound.
func (db *DB) CacheGet(ctx context.Context, key []byte) (job uuid.UUID, err error) {
	err = db.read(ctx, func() error { return db.quick.QueryRow(ctx, q("CacheGet"), key).Scan((*[16]byte)(&job)) })
	if err != nil {
		return uuid.Nil, fmt.Errorf("look for a result: %w", err)
	}
	return job, nil
}

// CacheSet notes a job whose result may be used again.
func (db *DB) CacheSet(ctx context.Context, c FlowCache) error {
	if _, err := db.pool.Exec(ctx, q("CacheSet"), c.Key, [16]byte(c.Job), c.For.Microseconds()); err != nil {
		return fmt.Errorf("note a result: %w", err)
	}
	return nil
}

// CacheKeep keeps a result that no job has.
func (db *DB) CacheKeep(ctx context.Context, key []byte, value json.RawMessage, ttl time.Duration) error {
	if _, err := db.pool.Exec(ctx, q("CacheKeep"), key, value, ttl.Microseconds()); err != nil {
		return fmt.Errorf("keep a result: %w", err)
	}
	return nil
}

// CacheValue returns what CacheKeep kept, while it is good; see IsNotFound.
func (db *DB) CacheValue(ctx context.Context, key []byte) (value json.RawMessage, err error) {
	err = db.read(ctx, func() error { return db.quick.QueryRow(ctx, q("CacheValue"), key).Scan(&value) })
	if err != nil {
		return nil, fmt.Errorf("look for a result: %w", err)
	}
	return value, nil
}

// CacheSweep forgets results that are too old.
func (db *DB) CacheSweep(ctx context.Context) (int64, error) {
	return db.count(ctx, "forget results", "CacheSweep")
}
