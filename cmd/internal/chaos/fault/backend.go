package fault

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"github.com/millrace/millrace/cmd/internal/chaos/cluster"
	"github.com/millrace/millrace/cmd/internal/chaos/ledger"
)

// A backend of PostgreSQL is killed: the postmaster then ends all of them and recovers.
var backendKill = Fault{
	Name: "backend-kill", About: "kill -9 of a PostgreSQL backend, which restarts all of them", Share: 30,
	Run: func(ctx context.Context, s *Stage) error {
		return s.overBackends(ctx, 500*time.Millisecond, func(pid int) error {
			s.kills++
			s.struck(ledger.Now())
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				return fmt.Errorf("kill backend %d: %w", pid, err)
			}
			return nil
		})
	},
}

// Single connections are terminated by an administrator.
var terminate = Fault{
	Name: "backend-terminate", About: "pg_terminate_backend of one connection", Hits: func(kills int) int { return max(2, kills/4) },
	Run: func(ctx context.Context, s *Stage) error {
		return s.overBackends(ctx, 200*time.Millisecond, func(pid int) error {
			s.struck(ledger.Now())
			_, err := s.query(ctx, fmt.Sprintf("select pg_terminate_backend(%d)", pid))
			return err
		})
	},
}

// overBackends runs three workers and hits one of their connections at a time.
func (s *Stage) overBackends(ctx context.Context, most time.Duration, hit func(pid int) error) error {
	if err := s.startDatabase(ctx, cluster.Config{}); err != nil {
		return err
	}
	if err := s.fleet(ctx, 3, s.db.URL(), nil); err != nil {
		return err
	}
	return s.hurt(ctx, most, func(int) error {
		list, err := s.db.Backends(ctx)
		if err != nil {
			return err
		}
		if len(list) == 0 {
			return fmt.Errorf("there are no backends")
		}
		return hit(list[s.rand.IntN(len(list))])
	})
}
