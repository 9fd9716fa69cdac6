package fault

import (
	"context"
	"time"

	"github.com/millrace/millrace/cmd/internal/chaos/cluster"
)

// One of three workers is killed and stays away until the others have found out by themselves.
var oneOfThree = Fault{
	Name: "one-of-three", About: "kill -9 of one of three workers, its jobs rescued by the others", Share: 35,
	Run: func(ctx context.Context, s *Stage) error {
		if err := s.startDatabase(ctx, cluster.Config{}); err != nil {
			return err
		}
		if err := s.fleet(ctx, 3, s.db.URL(), nil); err != nil {
			return err
		}
		return s.hurt(ctx, 400*time.Millisecond, func(int) error {
			a := s.any()
			numbers, err := s.workers(ctx, a)
			if err != nil {
				return err
			}
			if err := s.kill(a, takeUp); err != nil {
				return err
			}
			if err := s.rescued(ctx, numbers); err != nil {
				return err
			}
			return s.begin(ctx, a)
		})
	},
}
