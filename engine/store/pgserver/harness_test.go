package pgserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/rs/zerolog"
)

func testConfig(dir string, log *bytes.Buffer) Config {
	cfg := Config{Dir: dir, SharedBuffersMB: 16, Log: zerolog.Nop(), StopTimeout: 20 * time.Second,
		Settings: map[string]string{"fsync": "off"}}
	if log != nil {
		cfg.Log = zerolog.New(&lockedWriter{b: log})
	}
	if os.Geteuid() == 0 {
		cfg.Credential, _ = Unprivileged() // New says so when it is missing
	}
	return cfg
}

type lockedWriter struct {
	mu sync.Mutex
	b  *bytes.Buffer
}

func (w *lockedWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(p)
}

// folder is a temporary folder that an unprivileged postgres can reach (testing.T's own are closed to others).
func folder(t *testing.T) string {
	t.Helper()
	if _, err := FindBinaries(t.Context(), "", 0); err != nil {
		t.Skip("needs PostgreSQL: ", err)
	}
	dir, err := os.MkdirTemp("", "pgserver-*")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "pg")
}

func start(t *testing.T, cfg Config) *Server {
	t.Helper()
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

func ask(t *testing.T, s *Server, sql string) string {
	t.Helper()
	var out string
	// A restart is in progress in some tests; connecting again is what a pool does, too.
	err := until(t.Context(), 20*time.Second, func() bool {
		c, err := pgx.Connect(t.Context(), s.ConnString())
		if err != nil {
			return false
		}
		defer c.Close(t.Context())
		return c.QueryRow(t.Context(), sql).Scan(&out) == nil
	})
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return out
}

func gone(t *testing.T, pid int) {
	t.Helper()
	err := until(t.Context(), 20*time.Second, func() bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) || zombie(pid) })
	if err != nil {
		t.Fatalf("process %d still lives", pid)
	}
}

func zombie(pid int) bool {
	_, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/exe")
	return errors.Is(err, os.ErrNotExist)
}

// write makes a file and hands the folders to postgres' user.
func write(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if cred := testConfig(dir, nil).Credential; cred != nil && filepath.Base(dir) != filepath.Base(os.TempDir()) {
		for p := path; strings.HasPrefix(p, dir) && p != filepath.Dir(dir); p = filepath.Dir(p) {
			if err := os.Chown(p, int(cred.Uid), int(cred.Gid)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func exec1(t *testing.T, s *Server, sql string) {
	t.Helper()
	c, err := pgx.Connect(t.Context(), s.ConnString())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	if _, err := c.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}

// busyBackend leaves a backend in a long computation and returns its pid.
func busyBackend(t *testing.T, s *Server) int {
	t.Helper()
	c, err := pgx.Connect(t.Context(), s.ConnString())
	if err != nil {
		t.Fatal(err)
	}
	pid := int(c.PgConn().PID())
	go func() {
		_, _ = c.Exec(context.Background(), "select count(*) from generate_series(1, 100000000000)") // ends with its backend
	}()
	if err := until(t.Context(), 10*time.Second, func() bool {
		return ask(t, s, fmt.Sprintf("select state from pg_stat_activity where pid=%d", pid)) == "active"
	}); err != nil {
		t.Fatal("backend does not become busy")
	}
	return pid
}
