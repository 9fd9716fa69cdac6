package store

import (
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// What a job puts out is of two kinds.
const (
	OutputLog    int16 = 0
	OutputStream int16 = 1 // chunks of a streamed result
)

// LogChunk is a piece of a running job's output.
type LogChunk struct {
	JobID  uuid.UUID
	Kind   int16
	Offset int64 // in bytes, from the beginning of the attempt's output
	Text   string
}

// LogAppend stores chunks of jobs that run on worker; those of other jobs are dropped. A crash of the server may lose the
// latest. A chunk at an offset that is taken replaces the older one.
func (db *DB) LogAppend(ctx context.Context, worker int32, chunks []LogChunk) error {
	n := len(chunks)
	ids, kinds, offs, texts := make([][16]byte, n), make([]int16, n), make([]int64, n), make([][]byte, n)
	for i, c := range chunks {
		ids[i], kinds[i], offs[i], texts[i] = c.JobID, c.Kind, c.Offset, []byte(c.Text)
	}
	if _, err := db.quick.Exec(ctx, q("LogAppend"), ids, kinds, offs, texts, worker); err != nil {
		return fmt.Errorf("store output: %w", err)
	}
	return nil
}

// LogRead returns what is stored of a job's output from offset on.
func (db *DB) LogRead(ctx context.Context, id uuid.UUID, kind int16, offset int64) (text string, err error) {
	err = db.read(ctx, func() error {
		text, err = db.logRead(ctx, id, kind, offset)
		return err
	})
	return text, err
}

func (db *DB) logRead(ctx context.Context, id uuid.UUID, kind int16, offset int64) (string, error) {
	rows, err := db.pool.Query(ctx, q("LogRead"), [16]byte(id), kind, offset)
	if err != nil {
		return "", fmt.Errorf("read output: %w", err)
	}
	defer rows.Close()
	var out []byte
	for rows.Next() {
		var at int64
		var chunk []byte
		if err := rows.Scan(&at, &chunk); err != nil {
			return "", fmt.Errorf("read output: %w", err)
		}
		// The first chunk may begin before offset; a chunk that was sent twice may begin within what is here already.
		if skip := offset + int64(len(out)) - at; skip > 0 {
			chunk = chunk[min(skip, int64(len(chunk))):]
		}
		out = append(out, chunk...)
	}
	if err := rows.Err(); err != nil {
		return "", fmt.Errorf("read output: %w", err)
	}
	return string(out), nil
}

// LogForget drops the stored output of jobs, when they are run anew.
func (db *DB) LogForget(ctx context.Context, ids []uuid.UUID) error {
	if _, err := db.quick.Exec(ctx, q("LogForget"), uuids(ids)); err != nil {
		return fmt.Errorf("forget output: %w", err)
	}
	return nil
}

// BlobPut keeps data by its content and returns its hash; false: it would exceed quota bytes in all. It is durable once a
// later transaction that refers to it is. A blob that nothing refers to is swept some time after its last Put.
func (db *DB) BlobPut(ctx context.Context, data []byte, quota int64) (hash []byte, ok bool, err error) {
	sum := sha256.Sum256(data)
	tag, err := db.quick.Exec(ctx, q("BlobTouch"), sum[:])
	if err != nil {
		return nil, false, fmt.Errorf("store blob: %w", err)
	}
	if tag.RowsAffected() > 0 {
		return sum[:], true, nil // spares sending it
	}
	if err := db.quick.QueryRow(ctx, q("BlobPut"), sum[:], int64(len(data)), data, quota).Scan(&ok); err != nil {
		return nil, false, fmt.Errorf("store blob: %w", err)
	}
	return sum[:], ok, nil
}

// BlobSweep removes blobs that nothing refers to and that were last put longer than grace ago.
func (db *DB) BlobSweep(ctx context.Context, grace time.Duration) (int64, error) {
	return db.count(ctx, "sweep blobs", "BlobSweep", grace)
}

// BlobUsage counts the blobs and their bytes.
func (db *DB) BlobUsage(ctx context.Context) (count, bytes int64, err error) {
	if err := db.pool.QueryRow(ctx, q("BlobUsage")).Scan(&count, &bytes); err != nil {
		return 0, 0, fmt.Errorf("measure blobs: %w", err)
	}
	return count, bytes, nil
}
