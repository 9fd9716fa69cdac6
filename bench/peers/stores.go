package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// store is a PostgreSQL or Redis server of one peer, in a new folder.
type store struct {
	group  *group
	folder string
	mark   string
	env    []string // what the adapter is told
	sig    syscall.Signal
}

const storeLimit = 30 * time.Second

func (s session) startStore(ctx context.Context, v variant, folder, mark string) (*store, error) {
	switch v.config.Store {
	case "postgres":
		return s.startPostgres(ctx, folder, mark)
	case "redis":
		return s.startRedis(ctx, v, folder, mark)
	}
	return &store{}, nil
}

func (st *store) stop() {
	if st.group != nil {
		st.group.end(st.sig, storeLimit)
	}
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer func() { _ = l.Close() }() // nobody has connected
	return l.Addr().(*net.TCPAddr).Port, nil
}

// postgresBin is the folder of the newest server on this machine: the same for every peer.
func postgresBin() (string, error) {
	list, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(list) == 0 {
		return "", errors.New("PostgreSQL is not installed: make setup")
	}
	sort.Slice(list, func(i, j int) bool { return versionOf(list[i]) < versionOf(list[j]) })
	return filepath.Dir(list[len(list)-1]), nil
}

func versionOf(initdb string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(initdb)))) // 0 for what is no version
	return n
}

// asPostgres lets a command run as a user that PostgreSQL accepts: root is none.
func asPostgres(cmd *exec.Cmd, dirs ...string) error {
	if os.Getuid() != 0 {
		return nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return fmt.Errorf("as root PostgreSQL needs the user postgres, which its package makes: %w", err)
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return err
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return err
	}
	for _, d := range dirs {
		if err := os.Chown(d, uid, gid); err != nil {
			return err
		}
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	return nil
}

func (s session) startPostgres(ctx context.Context, folder, mark string) (*store, error) {
	bin, err := postgresBin()
	if err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	data := filepath.Join(folder, "postgres")
	if err := os.Mkdir(data, 0o700); err != nil {
		return nil, err
	}
	initdb := exec.CommandContext(ctx, filepath.Join(bin, "initdb"), "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-N")
	if err := asPostgres(initdb, data); err != nil {
		return nil, err
	}
	initdb.Dir = "/"
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	settings, err := os.ReadFile(filepath.Join(s.folder, "postgresql.conf"))
	if err != nil {
		return nil, err
	}
	conf, err := os.OpenFile(filepath.Join(data, "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	_, err = fmt.Fprintf(conf, "%s\nport = %d\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = ''\n", settings, port)
	if err = errors.Join(err, conf.Close()); err != nil {
		return nil, err
	}
	cmd := exec.Command(filepath.Join(bin, "postgres"), "-D", data)
	if err := asPostgres(cmd); err != nil {
		return nil, err
	}
	cmd.Dir = "/"
	url := fmt.Sprintf("postgresql://postgres@127.0.0.1:%d/postgres?sslmode=disable", port)
	return s.startServer(ctx, cmd, filepath.Join(folder, "postgres.log"), port, &store{folder: data, mark: mark, sig: syscall.SIGINT,
		env: []string{"DATABASE_URL=" + url, "PG_PORT=" + strconv.Itoa(port), "PG_BIN=" + bin}})
}

func (s session) startRedis(ctx context.Context, v variant, folder, mark string) (*store, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	data := filepath.Join(folder, "redis")
	if err := os.Mkdir(data, 0o700); err != nil {
		return nil, err
	}
	path, err := exec.LookPath("redis-check-rdb")
	if err != nil {
		return nil, errors.New("the binary of Redis is missing: Debian's package redis-tools")
	}
	cmd := exec.Command(path)
	// One binary that does what its name says.
	cmd.Args = []string{"redis-server", "--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--dir", data}
	if v.Env["REDIS_APPENDONLY"] == "yes" {
		cmd.Args = append(cmd.Args, "--appendonly", "yes", "--appendfsync", "always")
	}
	return s.startServer(ctx, cmd, filepath.Join(folder, "redis.log"), port, &store{folder: data, mark: mark, sig: syscall.SIGTERM,
		env: []string{fmt.Sprintf("REDIS_URL=redis://127.0.0.1:%d", port)}})
}

// startServer starts cmd, with slower flushes where that is asked for, and waits until its port answers.
func (s session) startServer(ctx context.Context, cmd *exec.Cmd, logName string, port int, st *store) (*store, error) {
	log, err := os.Create(logName)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }() // the child has its own
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), s.mark, st.mark)
	if s.delay > 0 {
		library, err := s.buildDelay(ctx)
		if err != nil {
			return nil, err
		}
		cmd.Env = append(cmd.Env, "LD_PRELOAD="+library, "FLUSH_DELAY_US="+strconv.FormatInt(s.delay.Microseconds(), 10))
	}
	if st.group, err = startGroup(cmd); err != nil {
		return nil, err
	}
	limit := time.After(storeLimit)
	for {
		c, err := net.Dial("tcp", "127.0.0.1:"+strconv.Itoa(port))
		if err == nil {
			_ = c.Close() // only a knock
			// PostgreSQL takes connections a moment before it answers them: its log says when.
			if b, _ := os.ReadFile(logName); !strings.Contains(filepath.Base(logName), "postgres") || strings.Contains(string(b), "ready to accept connections") {
				return st, nil
			}
		}
		select {
		case <-st.group.exited:
			b, _ := os.ReadFile(logName)
			return nil, fmt.Errorf("%s ended at its start:\n%s", filepath.Base(cmd.Args[0]), b[max(0, len(b)-2000):])
		case <-limit:
			st.stop()
			return nil, fmt.Errorf("%s is not ready after %v", filepath.Base(cmd.Args[0]), storeLimit)
		case <-ctx.Done():
			st.stop()
			return nil, ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// buildDelay compiles the shim that makes flushes slower.
func (s session) buildDelay(ctx context.Context) (string, error) {
	out := filepath.Join(s.build, "flushdelay.so")
	cmd := exec.CommandContext(ctx, "gcc", "-O2", "-shared", "-fPIC", "-o", out, filepath.Join(s.folder, "flush", "delay.c"), "-ldl")
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("compile flush/delay.c: %w\n%s", err, text)
	}
	return out, nil
}
