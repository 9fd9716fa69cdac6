package fault

import (
	"context"
	"fmt"
	"time"

	"github.com/millrace/millrace/cmd/internal/chaos/cluster"
	"github.com/millrace/millrace/cmd/internal/chaos/ledger"
	"github.com/millrace/millrace/cmd/internal/chaos/proxy"
)

// Connections between workers and database are reset: all at once, in the middle of a request, in the middle of an answer, and
// after a request was carried out but before anything of the answer came back.
var reset = Fault{
	Name: "reset", About: "connections to PostgreSQL reset at random points, also between commit and answer", Hits: func(kills int) int { return max(4, kills/2) },
	Run: func(ctx context.Context, s *Stage) error {
		if err := s.startDatabase(ctx, cluster.Config{}); err != nil {
			return err
		}
		p, err := proxy.New(s.db.Socket(), nil)
		if err != nil {
			return err
		}
		s.onEnd(p.Close)
		if err := s.fleet(ctx, 3, p.URL(), nil); err != nil {
			return err
		}
		return s.hurt(ctx, 200*time.Millisecond, func(i int) error {
			s.struck(ledger.Now())
			p.Break(proxy.Cut(i) % proxy.Ways)
			return cluster.Until(ctx, workLimit, fmt.Sprintf("cut %d strikes", i), func() (bool, error) { return !p.Armed(), nil })
		})
	},
}
