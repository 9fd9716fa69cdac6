package fault

import (
	"context"
	"time"

	"github.com/millrace/millrace/cmd/internal/chaos/agent"
	"github.com/millrace/millrace/cmd/internal/chaos/cluster"
	"github.com/millrace/millrace/cmd/internal/chaos/ledger"
)

// Every message is delivered twice: each push under the same id and each outcome of the same attempt at the same time, and
// every notification again. Connections are terminated meanwhile, so that some are repeated by the product itself, too.
var twice = Fault{
	Name: "twice", About: "every push, outcome and notification delivered twice, connections terminated meanwhile",
	Hits: func(kills int) int { return max(4, kills/10) },
	Run: func(ctx context.Context, s *Stage) error {
		if err := s.startDatabase(ctx, cluster.Config{}); err != nil {
			return err
		}
		if err := s.fleet(ctx, 3, s.db.URL(), func(c *agent.Config) { c.Twice = true }); err != nil {
			return err
		}
		return s.hurt(ctx, 300*time.Millisecond, func(int) error {
			s.struck(ledger.Now())
			_, err := s.ask(ctx, "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'millrace%' and random() < 0.3")
			return err
		})
	},
}
