package fault

import (
	"context"
	"syscall"
	"time"

	"github.com/millrace/millrace/cmd/internal/chaos/cluster"
	"github.com/millrace/millrace/cmd/internal/chaos/ledger"
)

// The whole server ends at once, by turns as an immediate stop and as a kill -9 of the postmaster, and is started again after
// a while.
var postmasterKill = Fault{
	Name: "postmaster-kill", About: "immediate stop or kill -9 of PostgreSQL, started again", Share: 30,
	Run: func(ctx context.Context, s *Stage) error {
		if err := s.startDatabase(ctx, cluster.Config{}); err != nil {
			return err
		}
		if err := s.fleet(ctx, 3, s.db.URL(), nil); err != nil {
			return err
		}
		return s.hurt(ctx, 500*time.Millisecond, func(i int) error {
			how := syscall.SIGKILL
			if i%2 == 0 {
				how = quit
			}
			s.kills++
			s.struck(ledger.Now())
			if err := s.db.Stop(ctx, how); err != nil {
				return err
			}
			if err := s.moment(ctx, time.Second); err != nil {
				return err
			}
			return s.db.Start(ctx)
		})
	},
}
