package fault

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/millrace/millrace/engine/store/pgserver"
)

// livesOfDatabase is how often the private database may die before the daemon is started anew: a daemon whose database keeps
// dying gives up, and its service manager takes over.
const livesOfDatabase = 8

// The private database of a daemon dies under HTTP load, by turns by an immediate stop, a kill of its postmaster and one of a
// backend; the daemon brings it up again.
var daemonPostgres = Fault{
	Name: "daemon-postgres", About: "the private PostgreSQL of millrace serve killed; the daemon restarts it", Share: 15,
	Run: func(ctx context.Context, s *Stage) error {
		d, err := s.lone(ctx)
		if err != nil {
			return err
		}
		return s.hurtDaemons(ctx, []*daemon{d}, func(i int) error {
			if i%livesOfDatabase == livesOfDatabase-1 {
				s.end(d)
				if err := s.serve(ctx, d); err != nil {
					return err
				}
			}
			return s.untilHit(func() error {
				pid, how, err := s.victim(ctx, d, i)
				if err != nil {
					return err
				}
				return s.killProcess(pid, how)
			})
		})
	},
}

// victim picks a process of the private database and how it dies.
func (s *Stage) victim(ctx context.Context, d *daemon, i int) (pid int, how syscall.Signal, err error) {
	if i%3 == 2 {
		list, err := s.backends(ctx)
		if err != nil {
			return 0, 0, err
		}
		return list[s.rand.IntN(len(list))], syscall.SIGKILL, nil
	}
	// Its postmaster may just be coming back.
	if _, err := s.ask(ctx, "select 1"); err != nil {
		return 0, 0, err
	}
	text, err := os.ReadFile(filepath.Join(d.data, "postgres", "data", "postmaster.pid"))
	if err != nil {
		return 0, 0, err
	}
	first, _, _ := strings.Cut(string(text), "\n")
	pid, err = strconv.Atoi(first)
	return pid, []syscall.Signal{quit, syscall.SIGKILL}[i%3], err
}

// binaries is the folder of PostgreSQL's programs.
func binaries(ctx context.Context) (string, error) {
	b, err := pgserver.FindBinaries(ctx, "", 0)
	return b.Dir, err
}
