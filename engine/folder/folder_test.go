package folder_test

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/rs/zerolog"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/folder"
	"github.com/millrace/millrace/engine/store"
)

// world is a pool and a store in memory.
type world struct {
	mu    sync.Mutex
	open  map[string]bool
	made  int
	ended map[uuid.UUID]bool
	gone  map[uuid.UUID]bool
	taken chan string
	fail  error
}

func (w *world) Share(_ context.Context, name string, size int64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fail != nil || size != 7 || w.open[name] {
		return errors.Join(w.fail, errors.New("not possible"))
	}
	w.made++
	w.open[name] = true
	return nil
}

func (w *world) Unshare(_ context.Context, name string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.open, name)
	w.taken <- name
	return nil
}

func (w *world) FlowResult(_ context.Context, id uuid.UUID) (engine.JobState, json.RawMessage, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.ended[id] {
		return "", nil, pgx.ErrNoRows
	}
	return engine.StateCanceled, nil, nil
}

func (w *world) FlowGet(_ context.Context, id uuid.UUID) (*store.FlowRun, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.gone[id] {
		return nil, pgx.ErrNoRows
	}
	return &store.FlowRun{}, nil
}

// TestFolders: a folder is made once, whoever asks, and taken away when its flow is over, told or not.
func TestFolders(t *testing.T) {
	t.Parallel()
	w := &world{open: map[string]bool{}, ended: map[uuid.UUID]bool{}, gone: map[uuid.UUID]bool{}, taken: make(chan string, 4)}
	f := folder.New(folder.Config{Pool: w, Store: w, Size: 7, Every: time.Millisecond, Log: zerolog.Nop()})
	if err := f.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer f.Stop()
	var all sync.WaitGroup
	told, ended, deleted, alive := uuid.New(), uuid.New(), uuid.New(), uuid.New()
	names := map[uuid.UUID]string{}
	for _, id := range []uuid.UUID{told, ended, deleted, alive} {
		for range 4 {
			all.Go(func() {
				if _, err := f.Open(t.Context(), id); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		names[id], _ = f.Open(t.Context(), id)
	}
	if w.made != 4 {
		t.Errorf("%d folders were made", w.made)
	}
	f.Over(told)
	if got := <-w.taken; got != names[told] {
		t.Errorf("%s was taken away", got)
	}
	w.mu.Lock()
	w.ended[ended] = true
	w.mu.Unlock()
	if got := <-w.taken; got != names[ended] {
		t.Errorf("%s was taken away", got)
	}
	w.mu.Lock()
	w.gone[deleted] = true
	w.mu.Unlock()
	if got := <-w.taken; got != names[deleted] {
		t.Errorf("%s was taken away", got)
	}
	f.Over(uuid.New()) // of a flow that never had a step
	w.mu.Lock()
	w.fail = engine.Errorf(engine.Unavailable, "job.run", "no room")
	if len(w.open) != 1 {
		t.Errorf("%d folders are left", len(w.open))
	}
	w.mu.Unlock()
	next := uuid.New()
	if _, err := f.Open(t.Context(), next); engine.CodeOf(err) != engine.Unavailable {
		t.Errorf("%v", err)
	}
	w.mu.Lock()
	w.fail = nil
	w.mu.Unlock()
	if _, err := f.Open(t.Context(), next); err != nil {
		t.Errorf("it is not tried again: %v", err)
	}
}
