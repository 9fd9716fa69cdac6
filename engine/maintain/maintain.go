// Package maintain keeps the database in shape: it makes the partitions of the coming weeks, drops those of weeks that are
// out of retention, and removes what nothing refers to any more. Every daemon runs it; they do not get in each other's way.
package maintain

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/millrace/millrace/engine/store"
)

// Config describes the upkeep. Zero values mean the default.
type Config struct {
	DB    *store.DB
	Log   zerolog.Logger
	Keep  time.Duration // completed jobs stay this long, rounded up to weeks; 90 days; negative: for ever
	Every time.Duration // between two rounds, jittered; 1 h
	Tidy  time.Duration // between two looks at the indexes of the hot table, jittered; 5 min
	Ahead int           // weeks for which partitions are made ahead; 4
	Keys  time.Duration // idempotency keys stay this long; 7 days
	Grace time.Duration // a blob that nothing refers to stays this long; 1 h
	Purge time.Duration // how often data is deleted whose time is over; 2 s
}

// specSpare is how much longer than jobs the description of what they ran stays: partitions hold a week, and processes that
// remember a description say so once a day.
const specSpare = 14 * 24 * time.Hour

// What limits and debounces leave behind stays for so long after its last use; processes that remember a limit say so once a
// day.
const (
	gateSpare     = 8 * 24 * time.Hour
	debounceSpare = 24 * time.Hour
)

// Service runs the upkeep.
type Service struct {
	cfg  Config
	mu   sync.Mutex
	stop context.CancelFunc
	done sync.WaitGroup
}

// New returns a service that does nothing before Start.
func New(cfg Config) (*Service, error) {
	if cfg.DB == nil {
		return nil, errors.New("maintain: Config.DB is not set")
	}
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	set(&cfg.Keep, 90*24*time.Hour)
	set(&cfg.Every, time.Hour)
	set(&cfg.Tidy, 5*time.Minute)
	set(&cfg.Keys, 7*24*time.Hour)
	set(&cfg.Grace, time.Hour)
	set(&cfg.Purge, 2*time.Second)
	if cfg.Ahead == 0 {
		cfg.Ahead = 4
	}
	return &Service{cfg: cfg}, nil
}

// Start makes sure of this week's partitions, and goes on in the background.
func (s *Service) Start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stop != nil {
		return errors.New("maintain: started twice")
	}
	now, err := s.cfg.DB.Clock(ctx)
	if err == nil {
		_, _, err = s.cfg.DB.Partition(ctx, now, s.cfg.Ahead, 0)
	}
	if err != nil {
		s.cfg.Log.Warn().Err(err).Msg("make partitions; rows go to the default ones meanwhile")
	}
	run, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.done.Go(func() { s.loop(run) })
	s.done.Go(func() { s.tidy(run) })
	s.done.Go(func() { s.purges(run) })
	return nil
}

// Stop ends the service; safe to call twice, and unstarted.
func (s *Service) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stop != nil {
		s.stop()
		s.done.Wait()
		s.stop = nil
	}
}

func (s *Service) loop(ctx context.Context) {
	for {
		t := time.NewTimer(s.cfg.Every/2 + rand.N(s.cfg.Every))
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
		now, err := s.cfg.DB.Clock(ctx) // not this host's: a wrong one would drop what is young
		if err == nil {
			err = s.Round(ctx, now)
		}
		if err != nil && ctx.Err() == nil {
			s.cfg.Log.Warn().Err(err).Msg("upkeep of the database; the next round will try again")
		}
	}
}

// tidy rebuilds the indexes of the hot table when a peak has left them large.
func (s *Service) tidy(ctx context.Context) {
	for {
		t := time.NewTimer(s.cfg.Tidy/2 + rand.N(s.cfg.Tidy))
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
		rebuilt, err := s.cfg.DB.QueueTidy(ctx)
		if err != nil && ctx.Err() == nil {
			s.cfg.Log.Warn().Err(err).Msg("rebuild indexes of the queue; will try again")
		}
		if len(rebuilt) > 0 {
			s.cfg.Log.Info().Strs("indexes", rebuilt).Msg("indexes of the queue were rebuilt, a peak had left them large")
		}
	}
}

// purges deletes the data of flows whose time is over.
func (s *Service) purges(ctx context.Context) {
	tick := time.NewTicker(s.cfg.Purge)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if _, err := s.cfg.DB.Purge(ctx); err != nil && ctx.Err() == nil {
			s.cfg.Log.Warn().Err(err).Msg("delete the data of flows whose time is over; will try again")
		}
	}
}

// Round does everything once, as of now. One part failing does not keep the others from their work.
func (s *Service) Round(ctx context.Context, now time.Time) error {
	made, dropped, err := s.cfg.DB.Partition(ctx, now, s.cfg.Ahead, max(s.cfg.Keep, 0))
	keys, keysErr := s.cfg.DB.JobKeyExpire(ctx, s.cfg.Keys)
	blobs, blobsErr := s.cfg.DB.BlobSweep(ctx, s.cfg.Grace)
	workers, workersErr := int64(0), error(nil)
	specs, specsErr := int64(0), error(nil)
	gates, gatesErr := s.cfg.DB.GateSweep(ctx, gateSpare)
	debounced, debouncedErr := s.cfg.DB.DebounceSweep(ctx, debounceSpare)
	ticks, ticksErr := int64(0), error(nil)
	results, resultsErr := s.cfg.DB.CacheSweep(ctx)
	if s.cfg.Keep > 0 {
		workers, workersErr = s.cfg.DB.WorkerForget(ctx, s.cfg.Keep)
		specs, specsErr = s.cfg.DB.SpecForget(ctx, s.cfg.Keep+specSpare)
		ticks, ticksErr = s.cfg.DB.TickExpire(ctx, s.cfg.Keep)
	}
	s.cfg.Log.Debug().Int("made", made).Int("dropped", dropped).Int64("keys", keys).Int64("blobs", blobs).
		Int64("workers", workers).Int64("specs", specs).Int64("gates", gates).Int64("debounces", debounced).Int64("ticks", ticks).Int64("results", results).Msg("upkeep done")
	return errors.Join(err, keysErr, blobsErr, workersErr, specsErr, gatesErr, debouncedErr, ticksErr, resultsErr)
}
