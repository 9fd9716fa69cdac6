package fault

import (
	"context"
	"time"

	"github.com/millrace/millrace/cmd/internal/chaos/cluster"
)

// A lone worker is killed and started again at once: the new one buries its predecessor and takes up its jobs without waiting
// for the lease.
var workerKill = Fault{
	Name: "worker-kill", About: "kill -9 of the only worker, started again at once", Share: 35,
	Run: func(ctx context.Context, s *Stage) error {
		if err := s.startDatabase(ctx, cluster.Config{}); err != nil {
			return err
		}
		if err := s.fleet(ctx, 1, s.db.URL(), nil); err != nil {
			return err
		}
		return s.hurt(ctx, 400*time.Millisecond, func(int) error {
			if err := s.kill(s.agents[0], takeUp); err != nil {
				return err
			}
			return s.begin(ctx, s.agents[0])
		})
	},
}
