package pgserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/sandbox/timerslack"
)

// postmaster is one life of the child.
type postmaster struct {
	pid    int
	proc   *os.Process
	exited chan struct{} // closed when it is reaped; err is set before
	err    error
	logged *logReader
}

// launch starts the child. The goroutine that forks stays on its thread until the child is gone, because the death signal
// comes when that thread ends, not when the process does.
func (s *Server) launch() (*postmaster, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("pipe for postgres: %w", err)
	}
	pm := &postmaster{exited: make(chan struct{}), logged: s.logs.read(r)}
	begun := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		cmd := s.command(context.Background(), "postgres", "-D", s.place.data)
		cmd.Stdout, cmd.Stderr = w, w
		err := timerslack.Started(timerslack.Usual, cmd.Start)
		w.Close()
		if err == nil {
			pm.pid, pm.proc = cmd.Process.Pid, cmd.Process
		}
		begun <- err
		if err == nil {
			pm.err = cmd.Wait()
			close(pm.exited)
		}
	}()
	if err := <-begun; err != nil {
		pm.logged.finish()
		return nil, explain(fmt.Errorf("start postgres: %w", err))
	}
	s.pid.Store(int64(pm.pid))
	return pm, nil
}

// waitReady returns when the child takes connections; it says so in its pid file, in the last line.
func (s *Server) waitReady(ctx context.Context, pm *postmaster) error {
	tick := time.NewTicker(4 * time.Millisecond)
	defer tick.Stop()
	slow := time.NewTicker(10 * time.Second)
	defer slow.Stop()
	for {
		select {
		case <-pm.exited:
			pm.logged.finish()
			return explain(fmt.Errorf("postgres did not start: %w: %s", pm.exitError(), pm.logged.last()))
		case <-ctx.Done():
			return fmt.Errorf("wait for postgres: %w", ctx.Err())
		case <-s.stop:
			return engine.Errorf(engine.Unavailable, "postgres.start", "stopped while starting")
		case <-slow.C:
			s.cfg.Log.Info().Str("said", pm.logged.last()).Msg("postgres is still starting, perhaps recovering")
		case <-tick.C:
			if p, err := readPidFile(s.place.data); err == nil && p.pid == pm.pid && p.status == "ready" {
				pm.logged.ready()
				return nil
			}
		}
	}
}

func (pm *postmaster) exitError() error {
	if pm.err != nil {
		return pm.err
	}
	return errors.New("exit status 0")
}

// shutdown ends the child, more and more urgently, and everything it left.
func (s *Server) shutdown(pm *postmaster) {
	pm.logged.closing()
	for _, step := range []struct {
		sig  syscall.Signal
		wait time.Duration
	}{{syscall.SIGINT, s.cfg.StopTimeout}, {syscall.SIGQUIT, 5 * time.Second}, {syscall.SIGKILL, 5 * time.Second}} {
		if err := pm.proc.Signal(step.sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
			s.cfg.Log.Warn().Err(err).Int("pid", pm.pid).Msg("signal postgres")
		}
		timer := time.NewTimer(step.wait)
		select {
		case <-pm.exited:
			timer.Stop()
			pm.logged.finish()
			if step.sig != syscall.SIGINT {
				if err := s.endOrphans(context.Background()); err != nil {
					s.cfg.Log.Warn().Err(err).Msg("end what postgres left")
				}
			}
			return
		case <-timer.C:
			s.cfg.Log.Warn().Int("pid", pm.pid).Str("signal", step.sig.String()).Msg("postgres did not stop in time")
		}
	}
	pm.logged.finish()
}

var errNoPidFile = errors.New("no pid file")

// pidFile is what postmaster.pid says.
type pidFile struct {
	pid    int
	status string // "starting", "ready", "stopping", ...; "" when not written yet
}

func readPidFile(data string) (pidFile, error) {
	text, err := os.ReadFile(filepath.Join(data, "postmaster.pid"))
	if errors.Is(err, os.ErrNotExist) {
		return pidFile{}, errNoPidFile
	}
	if err != nil {
		return pidFile{}, fmt.Errorf("pid file of postgres: %w", err)
	}
	var p pidFile
	lines := strings.Split(string(text), "\n")
	if _, err := fmt.Sscanf(lines[0], "%d", &p.pid); err != nil {
		return pidFile{}, nil // torn or empty: of nobody alive
	}
	if len(lines) >= 8 {
		p.status = strings.TrimSpace(lines[7])
	}
	return p, nil
}
