package batches

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store"
)

// Receive makes a batch of the rows of r. When it returns a batch without an error, all of them are durable. A row that is
// wrong fails the batch, and the error says which; so does reading that breaks off, unless the request has an idempotency
// key: then sending it again goes on where it was.
func (b *Batches) Receive(ctx context.Context, p engine.Principal, r engine.BatchRequest) (*engine.Batch, error) {
	tmpl, batch, err := b.begin(ctx, p, &r)
	if err != nil {
		return batch, err
	}
	if batch.State != engine.BatchReceiving {
		return batch, settledBefore(batch)
	}
	f := &filling{b: b, batch: batch, tmpl: tmpl, from: batch.Inserted, resumable: r.Run.IdempotencyKey != ""}
	var src source
	schema, err := b.schema(ctx, tmpl)
	if err == nil {
		src, err = newSource(r.Format, r.Rows, schema, b.cfg.MaxRow)
	}
	if err != nil {
		return batch, f.broken(ctx, reading(err))
	}
	if a, ok := r.Rows.(aborter); ok {
		f.abort = a.Abort
	}
	return b.fill(ctx, f, src)
}

// aborter is a reader whose Read can be made to return.
type aborter interface{ Abort() }

// begin finds the code, checks permissions and makes the batch, or finds the one that the key made before and takes it.
func (b *Batches) begin(ctx context.Context, p engine.Principal, r *engine.BatchRequest) (*engine.Job, *engine.Batch, error) {
	run := r.Run
	run.Args, run.ID, run.IdempotencyKey = nil, nil, ""
	tmpl, err := b.cfg.Jobs.Template(ctx, p, run)
	if err != nil {
		return nil, nil, err
	}
	batch := &engine.Batch{ID: engine.NewBatchID(), Workspace: run.Workspace, Name: r.Name, Kind: tmpl.Kind, Path: tmpl.Path, Hash: tmpl.Hash,
		Keep: r.Keep, CreatedBy: p.Username, State: engine.BatchReceiving, CreatedAt: time.Now()}
	made, err := b.open(ctx, batch, r.Run.IdempotencyKey)
	if err != nil || made == batch {
		return tmpl, made, err
	}
	if made.Path != tmpl.Path || made.Kind != tmpl.Kind || made.Source != nil {
		return nil, nil, &engine.Error{Code: engine.Conflict, Op: "batch.receive", Path: made.ID.String(),
			Msg: "the idempotency key made another batch: of " + what(made)}
	}
	if made.State != engine.BatchReceiving {
		return tmpl, made, nil
	}
	if made.Hash != tmpl.Hash { // its rows run one version
		run.Path, run.Hash = "", made.Hash
		if tmpl, err = b.cfg.Jobs.Template(ctx, p, run); err != nil {
			return nil, nil, err
		}
	}
	return tmpl, made, b.take(ctx, made)
}

func what(b *engine.Batch) string {
	if b.Path != "" {
		return b.Path
	}
	return string(b.Kind)
}

// open stores a batch, or returns the one of the same key.
func (b *Batches) open(ctx context.Context, batch *engine.Batch, key string) (*engine.Batch, error) {
	stored, err := b.cfg.DB.BatchInsert(ctx, batch, key)
	if err != nil || stored {
		return batch, wrap("batch.receive", err)
	}
	first, err := b.cfg.DB.BatchByKey(ctx, batch.Workspace, key)
	return first, wrap("batch.receive", err)
}

// take makes a batch that broke off the caller's to receive.
func (b *Batches) take(ctx context.Context, batch *engine.Batch) error {
	mine, err := b.cfg.DB.BatchTake(ctx, batch.ID, b.cfg.Alive)
	if err != nil {
		return wrap("batch.receive", err)
	}
	if !mine {
		return &engine.Error{Code: engine.Conflict, Op: "batch.receive", Path: batch.ID.String(),
			Msg: "another request sends the rows of this batch", Hint: fmt.Sprintf("try again in %.0f seconds", b.cfg.Alive.Seconds())}
	}
	return nil
}

// settledBefore is the answer for a batch that the idempotency key made before, and that is received.
func settledBefore(batch *engine.Batch) error {
	switch batch.State {
	case engine.BatchFailed:
		return &engine.Error{Code: engine.Conflict, Op: "batch.receive", Path: batch.ID.String(), Msg: "the batch of this idempotency key has failed: " + batch.Error,
			Hint: "send it with another key"}
	case engine.BatchCanceled:
		return &engine.Error{Code: engine.Conflict, Op: "batch.receive", Path: batch.ID.String(), Msg: "the batch of this idempotency key was canceled by " + batch.CanceledBy,
			Hint: "send it with another key"}
	}
	return nil
}

// schema is that of the arguments of what a template runs; nil: not known.
func (b *Batches) schema(ctx context.Context, tmpl *engine.Job) ([]byte, error) {
	switch {
	case tmpl.Hash == 0:
		return nil, nil
	case tmpl.Kind == engine.KindFlow:
		f, err := b.cfg.Flows.ByVersion(ctx, tmpl.Workspace, int64(tmpl.Hash))
		if err != nil {
			return nil, err
		}
		return f.Schema, nil
	}
	s, err := b.cfg.Scripts.ByHash(ctx, tmpl.Workspace, tmpl.Hash)
	if err != nil {
		return nil, err
	}
	return s.Schema, nil
}

// filling is a batch whose rows are coming in.
type filling struct {
	b         *Batches
	batch     *engine.Batch
	tmpl      *engine.Job // nil: each row has its own
	from      int64       // so many rows are durable already
	resumable bool
	abort     func() // makes reading return; nil: it does so by itself

	inserted int64 // rows that are durable; written by push
	jobs     []*engine.Job
}

var errCanceled = errors.New("canceled")

// readError says that reading the rows failed, for a reason that is not ours.
type readError struct{ error }

func (e readError) Unwrap() error { return e.error }

// fill pushes all rows of src and ends receiving.
func (b *Batches) fill(ctx context.Context, f *filling, src source) (*engine.Batch, error) {
	p := newPipe()
	pushed := make(chan error, 1)
	go func() {
		err := f.push(ctx, p)
		p.kill()
		if err != nil && f.abort != nil {
			f.abort()
		}
		pushed <- err
	}()
	readErr := f.read(ctx, src, p)
	p.end()
	err := <-pushed
	if err == nil {
		err = readErr
	}
	if err == nil {
		var kept bool
		kept, err = b.cfg.DB.BatchReceived(ctx, f.batch.ID, f.inserted)
		if err == nil && !kept {
			err = errCanceled
		}
	}
	if err != nil {
		return f.batch, f.broken(ctx, err)
	}
	batch, err := b.get(ctx, f.batch.Workspace, f.batch.ID)
	if err != nil { // everything is stored: only the look failed
		f.batch.State, f.batch.Total, f.batch.Inserted = engine.BatchRunning, &f.inserted, f.inserted
		return f.batch, nil //nolint:nilerr // see above
	}
	return batch, nil
}

func (f *filling) read(ctx context.Context, src source, p *pipe) error {
	for n := int64(0); ; n++ {
		r, err := src.next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return reading(err)
		case n >= engine.MaxBatchRows:
			return &rowError{fmt.Sprintf("a batch may have %d rows", int64(engine.MaxBatchRows))}
		case ctx.Err() != nil:
			return ctx.Err()
		}
		if !p.put(r) {
			return nil // push says why
		}
	}
}

// reading marks errors that are not about a row, and not from the engine, as the reader's.
func reading(err error) error {
	var bad *rowError
	var e *engine.Error
	if errors.As(err, &bad) || errors.As(err, &e) {
		return err
	}
	return readError{err}
}

// touchEvery is how often a receiver is heard of, and asks whether the batch is still wanted.
const touchEvery = 500 * time.Millisecond

// push takes rows and stores them until they end.
func (f *filling) push(ctx context.Context, p *pipe) error {
	tick := time.NewTicker(touchEvery)
	defer tick.Stop()
	var rows []row
	seen := int64(0)
	for over := false; !over; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			if err := f.touch(ctx); err != nil {
				return err
			}
			continue
		case <-p.more:
		}
		rows, over = p.take(rows)
		skip := min(max(f.from-seen, 0), int64(len(rows))) // durable since an earlier try
		seen += int64(len(rows))
		f.inserted = max(f.inserted, seen-int64(len(rows))+skip)
		if err := f.store(ctx, rows[skip:]); err != nil {
			return err
		}
		clear(rows)
		select {
		case <-tick.C:
			if err := f.touch(ctx); err != nil {
				return err
			}
		default:
		}
	}
	if seen < f.from {
		return &rowError{fmt.Sprintf("there are %d rows, but %d were sent before with the same idempotency key", seen, f.from)}
	}
	return nil
}

func (f *filling) touch(ctx context.Context) error {
	wanted, err := f.b.cfg.DB.BatchTouch(ctx, f.batch.ID, f.inserted)
	switch {
	case store.IsUnavailable(err):
		return nil // the rows themselves will tell when it lasts
	case err != nil:
		return err
	case !wanted:
		return errCanceled
	}
	return nil
}

// store makes jobs of the rows that follow those that are stored, and pushes them.
func (f *filling) store(ctx context.Context, rows []row) error {
	f.jobs = f.jobs[:0]
	for i, r := range rows {
		tmpl := f.tmpl
		if r.job != nil {
			tmpl = r.job
		}
		j := *tmpl
		j.ID, j.Args, j.CreatedAt, j.Batch = engine.BatchJobID(f.batch.ID, f.inserted+int64(i)+1), r.args, f.batch.CreatedAt, &f.batch.ID
		j.Debounce = nil
		if err := f.b.cfg.Jobs.Relimit(ctx, &j); err != nil {
			return err
		}
		j.Debounce = nil // each row was asked for: none replaces another
		f.jobs = append(f.jobs, &j)
	}
	done, err := f.patiently(ctx)
	f.inserted += int64(done)
	switch code := engine.CodeOf(err); {
	case err == nil:
		return nil
	case code != engine.Invalid && code != engine.TooLarge:
		return err
	}
	// One of the rows behind is wrong: which?
	for i := done; i < len(rows); i++ {
		if _, err := f.b.cfg.Queue.PushMany(ctx, f.jobs[i:i+1]); err != nil {
			if code := engine.CodeOf(err); code == engine.Invalid || code == engine.TooLarge {
				return wrong(rows[i].place(), "%s", said(err))
			}
			return err
		}
		f.inserted++
	}
	return nil
}

// pushPatience is how long rows wait for a database that cannot be reached.
const pushPatience = 30 * time.Second

// patiently pushes jobs, again while the database cannot be reached, and says how many are stored.
func (f *filling) patiently(ctx context.Context) (done int, err error) {
	deadline, rest := time.Now().Add(pushPatience), 50*time.Millisecond
	for {
		stored, err := f.b.cfg.Queue.PushMany(ctx, f.jobs[done:])
		done += len(stored)
		if engine.CodeOf(err) != engine.Unavailable || time.Now().Add(rest).After(deadline) {
			return done, err
		}
		t := time.NewTimer(rest)
		select {
		case <-ctx.Done():
			t.Stop()
			return done, ctx.Err()
		case <-t.C:
		}
		rest = min(2*rest, time.Second)
	}
}
