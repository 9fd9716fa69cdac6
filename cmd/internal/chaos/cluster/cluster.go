// Package cluster runs a PostgreSQL server that is going to suffer: it is stopped, killed, starved of disk and given a wrong
// clock, and started again. It does fsync, as a server that keeps promises does.
package cluster

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
	"github.com/millrace/millrace/engine/store/pgserver"
)

const startLimit = 60 * time.Second

// Config says where a cluster lives and how it is run.
type Config struct {
	Dir      string   // an empty folder, which everybody may enter
	Settings []string // "name=value"
	Env      []string
}

// Cluster is one data folder and, most of the time, a server over it.
type Cluster struct {
	cfg    Config
	bin    string
	cred   *syscall.Credential
	server *child.Child
}

// New makes a cluster; it does not run yet.
func New(ctx context.Context, cfg Config) (*Cluster, error) {
	bins, err := pgserver.FindBinaries(ctx, "", 0)
	if err != nil {
		return nil, err
	}
	c := &Cluster{cfg: cfg, bin: bins.Dir}
	if os.Geteuid() == 0 { // postgres refuses to be root
		if c.cred, err = pgserver.Unprivileged(); err != nil {
			return nil, err
		}
		if err := os.Chown(cfg.Dir, int(c.cred.Uid), int(c.cred.Gid)); err != nil {
			return nil, err
		}
	}
	out, err := c.command(ctx, "initdb", "-D", c.data(), "-U", "millrace", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync").CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("initdb: %w: %s", err, out)
	}
	return c, nil
}

func (c *Cluster) data() string { return filepath.Join(c.cfg.Dir, "data") }

// Socket is the server's socket.
func (c *Cluster) Socket() string { return filepath.Join(c.cfg.Dir, ".s.PGSQL.5432") }

// URL is how to reach the server without anything in between.
func (c *Cluster) URL() string { return URL(c.cfg.Dir) }

// URL is the address of a server, or of what plays one, whose socket lies in dir.
func URL(dir string) string {
	return "host=" + dir + " port=5432 user=millrace dbname=postgres sslmode=disable"
}

// command is a program of the server's, run as its user.
func (c *Cluster) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(c.bin, name), args...)
	cmd.Dir = c.cfg.Dir
	cmd.Env = append([]string{"LC_ALL=C", "PATH=/usr/bin:/bin", "TZ=UTC"}, c.cfg.Env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.cred}
	return cmd
}

// Start starts the server and waits until it takes connections.
func (c *Cluster) Start(ctx context.Context) error {
	args := []string{"-D", c.data(), "-k", c.cfg.Dir}
	settings := append([]string{"listen_addresses=", "max_connections=100", "shared_buffers=64MB", "autovacuum_naptime=5s", "jit=off",
		"wal_level=minimal", "max_wal_senders=0", "log_min_messages=warning", "log_min_error_statement=panic"}, c.cfg.Settings...)
	for _, s := range settings {
		args = append(args, "-c", s)
	}
	logs, err := os.OpenFile(filepath.Join(c.cfg.Dir, "..", "postgres.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer logs.Close()
	cmd := c.command(context.WithoutCancel(ctx), "postgres", args...)
	cmd.Stdout, cmd.Stderr = logs, logs
	if c.server, err = child.Start(cmd, syscall.SIGQUIT); err != nil {
		return err
	}
	return c.WaitReady(ctx)
}

// WaitReady waits until the server answers a query.
func (c *Cluster) WaitReady(ctx context.Context) error {
	return Until(ctx, startLimit, "the server takes connections", func() (bool, error) {
		if c.server.Gone() {
			return false, errors.New("the server has ended")
		}
		_, err := c.Query(ctx, "select 1")
		return err == nil, nil
	})
}

// Running says whether there is a postmaster.
func (c *Cluster) Running() bool { return c.server != nil && !c.server.Gone() }

// Stop ends the server: SIGINT in order, SIGQUIT immediately (no checkpoint, nothing flushed), SIGKILL without a word. Then
// backends that lost their postmaster are ended, as a service manager would.
func (c *Cluster) Stop(ctx context.Context, how syscall.Signal) error {
	if !c.Running() {
		return nil
	}
	if err := c.server.Signal(how); err != nil {
		return err
	}
	if err := c.server.Wait(startLimit); err != nil {
		return err
	}
	return Until(ctx, startLimit, "the backends are gone", func() (bool, error) {
		list, err := c.processes()
		for _, pid := range list {
			syscall.Kill(pid, syscall.SIGKILL)
		}
		return len(list) == 0, err
	})
}

// processes lists the living processes of this cluster: a server works in its data folder.
func (c *Cluster) processes() ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var out []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if cwd, err := os.Readlink(filepath.Join("/proc", e.Name(), "cwd")); err == nil && cwd == c.data() {
			out = append(out, pid)
		}
	}
	return out, nil
}

// Query runs SQL over psql, which shares nothing with the product, and returns its output without frills.
func (c *Cluster) Query(ctx context.Context, sql string) (string, error) {
	return Query(ctx, c.bin, c.URL(), sql)
}

// Query runs SQL on any server.
func Query(ctx context.Context, bin, url, sql string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", sql)
	cmd.Env = append(os.Environ(), "PGAPPNAME=chaos", "PGCONNECT_TIMEOUT=10")
	var complaint strings.Builder
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("psql: %w: %s", err, strings.TrimSpace(complaint.String()))
	}
	return string(out), nil
}

// Until waits for a fact of another process, which nobody tells. An error of fact ends the wait.
func Until(ctx context.Context, limit time.Duration, what string, fact func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, err := fact()
		if err != nil {
			return fmt.Errorf("wait until %s: %w", what, err)
		}
		if ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait until %s: %w", what, context.Cause(ctx))
		case <-tick.C:
		}
	}
}
