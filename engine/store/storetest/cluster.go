package storetest

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/millrace/millrace/engine/store/pgserver"
	"github.com/millrace/millrace/sandbox/timerslack"
)

// cluster is a running server.
type cluster struct {
	url     string
	keepers io.Closer // closing it stops the server and removes its folder; the kernel closes it when this process dies

	mu       sync.Mutex
	template string // guarded by mu
	exited   chan struct{}
}

// keeper waits for the end of its standard input, which this process holds, and then ends the server.
const keeper = `cat >/dev/null; read pid < "$1/data/postmaster.pid" && kill -QUIT "$pid"
while kill -0 "$pid" 2>/dev/null; do sleep 0.02; done; rm -rf "$1"`

// start makes a server in a temporary folder; nil without an error when there are no binaries.
func start(durable bool) (*cluster, error) {
	bin := binaries()
	if bin == "" {
		return nil, nil
	}
	dir, err := os.MkdirTemp("", "mrpg")
	if err != nil {
		return nil, err
	}
	cred, err := owner(dir)
	if err != nil {
		return nil, err
	}
	run := func(name string, args ...string) *exec.Cmd {
		cmd := exec.Command(filepath.Join(bin, name), args...)
		cmd.Dir = dir
		cmd.Env = []string{"LC_ALL=C", "PATH=/usr/bin:/bin", "TZ=UTC"}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: cred, Setsid: true}
		return cmd
	}
	data := filepath.Join(dir, "data")
	out, err := run("initdb", "-D", data, "-U", "millrace", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync").CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("initdb: %w: %s", err, out)
	}
	args := []string{"-D", data, "-k", dir, "-c", "listen_addresses=", "-c", "max_connections=300", "-c", "shared_buffers=128MB",
		"-c", "autovacuum_naptime=5s", "-c", "max_wal_size=4GB", "-c", "jit=off", "-c", "log_min_messages=fatal"}
	if durable { // what is measured is what a private server would do
		for _, kv := range pgserver.Settings(dir) {
			if kv[0] != "max_connections" {
				args = append(args, "-c", kv[0]+"="+strings.Trim(kv[1], "'"))
			}
		}
	} else {
		args = append(args, "-c", "fsync=off", "-c", "full_page_writes=off")
	}
	server := run("postgres", args...)
	if err := timerslack.Started(timerslack.Usual, server.Start); err != nil {
		return nil, fmt.Errorf("start postgres: %w", err)
	}
	c := &cluster{url: "postgres://millrace@/postgres?host=" + dir, exited: make(chan struct{})}
	go func() {
		server.Wait() //nolint:errcheck // its end is all that matters
		close(c.exited)
	}()
	if c.keepers, err = keep(dir); err != nil {
		server.Process.Signal(syscall.SIGQUIT) //nolint:errcheck // already failing
		return nil, err
	}
	return c, c.ready()
}

func keep(dir string) (io.Closer, error) {
	cmd := exec.Command("/bin/sh", "-c", keeper, "sh", dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start keeper: %w", err)
	}
	go cmd.Wait() //nolint:errcheck // reaps it
	return in, nil
}

func (c *cluster) stop() {
	c.keepers.Close() //nolint:errcheck // a pipe
	<-c.exited
}

func (c *cluster) ready() error {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := pgx.Connect(ctx, c.url)
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-tick.C:
		case <-c.exited:
			return fmt.Errorf("postgres ended at start: %w", err)
		case <-ctx.Done():
			return fmt.Errorf("postgres does not answer: %w", err)
		}
	}
}

// binaries finds the server to test with: the one that MILLRACE_TEST_PG_BIN names, or the newest installed one.
func binaries() string {
	if dir := os.Getenv(envBin); dir != "" {
		return dir
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres") // the pattern is valid
	sort.Slice(found, func(i, j int) bool { return major(found[i]) > major(found[j]) })
	if len(found) > 0 {
		return filepath.Dir(found[0])
	}
	if p, err := exec.LookPath("postgres"); err == nil {
		return filepath.Dir(p)
	}
	return ""
}

func major(path string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
	return n
}

// owner gives dir to the user the server runs as: Postgres refuses to run as root.
func owner(dir string) (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		if err := os.Chown(dir, uid, gid); err != nil {
			return nil, err
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, fmt.Errorf("running as root and there is neither a user postgres nor nobody to run the server")
}
