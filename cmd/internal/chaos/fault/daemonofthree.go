package fault

import (
	"context"
	"fmt"

	"github.com/millrace/millrace/cmd/internal/chaos/cluster"
	"github.com/millrace/millrace/cmd/internal/chaos/ledger"
)

// One of three daemons on one database is killed under HTTP load; clients go on to the next one.
var daemonOneOfThree = Fault{
	Name: "daemon-of-three", About: "kill -9 of one of three millrace serve on one PostgreSQL", Share: 15,
	Run: func(ctx context.Context, s *Stage) error {
		if err := s.cannotServe(); err != nil {
			return err
		}
		if err := s.startDatabase(ctx, cluster.Config{}); err != nil {
			return err
		}
		var all []*daemon
		for i := range 3 {
			d := &daemon{name: fmt.Sprintf("daemon%d", i+1), flags: []string{"--database-url", s.db.URL()}}
			if err := s.serve(ctx, d); err != nil {
				return err
			}
			all = append(all, d)
		}
		return s.hurtDaemons(ctx, all, func(int) error {
			d := all[s.rand.IntN(len(all))]
			s.struck(ledger.Now())
			if err := s.shoot(d); err != nil {
				return err
			}
			if err := s.works(ctx, 100); err != nil { // the others go on
				return err
			}
			return s.serve(ctx, d)
		})
	},
}
