package queue

import (
	"context"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine/store"
)

// outputOp is a chunk on its way; chunks that come at the same time share a transaction.
type outputOp struct {
	chunk store.LogChunk
	err   error
	done  chan struct{}
}

// AppendLog stores a piece of a running job's log; offset counts bytes from the beginning of the attempt's log. A crash of
// the database may lose the latest pieces. Pieces of jobs that this process does not run are dropped.
func (q *Queue) AppendLog(ctx context.Context, id uuid.UUID, offset int64, text string) error {
	return q.append(ctx, store.LogChunk{JobID: id, Kind: store.OutputLog, Offset: offset, Text: text})
}

// AppendStream stores a piece of a running job's result stream.
func (q *Queue) AppendStream(ctx context.Context, id uuid.UUID, offset int64, text string) error {
	return q.append(ctx, store.LogChunk{JobID: id, Kind: store.OutputStream, Offset: offset, Text: text})
}

// append waits for the chunk even beyond ctx's end: offsets of later chunks build on it.
func (q *Queue) append(ctx context.Context, c store.LogChunk) error {
	if c.Text == "" {
		return nil
	}
	o := &outputOp{chunk: c, done: make(chan struct{})}
	q.output.add(o)
	select {
	case <-o.done:
		return wrap(o.err)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (q *Queue) flushOutput(batch []*outputOp) func() {
	chunks := make([]store.LogChunk, 0, len(batch))
	taken := map[store.LogChunk]bool{} // the same place twice in one statement is an error: the later one wins
	for i := len(batch) - 1; i >= 0; i-- {
		c := batch[i].chunk
		place := store.LogChunk{JobID: c.JobID, Kind: c.Kind, Offset: c.Offset}
		if !taken[place] {
			taken[place] = true
			chunks = append(chunks, c)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), q.cfg.FlushTime)
	defer cancel()
	err := q.cfg.DB.LogAppend(ctx, q.worker.Load(), chunks)
	for _, o := range batch {
		o.err = err
		close(o.done)
	}
	return nil
}

// Logs returns what is stored of a job's log from offset on, and the offset that follows.
func (q *Queue) Logs(ctx context.Context, id uuid.UUID, offset int64) (string, int64, error) {
	return q.read(ctx, id, store.OutputLog, offset)
}

// Stream returns what is stored of a job's result stream from offset on, and the offset that follows.
func (q *Queue) Stream(ctx context.Context, id uuid.UUID, offset int64) (string, int64, error) {
	return q.read(ctx, id, store.OutputStream, offset)
}

func (q *Queue) read(ctx context.Context, id uuid.UUID, kind int16, offset int64) (string, int64, error) {
	offset = max(offset, 0)
	text, err := q.cfg.DB.LogRead(ctx, id, kind, offset)
	return text, offset + int64(len(text)), wrap(err)
}
