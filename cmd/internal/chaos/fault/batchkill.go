package fault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/cmd/internal/chaos/check"
	"github.com/millrace/millrace/cmd/internal/chaos/cluster"
	"github.com/millrace/millrace/cmd/internal/chaos/ledger"
	"github.com/millrace/millrace/web/client"
)

// A whole daemon is killed, with its database, while it receives, runs and cancels batches of thousands of rows. Who sends one sends it
// again, under the same key, until it is acknowledged.
var batchKill = Fault{
	Name: "batch-kill", About: "kill -9 of millrace serve while it receives, runs and cancels batches of thousands of rows", Share: 15,
	Run: func(ctx context.Context, s *Stage) error {
		d, c, err := s.asked(ctx)
		if err != nil {
			return err
		}
		defer c.Close()
		b := &batchLoad{client: c, salt: s.Seed}
		s.verdict = func(ctx context.Context) (*check.Result, error) { return s.judgeBatches(ctx, b) }
		return s.hurtBatches(ctx, d, b)
	},
}

const (
	batchSenders = 4
	// A batch has from so many rows to twice as many.
	batchRows = 2500
	// Every so manieth batch is canceled once it is acknowledged.
	batchCancels = 4
	batchPause   = 100 * time.Millisecond // before a batch is sent again
)

// batchSent is a batch that was acknowledged.
type batchSent struct {
	key      string
	rows     int64
	canceled bool // and so was its cancel
}

// batchLoad is what senders were told.
type batchLoad struct {
	client *client.Client
	salt   uint64
	over   atomic.Bool
	next   atomic.Int64
	acks   atomic.Int64
	broken atomic.Int64 // tries that got no answer
	mu     sync.Mutex
	sent   []batchSent // guarded by mu
}

// hurtBatches kills the daemon, each time while batches are under way, and waits until all that were acknowledged have ended.
func (s *Stage) hurtBatches(ctx context.Context, d *daemon, b *batchLoad) error {
	var senders sync.WaitGroup
	errs := make([]error, batchSenders)
	for i := range errs {
		senders.Go(func() {
			for !b.over.Load() && errs[i] == nil {
				errs[i] = b.one(ctx)
			}
		})
	}
	err := b.works(ctx)
	for i := 0; i < s.Hits && err == nil; i++ {
		if err = s.moment(ctx, time.Second); err != nil {
			break
		}
		s.struck(ledger.Now())
		err = errors.Join(s.shoot(d), s.serve(ctx, d))
		if err == nil {
			err = b.works(ctx)
		}
	}
	b.over.Store(true)
	senders.Wait()
	if err := errors.Join(append(errs, err)...); err != nil {
		return err
	}
	s.notes = append(s.notes, fmt.Sprintf("%d batches, %d tries to send one broke off", len(b.sent), b.broken.Load()))
	if err := s.rests(ctx); err != nil {
		return err
	}
	return cluster.Until(ctx, workLimit, "every batch is noted as finished", func() (bool, error) {
		text, err := s.query(ctx, "select count(*) from batch where finished_at is null")
		return err == nil && strings.TrimSpace(text) == "0", nil
	})
}

// works waits until one more batch is acknowledged.
func (b *batchLoad) works(ctx context.Context) error {
	from := b.acks.Load()
	return cluster.Until(ctx, workLimit, "a batch is acknowledged", func() (bool, error) { return b.acks.Load() > from, nil })
}

// one sends a batch until it is acknowledged, and cancels some.
func (b *batchLoad) one(ctx context.Context) error {
	n := b.next.Add(1)
	sent := batchSent{key: fmt.Sprintf("batch-%d", n), rows: batchRows + int64((uint64(n)*2654435761+b.salt)%batchRows)}
	var id uuid.UUID
	err := cluster.Until(ctx, workLimit, "batch "+sent.key+" is taken", func() (bool, error) {
		var err error
		id, err = b.client.RunBatch(ctx, client.BatchRun{Format: "ndjson", Rows: numberedRows(sent.rows), IdempotencyKey: sent.key})
		if err == nil {
			return true, nil
		}
		b.broken.Add(1)
		return false, wait(ctx, batchPause)
	})
	if err != nil {
		return err
	}
	if n%batchCancels == 0 {
		err = cluster.Until(ctx, workLimit, "batch "+sent.key+" is canceled or over", func() (bool, error) {
			err := b.client.CancelBatch(ctx, id, "enough")
			var e *client.Error
			if sent.canceled = sent.canceled || err == nil; err != nil && errors.As(err, &e) && e.Status == 409 {
				sent.canceled = true // perhaps by a try whose answer was lost
				return true, nil
			}
			return err == nil, nil
		})
	}
	b.mu.Lock()
	b.sent = append(b.sent, sent)
	b.mu.Unlock()
	b.acks.Add(1)
	return err
}

// numberedRows are rows that tell their number.
func numberedRows(n int64) io.Reader {
	r, w := io.Pipe()
	go func() {
		var err error
		for i := int64(1); i <= n && err == nil; i++ {
			_, err = fmt.Fprintf(w, "{\"row\": %d}\n", i)
		}
		w.CloseWithError(err)
	}()
	return r
}
