package fault

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"github.com/millrace/millrace/cmd/internal/chaos/check"
	"github.com/millrace/millrace/cmd/internal/chaos/cluster"
	"github.com/millrace/millrace/cmd/internal/chaos/ledger"
)

// frozen is how long a worker stands still: several leases.
const frozen = 10 * time.Second

// One of three workers stands still for longer than its lease, loses its jobs, and goes on as if nothing had happened: its
// late outcomes must be refused.
var stopped = Fault{
	Name: "stop", About: "SIGSTOP of one of three workers for 10 s, then SIGCONT", Hits: func(kills int) int { return max(1, kills/40) },
	Run: func(ctx context.Context, s *Stage) error {
		if err := s.startDatabase(ctx, cluster.Config{}); err != nil {
			return err
		}
		if err := s.fleet(ctx, 3, s.db.URL(), nil); err != nil {
			return err
		}
		s.demand(func(r *check.Result) string {
			if r.Refused == 0 {
				return "no late outcome was refused"
			}
			return ""
		})
		return s.hurt(ctx, time.Second, func(int) error { return s.freeze(ctx, s.any()) })
	},
}

func (s *Stage) freeze(ctx context.Context, a *Agent) error {
	numbers, err := s.workers(ctx, a)
	if err != nil {
		return err
	}
	// With many jobs in hand: those of a lone moment may all have been done.
	if err := s.works(ctx, 20, a.life()); err != nil {
		return err
	}
	s.hits++
	s.events = append(s.events, check.Event{At: ledger.Now(), Life: a.life(), Limit: takeUp})
	if err := a.proc.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	began := time.Now()
	if err := s.rescued(ctx, numbers); err != nil {
		return err
	}
	if err := wait(ctx, time.Until(began.Add(frozen))); err != nil {
		return err
	}
	if err := a.proc.Signal(syscall.SIGCONT); err != nil {
		return err
	}
	if err := s.works(ctx, 20, a.life()); err != nil {
		return fmt.Errorf("%s after it went on: %w", a.cfg.Name, err)
	}
	return nil
}
