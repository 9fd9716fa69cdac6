package fault

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
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
			return s.killProcess(pid, syscall.SIGKILL)
		})
	},
}

// Single connections are terminated by an administrator.
var terminate = Fault{
	Name: "backend-terminate", About: "pg_terminate_backend of one connection", Hits: func(kills int) int { return max(2, kills/4) },
	Run: func(ctx context.Context, s *Stage) error {
		return s.overBackends(ctx, 200*time.Millisecond, func(pid int) error {
			s.struck(ledger.Now())
			_, err := s.ask(ctx, fmt.Sprintf("select pg_terminate_backend(%d)", pid))
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
		return s.untilHit(func() error {
			list, err := s.backends(ctx)
			if err != nil {
				return err
			}
			return hit(list[s.rand.IntN(len(list))])
		})
	})
}

// killProcess kills a process of a server, which is a hit for everybody.
func (s *Stage) killProcess(pid int, how syscall.Signal) error {
	at := ledger.Now()
	if err := syscall.Kill(pid, how); err != nil {
		return fmt.Errorf("kill process %d of the database: %w", pid, err)
	}
	s.kills++
	s.struck(at)
	return nil
}

// untilHit repeats a hit whose victim had just ended by itself.
func (s *Stage) untilHit(hit func() error) error {
	for {
		if err := hit(); !errors.Is(err, syscall.ESRCH) {
			return err
		}
	}
}

// backends lists the processes that serve the product's connections, once there are any.
func (s *Stage) backends(ctx context.Context) (list []int, err error) {
	err = cluster.Until(ctx, workLimit, "there are backends", func() (bool, error) {
		text, err := s.query(ctx, "select pid from pg_stat_activity where application_name like 'millrace%' order by pid")
		if err != nil {
			return false, nil // it is coming back from the last fault
		}
		list = list[:0]
		for _, f := range strings.Fields(text) {
			pid, err := strconv.Atoi(f)
			if err != nil {
				return false, err
			}
			list = append(list, pid)
		}
		return len(list) > 0, nil
	})
	return list, err
}
