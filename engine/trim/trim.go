// Package trim gives memory back to the host once nothing has run for a while. The collector keeps what a burst took, several times the
// live heap, for the next one; on a host that has other uses for it, that may be hours away.
package trim

import (
	"context"
	"errors"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"
)

// Config says when memory is given back. Zero values mean the default.
type Config struct {
	LastEnd func() time.Time // when the last job ended; long ago if there was none
	Quiet   time.Duration    // that must have passed since; 15 s
	Every   time.Duration    // between two looks; 5 s
	Least   uint64           // bytes below which it is not worth a collection; 16 MiB
	Free    func()           // collects and gives back; debug.FreeOSMemory
}

// Service looks at it from time to time.
type Service struct {
	cfg  Config
	mu   sync.Mutex
	stop context.CancelFunc
	done sync.WaitGroup
}

// New returns a service that does nothing before Start.
func New(cfg Config) (*Service, error) {
	if cfg.LastEnd == nil {
		return nil, errors.New("trim: Config.LastEnd is not set")
	}
	if cfg.Quiet == 0 {
		cfg.Quiet = 15 * time.Second
	}
	if cfg.Every == 0 {
		cfg.Every = 5 * time.Second
	}
	if cfg.Least == 0 {
		cfg.Least = 16 << 20
	}
	if cfg.Free == nil {
		cfg.Free = debug.FreeOSMemory
	}
	return &Service{cfg: cfg}, nil
}

// Start begins to look.
func (s *Service) Start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stop != nil {
		return errors.New("trim: started twice")
	}
	ctx, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	s.done.Go(func() { s.loop(ctx) })
	return nil
}

// Stop ends it.
func (s *Service) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stop != nil {
		s.stop()
		s.done.Wait()
	}
}

func (s *Service) loop(ctx context.Context) {
	tick := time.NewTicker(s.cfg.Every)
	defer tick.Stop()
	var done time.Time // the end that has been looked at
	for {
		select {
		case now := <-tick.C:
			last := s.cfg.LastEnd()
			if last.Equal(done) || now.Sub(last) < s.cfg.Quiet {
				continue
			}
			done = last
			if unused() >= s.cfg.Least {
				s.cfg.Free()
			}
		case <-ctx.Done():
			return
		}
	}
}

// unused is how much of the process's memory no object needs: free spans that are still the process's, and what the last collection
// would leave of the rest.
func unused() uint64 {
	m := []metrics.Sample{
		{Name: "/memory/classes/heap/free:bytes"}, {Name: "/memory/classes/heap/unused:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/gc/heap/live:bytes"},
	}
	metrics.Read(m)
	n := m[0].Value.Uint64() + m[1].Value.Uint64()
	if held, live := m[2].Value.Uint64(), m[3].Value.Uint64(); held > live {
		n += held - live // garbage since then, as far as is known
	}
	return n
}
