// Package batches runs one thing for many rows of arguments. A batch is a row that counts and a range of job ids: the job of
// its row n has the id of the batch plus n, so a row that is sent again is the same job.
//
//	Receive: rows -> decoder -> pipe (bounded) -> queue.PushMany -> running -> done
//	                   |                            |
//	            a wrong row: failed         canceled: receiving stops, what waits ends, what runs is killed
//
// Promises. Rows that were counted as inserted are durable. A batch that failed or was canceled leaves nothing queued, also
// when the daemon that was at it dies: whoever is alive takes over (keep.go). A batch with an idempotency key that broke off
// is taken up by sending it again, and no row runs twice.
//
// Goroutines: Receive reads in its caller's and pushes in one of its own; Start's one looks after batches nobody else looks
// after; a cancel goes on in the background when it takes long.
package batches

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store"
)

// Queue is what Batches needs of engine/queue.
type Queue interface {
	PushMany(ctx context.Context, jobs []*engine.Job) ([]engine.PushResult, error)
	Cancel(ctx context.Context, ws string, id uuid.UUID, by, reason string) error
	List(ctx context.Context, ws string, f engine.JobFilter) ([]*engine.JobView, error)
}

// Jobs makes jobs of requests: checked, with their code found, not pushed.
type Jobs interface {
	Template(ctx context.Context, p engine.Principal, r engine.RunRequest) (*engine.Job, error)
	// Relimit makes the limits anew of a job that has other arguments than its template: their keys may depend on them.
	Relimit(ctx context.Context, j *engine.Job) error
}

// Scripts finds deployed scripts.
type Scripts interface {
	ByHash(ctx context.Context, ws string, h engine.Hash) (*engine.Script, error)
}

// Flows finds deployed flows.
type Flows interface {
	ByVersion(ctx context.Context, ws string, version int64) (*engine.Flow, error)
}

// Gate decides who may do what.
type Gate interface {
	Can(p engine.Principal, verb, ws, path string) error
}

// Config wires Batches. Zero durations and sizes mean the default.
type Config struct {
	DB      *store.DB
	Queue   Queue
	Jobs    Jobs
	Scripts Scripts
	Flows   Flows
	Gate    Gate
	Log     zerolog.Logger

	MaxRow int           // bytes of one row; 64 MiB
	Look   time.Duration // between two looks after batches that nobody looks after; 5 s
	Alive  time.Duration // a receiver that was heard of within this time is taken for alive; 5 s
	Dead   time.Duration // a batch whose receiver is silent for so long has failed; 1 min
	Resume time.Duration // the same for one that can be taken up; 1 h
}

// Batches is safe for concurrent use.
type Batches struct {
	cfg   Config
	rates rates

	base     context.Context // ends with Stop
	stop     context.CancelFunc
	started  sync.Once
	services sync.WaitGroup // loop, and cancels
}

// New returns Batches that can receive at once and look after others' after Start.
func New(cfg Config) (*Batches, error) {
	switch {
	case cfg.DB == nil, cfg.Queue == nil, cfg.Jobs == nil, cfg.Scripts == nil, cfg.Flows == nil, cfg.Gate == nil:
		return nil, errors.New("batches: a part of Config is not set")
	}
	if cfg.MaxRow == 0 {
		cfg.MaxRow = 64 << 20
	}
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{{&cfg.Look, 5 * time.Second}, {&cfg.Alive, 5 * time.Second}, {&cfg.Dead, time.Minute}, {&cfg.Resume, time.Hour}} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	b := &Batches{cfg: cfg, rates: rates{seen: map[uuid.UUID]*pace{}}}
	b.base, b.stop = context.WithCancel(context.Background())
	return b, nil
}

// Get returns a batch and how far it is.
func (b *Batches) Get(ctx context.Context, p engine.Principal, ws string, id uuid.UUID) (*engine.Batch, error) {
	if err := b.cfg.Gate.Can(p, "read", ws, ""); err != nil {
		return nil, err
	}
	return b.get(ctx, ws, id)
}

func (b *Batches) get(ctx context.Context, ws string, id uuid.UUID) (*engine.Batch, error) {
	batch, err := b.cfg.DB.BatchGet(ctx, ws, id)
	if store.IsNotFound(err) {
		return nil, &engine.Error{Code: engine.NotFound, Op: "batch.get", Path: id.String(), Msg: "there is no such batch in this workspace"}
	}
	if err != nil {
		return nil, wrap("batch.get", err)
	}
	if batch.Over() && batch.FinishedAt == nil {
		b.finish(ctx, &batch.ID)
		now := time.Now()
		batch.FinishedAt = &now
	}
	batch.Rate = b.rates.of(batch, time.Now())
	return batch, nil
}

// List returns the batches that f selects, newest first.
func (b *Batches) List(ctx context.Context, p engine.Principal, ws string, f engine.BatchFilter) ([]*engine.Batch, error) {
	if err := b.cfg.Gate.Can(p, "read", ws, ""); err != nil {
		return nil, err
	}
	f.Page = max(f.Page, 1)
	if f.PerPage == 0 {
		f.PerPage = 30
	}
	if f.PerPage < 1 || f.PerPage > 1000 {
		return nil, engine.Errorf(engine.Invalid, "batch.list", "pages hold 1 to 1000 batches")
	}
	list, err := b.cfg.DB.BatchList(ctx, ws, f)
	return list, wrap("batch.list", err)
}

// A page of results: not so large that readers of many batches would fill the memory.
const (
	pageRows  = 500
	pageBytes = 4 << 20
)

// Results returns rows after one of them, in their order, with what became of them: a page as large as is good to hold. more
// tells whether others may follow. states narrows them; nil is any.
func (b *Batches) Results(ctx context.Context, p engine.Principal, ws string, id uuid.UUID, after int64, states []engine.JobState) (rows []engine.BatchRow, more bool, err error) {
	if err := b.cfg.Gate.Can(p, "read", ws, ""); err != nil {
		return nil, false, err
	}
	if after == 0 {
		if _, err := b.get(ctx, ws, id); err != nil {
			return nil, false, err
		}
	}
	rows, more, err = b.cfg.DB.BatchResults(ctx, store.BatchPage{Batch: id, After: after, States: states, Rows: pageRows, Bytes: pageBytes})
	return rows, more, wrap("batch.results", err)
}

// wrap gives errors of the database their code.
func wrap(op string, err error) error {
	var e *engine.Error
	switch {
	case err == nil:
		return nil
	case store.IsUnavailable(err):
		return &engine.Error{Code: engine.Unavailable, Op: op, Msg: "the database cannot be reached", Hint: "try again", Err: err}
	case errors.As(err, &e), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	}
	return &engine.Error{Code: engine.Internal, Op: op, Err: err}
}

// canceled is the result of a canceled job.
func canceled(by, reason string) json.RawMessage {
	var r struct {
		Error struct {
			Name    string `json:"name"`
			Message string `json:"message"`
		} `json:"error"`
	}
	r.Error.Name, r.Error.Message = "Canceled", "canceled by "+by
	if reason != "" {
		r.Error.Message += ": " + reason
	}
	out, err := json.Marshal(r)
	if err != nil {
		panic(err) // two strings
	}
	return out
}
