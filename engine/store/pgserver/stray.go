package pgserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/millrace/millrace/engine"
)

// removeStray deals with what an earlier daemon left in the cluster: a living postmaster is stopped, orphaned backends are
// ended, a stale pid file is removed. We hold the folder's lock, so nobody else's living daemon is behind it.
func (s *Server) removeStray(ctx context.Context) error {
	p, err := readPidFile(s.place.data)
	if errors.Is(err, errNoPidFile) {
		return nil
	}
	if err != nil {
		return err
	}
	if p.pid > 0 && s.isOurs(p.pid) {
		s.cfg.Log.Warn().Int("pid", p.pid).Msg("stopping the postgres that an earlier daemon left")
		if err := s.stopStray(ctx, p.pid); err != nil {
			return err
		}
	}
	if err := s.endOrphans(ctx); err != nil {
		return err
	}
	// postgres takes any living process with the recorded pid for a postmaster, so a reused pid would keep it from starting.
	// Nobody works in the cluster any more: removing the file is safe.
	if err := os.Remove(filepath.Join(s.place.data, "postmaster.pid")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove the stale pid file of postgres: %w", err)
	}
	return nil
}

func (s *Server) stopStray(ctx context.Context, pid int) error {
	for _, step := range []struct {
		sig  syscall.Signal
		wait time.Duration
	}{{syscall.SIGINT, s.cfg.StopTimeout}, {syscall.SIGQUIT, 5 * time.Second}, {syscall.SIGKILL, 5 * time.Second}} {
		if !s.isOurs(pid) { // never signal a pid that has become somebody else's
			return nil
		}
		if err := syscall.Kill(pid, step.sig); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("stop the postgres that an earlier daemon left (pid %d): %w", pid, err)
		}
		if err := until(ctx, step.wait, func() bool { return !s.isOurs(pid) }); err == nil {
			return nil
		} else if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return &engine.Error{Code: engine.Unavailable, Op: "postgres.start", Path: s.place.dir,
		Msg: fmt.Sprintf("a postgres of an earlier daemon (pid %d) does not stop", pid), Hint: "look at what it hangs on: a disk, most often"}
}

// endOrphans ends backends whose postmaster is gone. They notice by themselves when idle; one in a long query does not, and
// postgres refuses to start while it is attached to the old shared memory.
func (s *Server) endOrphans(ctx context.Context) error {
	for _, step := range []struct {
		sig  syscall.Signal
		wait time.Duration
	}{{0, 200 * time.Millisecond}, {syscall.SIGQUIT, 3 * time.Second}, {syscall.SIGKILL, 5 * time.Second}} {
		for _, pid := range s.processes() {
			if err := syscall.Kill(pid, step.sig); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("end an orphaned backend of postgres (pid %d): %w", pid, err)
			}
		}
		if until(ctx, step.wait, func() bool { return len(s.processes()) == 0 }) == nil {
			return nil
		}
	}
	return &engine.Error{Code: engine.Unavailable, Op: "postgres.start", Path: s.place.dir,
		Msg: fmt.Sprintf("backends of an earlier postgres do not end: %v", s.processes())}
}

// isOurs tells whether pid is a living postgres of this cluster: postgres works in its data folder. Zombies have no exe.
func (s *Server) isOurs(pid int) bool {
	proc := "/proc/" + strconv.Itoa(pid)
	exe, err := os.Readlink(proc + "/exe")
	if err != nil || strings.TrimSuffix(filepath.Base(exe), " (deleted)") != "postgres" {
		return false
	}
	cwd, err := os.Stat(proc + "/cwd/.")
	if err != nil {
		return false
	}
	data, err := os.Stat(s.place.data)
	return err == nil && os.SameFile(cwd, data)
}

// processes lists the living postgres processes of this cluster.
func (s *Server) processes() []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var pids []int
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil && s.isOurs(pid) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// until waits for a fact about another's process, which nobody would tell us.
func until(ctx context.Context, limit time.Duration, fact func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !fact() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return nil
}
