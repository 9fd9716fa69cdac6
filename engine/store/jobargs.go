package store

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/google/uuid"
)

// JobArgsMade has a running job keep what its preprocessor has made of the request that it had: args, or the blob that they are in.
// False: the attempt is not its worker's any more.
func (db *DB) JobArgsMade(ctx context.Context, a FlowAttempt, args json.RawMessage, blob []byte) (bool, error) {
	var inline *string
	if blob == nil {
		text := string(args)
		inline = &text
	}
	n, err := db.count(ctx, "store preprocessed arguments", "JobArgsMade", [16]byte(a.ID), a.Worker, a.Attempt, inline, blob)
	return n == 1, err
}

// JobPreprocessed tells whether the arguments of a job are those that its preprocessor has made; see IsNotFound.
func (db *DB) JobPreprocessed(ctx context.Context, id uuid.UUID) (bool, error) {
	var done bool
	err := db.read(ctx, func() error {
		return db.quick.QueryRow(ctx, q("JobPreprocessed"), [16]byte(id)).Scan(&done)
	})
	if err != nil {
		return false, fmt.Errorf("look whether job %s is preprocessed: %w", id, err)
	}
	return done, nil
}
