package pgserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/millrace/millrace/engine"
)

// minFree is what a new cluster needs at the very least: initdb writes about 40 MB, then comes the write-ahead log.
const minFree = 256 << 20

// prepareCluster finds the binaries, makes the cluster if there is none, and writes its configuration.
func (s *Server) prepareCluster(ctx context.Context) error {
	major, err := clusterMajor(s.place.data)
	if err != nil {
		return err
	}
	if s.bins, err = FindBinaries(ctx, s.cfg.BinDir, major); err != nil {
		return err
	}
	if major == 0 {
		if err := s.initdb(ctx); err != nil {
			return err
		}
	}
	return s.writeConfig(ctx)
}

// clusterMajor is the version that made the cluster in dir; 0 when there is none.
func clusterMajor(dir string) (int, error) {
	text, err := os.ReadFile(filepath.Join(dir, "PG_VERSION"))
	if err == nil {
		var n int
		if n, err = strconv.Atoi(strings.TrimSpace(string(text))); err == nil {
			return n, nil
		}
		return 0, &engine.Error{Code: engine.Invalid, Op: "postgres.start", Path: dir, Msg: "its PG_VERSION is not a number",
			Hint: "restore the folder from a backup, or choose another --data folder"}
	}
	if !errors.Is(err, os.ErrNotExist) {
		return 0, fmt.Errorf("data folder of postgres: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, fmt.Errorf("data folder of postgres: %w", err)
	}
	if len(entries) > 0 {
		return 0, &engine.Error{Code: engine.Invalid, Op: "postgres.start", Path: dir,
			Msg: "is not empty and not a PostgreSQL cluster", Hint: "restore it from a backup, or choose another --data folder"}
	}
	return 0, nil
}

// initdb makes the cluster beside its place and renames it, so that a start that was cut off leaves nothing half-made.
func (s *Server) initdb(ctx context.Context) error {
	if err := os.RemoveAll(s.place.fresh); err != nil {
		return fmt.Errorf("remove what an earlier initdb left: %w", err)
	}
	if free, _ := diskSpace(s.place.dir); free < minFree {
		return &engine.Error{Code: engine.Unavailable, Op: "postgres.initdb", Path: s.place.dir,
			Msg: fmt.Sprintf("only %d MB are free", free>>20), Hint: "free some space, or choose another --data folder"}
	}
	out, err := s.runInitdb(ctx, "C.UTF-8")
	if err != nil && strings.Contains(out, "invalid locale") { // a C library without it; code points sort alike in both
		out, err = s.runInitdb(ctx, "C")
	}
	if err != nil {
		os.RemoveAll(s.place.fresh)
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return explain(fmt.Errorf("initdb: %w: %s", err, tail(out, 3)))
	}
	if err := os.Remove(s.place.data); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("place the new cluster: %w", err)
	}
	if err := os.Rename(s.place.fresh, s.place.data); err != nil {
		return fmt.Errorf("place the new cluster: %w", err)
	}
	return syncFolder(s.place.dir)
}

func (s *Server) runInitdb(ctx context.Context, locale string) (string, error) {
	args := []string{"-D", s.place.fresh, "-U", Role, "--auth=trust", "--encoding=UTF8", "--locale=" + locale, "--data-checksums"}
	if s.cfg.Settings["fsync"] == "off" {
		args = append(args, "--no-sync")
	}
	cmd := s.command(ctx, "initdb", args...)
	out := &strings.Builder{}
	cmd.Stdout, cmd.Stderr = out, out
	// The death signal is tied to the thread that forks.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := cmd.Run()
	return out.String(), err
}

// command prepares one of the server's programs: its own process group (a Ctrl-C in the terminal is the daemon's to
// handle), a bare environment, gone when the daemon's thread that started it is.
func (s *Server) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, s.bins.path(name), args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // initdb cleans up after itself
	cmd.WaitDelay = 5 * time.Second
	cmd.Dir = s.place.dir
	cmd.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "LC_ALL=C", "TZ=UTC"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGINT, Credential: s.cred}
	return cmd
}

func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	return nil
}

// diskSpace returns the free and the total bytes of the file system of dir; very much when it cannot be told.
func diskSpace(dir string) (free, total int64) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 1 << 50, 1 << 50
	}
	return int64(st.Bavail) * st.Bsize, int64(st.Blocks) * st.Bsize
}

// explain puts the usual causes of a postgres that does not start into words.
func explain(err error) error {
	text := err.Error()
	hint := ""
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return err
	case strings.Contains(text, "No space left on device"), strings.Contains(text, "no space left on device"), strings.Contains(text, "Disk quota exceeded"):
		hint = "the disk is full: free some space, or move the data folder"
	case strings.Contains(text, "could not create shared memory"), strings.Contains(text, "could not map anonymous shared memory"):
		hint = "too little memory for shared_buffers: lower it in data/custom.conf"
	case strings.Contains(text, "unrecognized configuration parameter"), strings.Contains(text, "configuration file"):
		hint = "mend data/custom.conf or data/postgresql.auto.conf in the postgres folder"
	case strings.Contains(text, "Permission denied"), strings.Contains(text, "permission denied"):
		hint = "the data folder must belong to the user that runs postgres, and be reachable by it"
	}
	return &engine.Error{Code: engine.Unavailable, Op: "postgres.start", Err: err, Hint: hint}
}

// tail is the last n lines of text that say something, in one line.
func tail(text string, n int) string {
	lines := strings.FieldsFunc(text, func(r rune) bool { return r == '\n' })
	if len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	return strings.Join(lines, " | ")
}
