package store

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// ContactInsert keeps what runs contacted, each a JSON document. A crash of the server may lose the latest.
func (db *DB) ContactInsert(ctx context.Context, jobs []uuid.UUID, lists []json.RawMessage) error {
	texts := make([]string, len(lists))
	for i, l := range lists {
		texts[i] = string(l)
	}
	if _, err := db.quick.Exec(ctx, q("ContactInsert"), uuids(jobs), texts); err != nil {
		return fmt.Errorf("store contacts: %w", err)
	}
	return nil
}

// ContactRead returns the documents of a job, oldest first.
func (db *DB) ContactRead(ctx context.Context, job uuid.UUID) (list []json.RawMessage, err error) {
	err = db.read(ctx, func() error {
		rows, err := db.pool.Query(ctx, q("ContactRead"), [16]byte(job))
		if err != nil {
			return err
		}
		list, err = pgx.CollectRows(rows, pgx.RowTo[json.RawMessage])
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read contacts: %w", err)
	}
	return list, nil
}
