package fault

import (
	"context"

	"github.com/millrace/millrace/cmd/internal/chaos/cluster"
	"github.com/millrace/millrace/cmd/internal/chaos/ledger"
	"github.com/millrace/millrace/web/client"
)

// A whole daemon is killed under HTTP load, its private database going down with it, and started again.
var daemonKill = Fault{
	Name: "daemon-kill", About: "kill -9 of millrace serve under HTTP load, with its private PostgreSQL", Share: 20,
	Run: func(ctx context.Context, s *Stage) error {
		d, err := s.lone(ctx)
		if err != nil {
			return err
		}
		return s.hurtDaemons(ctx, []*daemon{d}, func(int) error {
			s.struck(ledger.Now())
			if err := s.shoot(d); err != nil {
				return err
			}
			return s.serve(ctx, d)
		})
	},
}

// asked is lone with a client of the daemon, which the caller closes.
func (s *Stage) asked(ctx context.Context) (*daemon, *client.Client, error) {
	d, err := s.lone(ctx)
	if err != nil {
		return nil, nil, err
	}
	c, err := client.New(client.Config{Socket: d.socket(), Workspace: "main"})
	return d, c, err
}

// lone starts one daemon with a private database.
func (s *Stage) lone(ctx context.Context) (*daemon, error) {
	d := &daemon{name: "daemon"}
	if err := s.cannotServe(); err != nil {
		return nil, err
	}
	if err := s.serve(ctx, d); err != nil {
		return nil, err
	}
	bin, err := binaries(ctx)
	if err != nil {
		return nil, err
	}
	s.query = func(ctx context.Context, sql string) (string, error) {
		return cluster.Query(ctx, bin, d.private(), sql)
	}
	return d, nil
}
