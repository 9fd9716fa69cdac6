package jobs

import (
	"context"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
)

// elsewhereTick is how often who watches a job looks at it when another daemon may run it, which gives no signal here.
const elsewhereTick = 200 * time.Millisecond

// Watch signals every change of a job that this daemon runs, and ticks for jobs that may run elsewhere.
func (s *Jobs) Watch(ctx context.Context, p engine.Principal, ws string, id uuid.UUID) (<-chan struct{}, func(), error) {
	if _, err := s.Get(ctx, p, ws, id, false); err != nil {
		return nil, nil, err
	}
	changed, stop := s.cfg.Bus.Watch(id)
	news, done := make(chan struct{}, 1), make(chan struct{})
	go func() {
		tick := time.NewTicker(elsewhereTick)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case _, open := <-changed:
				if !open {
					changed = nil
					continue
				}
			case <-tick.C:
				if !s.elsewhere(id) {
					continue
				}
			}
			select {
			case news <- struct{}{}:
			default:
			}
		}
	}()
	return news, sync.OnceFunc(func() {
		close(done)
		stop()
	}), nil
}

// elsewhere says whether a job may change without a signal here.
func (s *Jobs) elsewhere(id uuid.UUID) bool {
	if s.cfg.Others != nil && s.cfg.Others() == 0 {
		return false
	}
	_, here := s.cfg.Live.Get(id)
	return !here
}
