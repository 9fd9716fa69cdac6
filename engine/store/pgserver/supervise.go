package pgserver

import (
	"context"
	"fmt"
	"time"
)

const (
	firstPause = 50 * time.Millisecond // before the first restart; doubles up to lastPause
	lastPause  = 5 * time.Second
	steady     = time.Minute // a life this long makes earlier crashes forgotten
	patience   = 10          // failed lives in a row before giving up
)

// supervise owns the child until postgres is down for good.
func (s *Server) supervise(pm *postmaster) {
	defer close(s.done)
	defer s.release()
	born, crashes := time.Now(), 0
	for {
		select {
		case <-s.stop:
			s.shutdown(pm)
			return
		case <-pm.exited:
		}
		s.pid.Store(0)
		pm.logged.finish()
		if time.Since(born) > steady {
			crashes = 0
		}
		s.cfg.Log.Error().AnErr("exit", pm.exitError()).Str("said", pm.logged.last()).Msg("postgres died; starting it again")
		if pm = s.revive(&crashes); pm == nil {
			return
		}
		born = time.Now()
	}
}

// revive starts the child until one life gets as far as ready. It returns nil when told to stop or when it gave up.
func (s *Server) revive(crashes *int) *postmaster {
	for {
		*crashes++
		if *crashes > patience {
			err := fmt.Errorf("postgres crashed %d times in a row; see %s", *crashes-1, s.place.log)
			s.err.Store(&err)
			s.cfg.Log.Error().Err(err).Msg("giving up on postgres")
			return nil
		}
		pause := time.NewTimer(min(firstPause<<(*crashes-1), lastPause))
		select {
		case <-s.stop:
			pause.Stop()
			return nil
		case <-pause.C:
		}
		pm, err := s.again()
		if err == nil {
			s.cfg.Log.Info().Int("pid", pm.pid).Msg("postgres is back")
			return pm
		}
		select {
		case <-s.stop:
			return nil
		default:
			s.cfg.Log.Error().Err(err).Int("attempt", *crashes).Msg("restart postgres")
		}
	}
}

func (s *Server) again() (*postmaster, error) {
	ctx := context.Background() // recovery takes as long as it takes; Stop ends the wait
	if err := s.removeStray(ctx); err != nil {
		return nil, err
	}
	pm, err := s.launch()
	if err != nil {
		return nil, err
	}
	if err := s.waitReady(ctx, pm); err != nil {
		s.shutdown(pm)
		s.pid.Store(0)
		return nil, err
	}
	return pm, nil
}
