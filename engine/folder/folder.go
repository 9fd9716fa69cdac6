// Package folder keeps the folders that the steps of a flow with same_worker share: one for each such flow at work in this process, made
// when the first step asks for it, and taken away when the flow is over, by whomever it was ended. They do not outlive the process.
package folder

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store"
)

// Pool makes the folders.
type Pool interface {
	Share(ctx context.Context, name string, size int64) error
	Unshare(ctx context.Context, name string) error
}

// Store knows which flows are over: they have a result, or are not there any more.
type Store interface {
	FlowResult(ctx context.Context, id uuid.UUID) (engine.JobState, json.RawMessage, error)
	FlowGet(ctx context.Context, id uuid.UUID) (*store.FlowRun, error)
}

// Config wires Folders.
type Config struct {
	Pool  Pool
	Store Store
	Size  int64         // bytes that a folder holds
	Every time.Duration // how often flows are looked for that were ended elsewhere; 30 s
	Log   zerolog.Logger
}

// Folders is safe for concurrent use.
type Folders struct {
	cfg Config

	mu   sync.Mutex
	open map[uuid.UUID]*folder // guarded by mu

	stop context.CancelFunc
	work sync.WaitGroup
}

// folder is one; its mutex puts those who ask for it in a row.
type folder struct {
	mu   sync.Mutex
	made bool // guarded by mu
}

// New returns Folders without any.
func New(cfg Config) *Folders {
	if cfg.Every == 0 {
		cfg.Every = 30 * time.Second
	}
	return &Folders{cfg: cfg, open: map[uuid.UUID]*folder{}}
}

// Open returns the name of a flow's folder, which is there.
func (f *Folders) Open(ctx context.Context, flow uuid.UUID) (string, error) {
	f.mu.Lock()
	x := f.open[flow]
	if x == nil {
		x = &folder{}
		f.open[flow] = x
	}
	f.mu.Unlock()
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.made {
		if err := f.cfg.Pool.Share(ctx, name(flow), f.cfg.Size); err != nil {
			return "", err
		}
		x.made = true
	}
	return name(flow), nil
}

func name(flow uuid.UUID) string { return hex.EncodeToString(flow[:]) }

// Over takes the folder of a flow away, soon.
func (f *Folders) Over(flow uuid.UUID) { f.work.Go(func() { f.close(flow) }) }

func (f *Folders) close(flow uuid.UUID) {
	f.mu.Lock()
	x := f.open[flow]
	delete(f.open, flow)
	f.mu.Unlock()
	if x == nil {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.made {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := f.cfg.Pool.Unshare(ctx, name(flow)); err != nil {
		f.cfg.Log.Warn().Err(err).Stringer("flow", flow).Msg("take the folder of a flow away")
	}
}

// Start begins to look for flows that are over and of whose end nobody here was told.
func (f *Folders) Start(context.Context) error {
	ctx, stop := context.WithCancel(context.Background())
	f.stop = stop
	f.work.Go(func() {
		t := time.NewTicker(f.cfg.Every)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
				f.sweep(ctx)
			}
		}
	})
	return nil
}

// Stop ends that; safe unstarted. The folders go with the pool's isolator.
func (f *Folders) Stop() {
	if f.stop != nil {
		f.stop()
	}
	f.work.Wait()
}

func (f *Folders) sweep(ctx context.Context) {
	f.mu.Lock()
	ids := make([]uuid.UUID, 0, len(f.open))
	for id := range f.open {
		ids = append(ids, id)
	}
	f.mu.Unlock()
	for _, id := range ids {
		_, _, err := f.cfg.Store.FlowResult(ctx, id)
		over := err == nil
		if store.IsNotFound(err) {
			_, err = f.cfg.Store.FlowGet(ctx, id)
			over = store.IsNotFound(err)
		}
		if over {
			f.close(id)
		}
	}
}
