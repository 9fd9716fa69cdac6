package pgserver

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/millrace/millrace/engine"
	"github.com/rs/zerolog"
)

const helperEnv = "MILLRACE_PGSERVER_TEST_DIR"

// TestMain turns the test binary into a daemon that can be killed: it starts the cluster in the folder that helperEnv names,
// prints the postmaster's pid, and waits for its own death.
func TestMain(m *testing.M) {
	dir := os.Getenv(helperEnv)
	if dir == "" {
		os.Exit(m.Run())
	}
	s, err := New(testConfig(dir, nil))
	if err == nil {
		err = s.Start(context.Background())
	}
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	fmt.Println(s.PID())
	select {}
}

func TestRefusals(t *testing.T) {
	if _, err := New(Config{}); engine.CodeOf(err) != engine.Invalid {
		t.Errorf("empty Dir: %v", err)
	}
	if os.Geteuid() == 0 {
		for _, cred := range []*syscall.Credential{nil, {}} {
			_, err := New(Config{Dir: "/nowhere", Credential: cred})
			if err == nil || !strings.Contains(err.Error(), "useradd") {
				t.Errorf("root with credential %v: %v", cred, err)
			}
		}
	}
	dir := folder(t)
	cases := []struct {
		name    string
		prepare func(t *testing.T, dir string)
		config  func(*Config)
		want    string
	}{
		{"another major version", func(t *testing.T, dir string) { write(t, dir, "data/PG_VERSION", "9\n") }, nil,
			"was made by PostgreSQL 9"},
		{"broken version", func(t *testing.T, dir string) { write(t, dir, "data/PG_VERSION", "x\n") }, nil, "not a number"},
		{"foreign files", func(t *testing.T, dir string) { write(t, dir, "data/thesis.tex", "x") }, nil, "not a PostgreSQL cluster"},
		{"no binaries", nil, func(c *Config) { c.BinDir = "/usr/share" }, "apt install postgresql"},
		{"a file in its place", func(t *testing.T, dir string) { write(t, filepath.Dir(dir), filepath.Base(dir), "x") }, nil, ""},
	}
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			sub := fmt.Sprintf("%s%d", dir, i)
			if c.prepare != nil {
				c.prepare(t, sub)
			}
			cfg := testConfig(sub, nil)
			if c.config != nil {
				c.config(&cfg)
			}
			s, err := New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			err = s.Start(t.Context())
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
			<-s.Done()
			s.Stop()
		})
	}
}

func TestUnreachableFolder(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: only then postgres runs as another user")
	}
	dir := folder(t)
	if err := os.Chmod(filepath.Dir(dir), 0o700); err != nil {
		t.Fatal(err)
	}
	s, err := New(testConfig(dir, nil))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "cannot enter") {
		t.Errorf("start below a closed folder: %v", err)
	}
}

func TestDiskFull(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to mount a small file system")
	}
	base := filepath.Dir(folder(t))
	if err := syscall.Mount("tmpfs", base, "tmpfs", 0, "size=8m,mode=755"); err != nil {
		t.Skip("cannot mount a tmpfs: ", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(base, syscall.MNT_DETACH) })
	s, err := New(testConfig(filepath.Join(base, "pg"), nil))
	if err != nil {
		t.Fatal(err)
	}
	err = s.Start(t.Context())
	if engine.CodeOf(err) != engine.Unavailable || !strings.Contains(err.Error(), "free some space") {
		t.Errorf("start on a full disk: %v", err)
	}
	if _, err := os.Stat(filepath.Join(base, "pg/data")); err == nil {
		t.Error("a half-made cluster is left")
	}
}

func TestBrokenSetting(t *testing.T) {
	cfg := testConfig(folder(t), nil)
	cfg.Settings["shared_bufers"] = "1GB"
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err == nil || !strings.Contains(err.Error(), `"shared_bufers"`) {
		t.Errorf("the error does not name the setting: %v", err)
	}
}

func TestLife(t *testing.T) {
	dir, log := folder(t), &bytes.Buffer{}
	cfg := testConfig(dir, log)
	s := start(t, cfg)

	t.Run("settings", func(t *testing.T) {
		for name, want := range map[string]string{"data_checksums": "on", "server_encoding": "UTF8", "listen_addresses": "",
			"shared_buffers": "16MB", "jit": "off", "wal_level": "minimal", "synchronous_commit": "on", "unix_socket_permissions": "0700"} {
			if got := ask(t, s, "select current_setting('"+name+"')"); got != want {
				t.Errorf("%s = %q, want %q", name, got, want)
			}
		}
		if got := ask(t, s, "select datcollate from pg_database where datname=current_database()"); got != "C.UTF-8" {
			t.Errorf("collation %q", got)
		}
		st, err := os.Stat(filepath.Join(dir, "socket"))
		if err != nil || st.Mode().Perm() != 0o700 {
			t.Errorf("socket folder: %v %v", st, err)
		}
	})
	t.Run("a second daemon is refused", func(t *testing.T) {
		other, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		err = other.Start(t.Context())
		if engine.CodeOf(err) != engine.Conflict || !strings.Contains(err.Error(), strconv.Itoa(os.Getpid())) {
			t.Errorf("second daemon: %v", err)
		}
	})
	t.Run("recovers from a killed postmaster", func(t *testing.T) {
		ask(t, s, "with x as (select 1) select 'up'")
		exec1(t, s, "create table kept(n int)")
		exec1(t, s, "insert into kept values (42)")
		busy := busyBackend(t, s) // an orphan that does not notice by itself
		old := s.PID()
		if err := syscall.Kill(old, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		gone(t, old)
		if got := ask(t, s, "select n::text from kept"); got != "42" {
			t.Errorf("kept %s", got)
		}
		gone(t, busy)
		if pid := s.PID(); pid == old || pid == 0 {
			t.Errorf("pid %d after %d", pid, old)
		}
	})
	pid := s.PID()
	s.Stop()
	s.Stop()
	gone(t, pid)
	if s.Err() != nil {
		t.Errorf("err after a plain stop: %v", s.Err())
	}

	t.Run("restarts fast", func(t *testing.T) {
		begun := time.Now()
		again := start(t, cfg)
		took := time.Since(begun)
		t.Logf("second start: %s", took)
		if took > 2*time.Second { // about 100 ms alone; room for a busy machine
			t.Errorf("second start took %s", took)
		}
		if got := ask(t, again, "select n::text from kept"); got != "42" {
			t.Errorf("kept %s", got)
		}
		again.Stop()
	})
	text, err := os.ReadFile(filepath.Join(dir, "log/postgres.log"))
	if err != nil || !strings.Contains(string(text), "ready to accept connections") {
		t.Errorf("log file: %v %.200s", err, text)
	}
}

func TestDaemonKilled(t *testing.T) {
	dir := folder(t)
	run := func() (daemon *exec.Cmd, postmaster int) {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), helperEnv+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		line, _ := bufio.NewReader(out).ReadString('\n')
		pid, err := strconv.Atoi(strings.TrimSpace(line))
		if err != nil {
			t.Fatalf("helper said %q", line)
		}
		return cmd, pid
	}
	kill := func(cmd *exec.Cmd) {
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // "signal: killed"
	}
	daemon, pid := run()
	kill(daemon)
	gone(t, pid)
	daemon, pid = run() // starts over the remains
	if !alive(pid) {
		t.Error("postmaster of the second daemon is not running")
	}
	kill(daemon)
	gone(t, pid)
}

func alive(pid int) bool { return syscall.Kill(pid, 0) == nil && !zombie(pid) }

// TestStray: a postmaster that outlived its daemon (started without the death signal, as after a crash of an odd kind).
func TestStray(t *testing.T) {
	dir, log := folder(t), &bytes.Buffer{}
	cfg := testConfig(dir, log)
	s := start(t, cfg)
	s.Stop()
	cmd := s.command(context.Background(), "postgres", "-D", s.place.data)
	cmd.SysProcAttr.Pdeathsig = 0
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	ask(t, s, "select 'up'")

	next := start(t, cfg)
	select {
	case <-ended:
	default:
		t.Error("the stray postmaster still runs")
	}
	ask(t, next, "select 'up'")
	next.Stop()
	if !strings.Contains(log.String(), "earlier daemon left") {
		t.Errorf("the log does not tell: %s", log)
	}
}

// TestStalePidFile: the recorded pid is now somebody else's of the same user.
func TestStalePidFile(t *testing.T) {
	cfg := testConfig(folder(t), nil)
	s := start(t, cfg)
	s.Stop()
	sleeper := exec.Command("sleep", "1000")
	sleeper.SysProcAttr = &syscall.SysProcAttr{Credential: s.cred}
	if err := sleeper.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sleeper.Process.Kill(); _ = sleeper.Wait() })
	write(t, cfg.Dir, "data/postmaster.pid", fmt.Sprintf("%d\n%s\n1700000000\n5432\n\n\n  1 1\nready   \n", sleeper.Process.Pid, s.place.data))
	next := start(t, cfg)
	ask(t, next, "select 'up'")
	if !alive(sleeper.Process.Pid) {
		t.Error("an innocent process was ended")
	}
	next.Stop()
}

func TestHalfMadeCluster(t *testing.T) {
	cfg := testConfig(folder(t), nil)
	write(t, cfg.Dir, "data.new/PG_VERSION", "15\n")
	s := start(t, cfg)
	ask(t, s, "select 'up'")
	s.Stop()
}

func TestLongAndOddNames(t *testing.T) {
	cfg := testConfig(filepath.Join(folder(t)+" it's, \"odd\"", strings.Repeat("long/", 22), "pg"), nil)
	s := start(t, cfg)
	if !fits(s.place.socket) || strings.HasPrefix(s.place.socket, cfg.Dir) {
		t.Errorf("socket folder %s", s.place.socket)
	}
	ask(t, s, "select 'up'")
	s.Stop()
	if _, err := os.Stat(s.place.socket); err == nil {
		t.Errorf("%s is left", s.place.socket)
	}

	cfg = testConfig(folder(t)+` it's, "odd" \`, nil)
	s = start(t, cfg)
	ask(t, s, "select 'up'")
	s.Stop()
}

func TestGivesUp(t *testing.T) {
	cfg := testConfig(folder(t), nil)
	s := start(t, cfg)
	conf := filepath.Join(s.place.data, "custom.conf")
	if err := s.writeOwned(conf, []byte("shared_buffers = 'many'\n")); err != nil {
		t.Fatal(err)
	}
	crashes := patience - 1
	s2 := &Server{cfg: s.cfg, cred: s.cred, uid: s.uid, bins: s.bins, place: s.place, logs: s.logs, stop: make(chan struct{})}
	pid := s.PID()
	s.Stop()
	gone(t, pid)
	s2.logs, _ = openLog(s.logs.path, zerolog.Nop())
	if pm := s2.revive(&crashes); pm != nil {
		t.Fatal("revived with a broken configuration")
	}
	if err := s2.Err(); err == nil || !strings.Contains(err.Error(), "in a row") {
		t.Errorf("err: %v", err)
	}
}
