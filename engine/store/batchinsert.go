package store

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/millrace/millrace/engine"
)

// The rows of batches come in millions, so those that have nothing but their arguments take a statement that does half the work.

var batchJobTypes = append(slices.Clip(plainJobTypes), oidUUID)

// plainBatch says that all jobs are queued rows of batches with nothing but what BatchInsertJobs stores.
func plainBatch(list []*JobInsert) bool {
	for _, i := range list {
		j := i.Job
		if j.Batch == nil || i.Gate != 0 || i.Worker != 0 || j.Parent != nil || j.Source != "" || j.Lock != nil || i.ArgsBlob != nil || j.IdempotencyKey != "" {
			return false
		}
	}
	return len(list) > 0
}

// insertBatch inserts such jobs; a conflict says that some are there already, and that nothing was inserted.
func insertBatch(ctx context.Context, c *pgxpool.Conn, list []*JobInsert) error {
	r := newRows(batchJobTypes)
	cols := r.reset()
	for _, i := range list {
		addPlainJob(cols, i)
		cols[8].uuid(*i.Job.Batch)
	}
	const name = "BatchInsertJobs"
	if _, err := c.Conn().PgConn().ExecParams(ctx, q(name), r.arrays(), oids(batchJobTypes, true), binaryFormat, binaryFormat).Close(); err != nil {
		return fmt.Errorf("insert jobs: %w", err)
	}
	for _, i := range list {
		i.Inserted = true
	}
	return nil
}

// lastOfBatch bounds the ids of a batch's jobs from above; nil: of no batch.
func lastOfBatch(batch *uuid.UUID) *[16]byte {
	if batch == nil {
		return nil
	}
	last := [16]byte(engine.BatchJobID(*batch, engine.MaxBatchRows))
	return &last
}
