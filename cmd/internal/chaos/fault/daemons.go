package fault

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/millrace/millrace/cmd/internal/chaos/child"
	"github.com/millrace/millrace/cmd/internal/chaos/cluster"
	"github.com/millrace/millrace/web/client"
)

// daemon is a whole millrace serve with a data folder of its own.
type daemon struct {
	name, data string
	flags      []string
	proc       *child.Child
}

func (d *daemon) socket() string { return filepath.Join(d.data, "run", "millrace.sock") }

// private is the address of the database that a daemon without --database-url keeps.
func (d *daemon) private() string { return cluster.URL(filepath.Join(d.data, "postgres", "socket")) }

// cannotServe says why no daemon can be started here.
func (s *Stage) cannotServe() error {
	if _, err := os.Stat(s.Daemon); err != nil {
		return fmt.Errorf("the daemon is not built: run make build: %w", err)
	}
	return nil
}

// serve starts a daemon and waits until it is ready.
func (s *Stage) serve(ctx context.Context, d *daemon) error {
	if d.data == "" {
		d.data = filepath.Join(s.Dir, d.name)
		if err := os.Mkdir(d.data, 0o755); err != nil {
			return err
		}
		s.onEnd(func() { s.end(d) })
	}
	logs, err := os.OpenFile(filepath.Join(s.Dir, d.name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer logs.Close()
	// Walls and languages are not what is tested here; without them a daemon is back sooner.
	args := append([]string{"serve", "--data", d.data, "--listen", "127.0.0.1:0", "--log", "json", "--isolation", "none", "--slots", "1"}, d.flags...)
	cmd := exec.Command(s.Daemon, args...)
	cmd.Stdout, cmd.Stderr = logs, logs
	if d.proc, err = child.Start(cmd, syscall.SIGTERM); err != nil {
		return err
	}
	c, err := client.New(client.Config{Socket: d.socket()})
	if err != nil {
		return err
	}
	defer c.Close()
	return cluster.Until(ctx, workLimit, d.name+" is ready", func() (bool, error) {
		if d.proc.Gone() {
			return false, errors.New("it ended; its log says why")
		}
		return c.Ready(ctx) == nil, nil
	})
}

// end stops a daemon in order.
func (s *Stage) end(d *daemon) {
	if d.proc == nil || d.proc.Gone() {
		return
	}
	_ = d.proc.Signal(syscall.SIGTERM) // it may just have ended
	if d.proc.Wait(workLimit) != nil {
		s.notes = append(s.notes, d.name+" did not stop")
		_ = d.proc.Kill()
	}
}

// shoot kills the process that serves. Started as root, the daemon is an unprivileged child of what was started.
func (s *Stage) shoot(d *daemon) error {
	pid, err := serving(d)
	if err != nil {
		return err
	}
	s.kills++
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return fmt.Errorf("kill %s: %w", d.name, err)
	}
	return d.proc.Wait(workLimit) // its keeper follows
}

// serving finds the process that serves: the last in the line from the started one down whose command is the daemon's.
func serving(d *daemon) (int, error) {
	text, err := os.ReadFile(filepath.Join(d.data, "postgres", "lock"))
	if err == nil { // the private database's lock names its daemon
		if pid, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil {
			return pid, nil
		}
	}
	pid := d.proc.PID
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return 0, err
	}
	for _, f := range strings.Fields(string(children)) {
		child, err := strconv.Atoi(f)
		if err != nil {
			continue
		}
		if argv, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", child)); err == nil && strings.Contains(string(argv), "\x00serve\x00") {
			return child, nil
		}
	}
	return pid, nil
}

// load runs clients against daemons while fn hits them, and comes to rest.
func (s *Stage) load(ctx context.Context, daemons []*daemon, fn func() error) error {
	crowd, err := s.clients(daemons)
	if err != nil {
		return err
	}
	err = errors.Join(s.works(ctx, 100), fn())
	if err := errors.Join(err, crowd.stop()); err != nil {
		return err
	}
	return s.rests(ctx)
}

// hurtDaemons hits as often as wanted, each time after a random moment of load.
func (s *Stage) hurtDaemons(ctx context.Context, daemons []*daemon, hit func(i int) error) error {
	return s.load(ctx, daemons, func() error {
		for i := range s.Hits {
			if err := s.moment(ctx, 500*time.Millisecond); err != nil {
				return err
			}
			if err := hit(i); err != nil {
				return err
			}
			if err := s.works(ctx, 100); err != nil {
				return err
			}
		}
		return nil
	})
}
