package fault

import (
	"context"
	"fmt"
	"time"

	"github.com/millrace/millrace/cmd/internal/chaos/check"
	"github.com/millrace/millrace/cmd/internal/chaos/cluster"
	"github.com/millrace/millrace/cmd/internal/chaos/ledger"
	"github.com/millrace/millrace/cmd/internal/chaos/proxy"
)

// The control breaks the promise on purpose: what the product asks for as synchronous_commit=on arrives as off, the server
// flushes late, and then it is stopped at once. If the check finds nothing lost here, it would find nothing anywhere.
var control = Fault{
	Name: "control", About: "synchronous_commit turned off between worker and server, immediate stop: must lose", MustLose: true,
	Hits: func(kills int) int { return 2 + min(1, kills/100) }, // one may come just after a flush
	Run: func(ctx context.Context, s *Stage) error {
		settings := []string{"synchronous_commit=off", "wal_writer_delay=10s", "wal_writer_flush_after=1GB", "wal_buffers=64MB"}
		if err := s.startDatabase(ctx, cluster.Config{Settings: settings}); err != nil {
			return err
		}
		var async proxy.Async
		p, err := proxy.New(s.db.Socket(), async.Rewrite)
		if err != nil {
			return err
		}
		s.onEnd(p.Close)
		if err := s.fleet(ctx, 3, p.URL(), nil); err != nil {
			return err
		}
		s.demand(func(*check.Result) string {
			if async.Rewritten.Load() == 0 {
				return "no request for synchronous_commit=on was seen"
			}
			return ""
		})
		return s.hurt(ctx, time.Second, func(int) error {
			if err := s.works(ctx, 500); err != nil {
				return err
			}
			s.kills++
			s.struck(ledger.Now())
			if err := s.db.Stop(ctx, quit); err != nil {
				return err
			}
			if err := s.db.Start(ctx); err != nil {
				return fmt.Errorf("after an immediate stop: %w", err)
			}
			return nil
		})
	},
}
