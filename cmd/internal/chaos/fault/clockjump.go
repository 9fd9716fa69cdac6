package fault

import (
	"context"
	"os/exec"
	"time"

	"github.com/millrace/millrace/cmd/internal/chaos/agent"
	"github.com/millrace/millrace/cmd/internal/chaos/clock"
	"github.com/millrace/millrace/cmd/internal/chaos/cluster"
	"github.com/millrace/millrace/cmd/internal/chaos/ledger"
)

// jumps are the errors of the clock, in turn; each is a jump from the one before.
var jumps = []time.Duration{time.Hour, 0, -time.Hour, 0, 90 * time.Second, -90 * time.Second}

// The database's clock is set forward and back under load, and a worker dies each time: neither may jobs wait for the clock to
// catch up nor may leases run for ever.
var clockJump = Fault{
	Name: "clock-jump", About: "the database's clock set by an hour forward and back, a worker killed after each",
	Hits: func(kills int) int { return max(4, kills/20) },
	Cannot: func() string {
		if _, err := exec.LookPath("cc"); err != nil {
			return "there is no C compiler for the library that shifts the server's clock"
		}
		return ""
	},
	Run: func(ctx context.Context, s *Stage) error {
		shim, err := clock.New(ctx, s.Dir)
		if err != nil {
			return err
		}
		if err := s.startDatabase(ctx, cluster.Config{Env: shim.Env()}); err != nil {
			return err
		}
		if err := s.fleet(ctx, 3, s.db.URL(), busy); err != nil {
			return err
		}
		return s.hurt(ctx, time.Second, func(i int) error {
			if err := shim.Set(jumps[i%len(jumps)]); err != nil {
				return err
			}
			s.struck(ledger.Now())
			if err := s.works(ctx, 200); err != nil {
				return err
			}
			a := s.any()
			numbers, err := s.workers(ctx, a)
			if err != nil {
				return err
			}
			// When the clock was set everybody gets the time of another lease.
			if err := s.kill(a, takeUp+lease); err != nil {
				return err
			}
			s.hits-- // the jump was the hit
			if err := s.rescued(ctx, numbers); err != nil {
				return err
			}
			return s.begin(ctx, a)
		})
	},
}

// busy makes it likely that jobs are queued when the clock is set: few slots, and sometimes many jobs at once.
func busy(c *agent.Config) { c.Rate, c.Slots, c.Slow, c.Bulk = 150, 8, 4, 5 }
