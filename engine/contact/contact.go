// Package contact keeps what runs contacted. A run is told of when its last process has ended, which may be after its result is
// known: it costs a job nothing, and only runs that contacted something cost the database anything.
//
//	Begin(job)       a run of it may contact something
//	End(job, list)   it has ended
//	Of(job)          what it contacted, waiting for an end that is near
package contact

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/sandbox"
)

// Store keeps documents.
type Store interface {
	ContactInsert(ctx context.Context, jobs []uuid.UUID, lists []json.RawMessage) error
	ContactRead(ctx context.Context, job uuid.UUID) ([]json.RawMessage, error)
}

const (
	batch    = 200             // rows of one insert
	backlog  = 10_000          // rows that wait for a database that does not answer
	patience = 2 * time.Second // for a process that has answered to end
	again    = time.Second     // after a failure of the database
)

// Record is safe for concurrent use.
type Record struct {
	store Store
	log   zerolog.Logger

	mu      sync.Mutex
	running map[uuid.UUID]chan struct{} // closed at the end
	waiting []row                       // to be stored, oldest first
	wake    chan struct{}
	stop    context.CancelFunc // nil: not started
	done    sync.WaitGroup
}

type row struct {
	job  uuid.UUID
	list json.RawMessage
}

// New returns a record that stores nothing before Start.
func New(s Store, log zerolog.Logger) *Record {
	return &Record{store: s, log: log, running: map[uuid.UUID]chan struct{}{}, wake: make(chan struct{}, 1)}
}

// Begin says that a run begins.
func (r *Record) Begin(job uuid.UUID) {
	r.mu.Lock()
	r.running[job] = make(chan struct{})
	r.mu.Unlock()
}

// End says that it has ended, and what it contacted.
func (r *Record) End(job uuid.UUID, list []sandbox.Contact) {
	var doc json.RawMessage
	if len(list) > 0 {
		out := make([]engine.Contact, len(list))
		for i, c := range list {
			out[i] = engine.ContactOf(c)
		}
		var err error
		if doc, err = json.Marshal(out); err != nil {
			r.log.Error().Err(err).Stringer("job", job).Msg("encode contacts")
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if ended := r.running[job]; ended != nil {
		delete(r.running, job)
		close(ended)
	}
	if doc == nil {
		return
	}
	if len(r.waiting) >= backlog {
		r.log.Warn().Stringer("job", job).Msg("the database takes no contacts; those of a run are lost")
		return
	}
	r.waiting = append(r.waiting, row{job, doc})
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Of returns what a job contacted. While a run of it lasts its part is missing; with ended, its last process is waited for.
func (r *Record) Of(ctx context.Context, job uuid.UUID, ended bool) ([]engine.Contact, error) {
	r.mu.Lock()
	running := r.running[job]
	r.mu.Unlock()
	if running != nil && ended {
		soon, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		select {
		case <-running:
		case <-soon.Done():
		}
	}
	// What waits is looked at first: meanwhile it may be stored, and would be missed the other way round.
	var docs []json.RawMessage
	r.mu.Lock()
	for _, w := range r.waiting {
		if w.job == job {
			docs = append(docs, w.list)
		}
	}
	r.mu.Unlock()
	if len(docs) == 0 {
		var err error
		if docs, err = r.store.ContactRead(ctx, job); err != nil {
			return nil, err
		}
	}
	var out []engine.Contact
	for _, d := range docs {
		var list []engine.Contact
		if err := json.Unmarshal(d, &list); err != nil {
			return nil, fmt.Errorf("contacts of %s: %w", job, err)
		}
		out = append(out, list...)
	}
	return out, nil
}

// Start begins storing.
func (r *Record) Start(context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stop != nil {
		return errors.New("contact: started twice")
	}
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	r.done.Go(func() { r.loop(ctx) })
	return nil
}

// Stop stores what waits and ends; idempotent, and safe unstarted.
func (r *Record) Stop() {
	r.mu.Lock()
	stop := r.stop
	r.mu.Unlock()
	if stop == nil {
		return
	}
	stop()
	r.done.Wait()
}

func (r *Record) loop(ctx context.Context) {
	for {
		select {
		case <-r.wake:
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
			defer cancel()
			for r.flush(last) {
			}
			return
		}
		for r.flush(ctx) {
		}
	}
}

// flush stores one batch; false: there is none, or it is time to end.
func (r *Record) flush(ctx context.Context) (more bool) {
	r.mu.Lock()
	rows := r.waiting[:min(len(r.waiting), batch)]
	r.mu.Unlock()
	if len(rows) == 0 {
		return false
	}
	jobs, lists := make([]uuid.UUID, len(rows)), make([]json.RawMessage, len(rows))
	for i, w := range rows {
		jobs[i], lists[i] = w.job, w.list
	}
	if err := r.store.ContactInsert(ctx, jobs, lists); err != nil {
		r.log.Warn().Err(err).Int("runs", len(rows)).Msg("store contacts; trying again")
		t := time.NewTimer(again)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			return false
		}
		return ctx.Err() == nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.waiting = r.waiting[len(rows):]; len(r.waiting) == 0 {
		r.waiting = nil
		return false
	}
	return true
}
