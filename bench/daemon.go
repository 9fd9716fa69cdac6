package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// bench is one run: the daemon it talks to and the figures so far. One goroutine uses it.
type bench struct {
	options
	report *report
	server server
	own    *daemon // nil when --server was given
	made   string  // folder to remove at the end
}

// daemon is a process that this program started.
type daemon struct {
	cmd     *exec.Cmd
	address string
	exited  chan struct{} // closed when it is gone
	started time.Time
}

const (
	startLimit = 60 * time.Second // the first start makes a database
	stopLimit  = 40 * time.Second
	pollEvery  = 2 * time.Millisecond
)

// begin makes sure that there is a daemon to talk to.
func (b *bench) begin(ctx context.Context) error {
	if b.options.server != "" {
		u, err := url.Parse(b.options.server)
		if err != nil || u.Scheme != "http" || u.Host == "" {
			return fmt.Errorf("--server %q: give a URL such as http://127.0.0.1:8000", b.options.server)
		}
		if b.token == "" {
			return errors.New("--server needs --token: millrace token create --label bench")
		}
		b.server = server{network: "tcp", address: u.Host, token: b.token}
		b.report.Machine.Version = b.version()
		return nil
	}
	if b.data == "" {
		// Not in /tmp: that may be a file system in memory, where flushing costs nothing.
		err := os.MkdirAll(".build", 0o755)
		if err != nil {
			return err
		}
		dir, err := os.MkdirTemp(".build", "bench-")
		if err != nil {
			return fmt.Errorf("make a data folder: %w", err)
		}
		b.made, b.data = dir, filepath.Join(dir, "data")
		if err := errors.Join(os.Chmod(dir, 0o755), os.Mkdir(b.data, 0o755), giveToCaller(dir, b.data)); err != nil {
			return err
		}
	}
	if err := b.start(ctx); err != nil {
		b.end()
		return err
	}
	return nil
}

// giveToCaller makes the folders the property of whoever called sudo, as which the daemon then runs.
func giveToCaller(dirs ...string) error {
	var uid, gid int
	if n, _ := fmt.Sscan(os.Getenv("SUDO_UID")+" "+os.Getenv("SUDO_GID"), &uid, &gid); n != 2 {
		return nil
	}
	for _, d := range dirs {
		if err := os.Chown(d, uid, gid); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) socket() string { return filepath.Join(b.data, "run", "millrace.sock") }

// folder is where the disk is measured.
func (b *bench) folder() string {
	if b.own != nil {
		return b.data
	}
	return "."
}

// start starts the own daemon, waits until it is ready and takes a token.
func (b *bench) start(ctx context.Context) error {
	d, err := b.launch(ctx, b.data)
	if d != nil {
		b.own = d
	}
	if err != nil {
		return err
	}
	b.server = server{network: "tcp", address: d.address, token: b.server.token}
	if b.server.token == "" {
		if err := b.takeToken(); err != nil {
			return err
		}
	}
	b.report.Machine.Version = b.version()
	return nil
}

// launch starts a daemon with its data in a folder and waits until it is ready. After an error the daemon, if there is one, is
// still to be ended.
func (b *bench) launch(ctx context.Context, data string, flags ...string) (*daemon, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	address := listener.Addr().String()
	_ = listener.Close()
	binary, err := filepath.Abs(b.daemon)
	if err != nil {
		return nil, err
	}
	logFile, err := os.OpenFile(filepath.Join(data, "bench-daemon.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer func() { _ = logFile.Close() }() // the child has its own
	cmd := exec.Command(binary, append([]string{"serve", "--data", data, "--listen", address, "--workspace", b.workspace, "--log", "json"}, flags...)...)
	cmd.Stdout, cmd.Stderr = logFile, logFile
	// Not in this program's group: Ctrl-C ends the measuring first, which then ends the daemon.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	d := &daemon{cmd: cmd, address: address, exited: make(chan struct{}), started: time.Now()}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // its end, with which others that are locked end too, would be the daemon's death signal
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended is in its log
			close(d.exited)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start the daemon: %w (make build first)", err)
	}
	if err := d.ready(ctx); err != nil {
		log, _ := os.ReadFile(logFile.Name())
		return d, fmt.Errorf("%w; its log ends with:\n%s", err, tail(log, 2000))
	}
	return d, nil
}

func (b *bench) version() string {
	c, err := b.server.dial()
	if err != nil {
		return ""
	}
	defer c.close()
	_, answer, err := c.do("GET", "/api/millrace/version", "")
	var v struct{ Version string }
	if err != nil || json.Unmarshal(answer, &v) != nil {
		return ""
	}
	return v.Version
}

// ready returns when the daemon takes jobs.
func (d *daemon) ready(ctx context.Context) error {
	limit := time.After(startLimit)
	for {
		if c, err := (server{network: "tcp", address: d.address}).dial(); err == nil {
			status, _, err := c.do("GET", "/api/ready", "")
			c.close()
			if err == nil && status == 200 {
				return nil
			}
		}
		select {
		case <-d.exited:
			return errors.New("the daemon ended at its start")
		case <-limit:
			return fmt.Errorf("the daemon is not ready after %v", startLimit)
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pollEvery):
		}
	}
}

const settleLimit = 5 * time.Minute

// settled returns once the daemon has done what it does once in the life of its data folder: with a new folder it compiles Go's standard
// library in its first quiet moment, which belongs to no figure.
func (b *bench) settled(ctx context.Context) error {
	limit := time.After(settleLimit)
	for {
		c, err := b.server.dial()
		if err != nil {
			return err
		}
		status, answer, err := c.do("GET", "/metrics", "")
		settled := err == nil && (status != 200 || !strings.Contains(string(answer), "\nmillrace_caches_warm 0\n"))
		c.close()
		if err != nil || settled {
			return err // a daemon that does not say it is measured as it is
		}
		select {
		case <-limit:
			return fmt.Errorf("the daemon still fills its caches after %v", settleLimit)
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

// takeToken asks on the local socket, where the daemon knows its user and root by their credentials.
func (b *bench) takeToken() error {
	c, err := server{network: "unix", address: b.socket()}.dial()
	if err != nil {
		return fmt.Errorf("local socket of the daemon: %w", err)
	}
	defer c.close()
	status, token, err := c.do("POST", "/api/users/tokens/create", `{"label":"bench"}`)
	if err != nil || status != 201 {
		return fmt.Errorf("make a token: status %d %.200s %w", status, token, err)
	}
	b.server.token = strings.TrimSpace(string(token))
	return nil
}

// stop ends the own daemon and waits for it.
func (b *bench) stop() error {
	if b.own == nil {
		return nil
	}
	d := b.own
	b.own = nil
	return d.stop()
}

func (d *daemon) stop() error {
	_ = d.cmd.Process.Signal(syscall.SIGTERM) // it may be gone already
	select {
	case <-d.exited:
		return nil
	case <-time.After(stopLimit):
		_ = d.cmd.Process.Kill()
		<-d.exited
		return fmt.Errorf("the daemon did not stop within %v", stopLimit)
	}
}

func (b *bench) end() {
	if err := b.stop(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
	}
	if b.made != "" {
		_ = os.RemoveAll(b.made) // what is left lies in a folder that git ignores
	}
}

// path is the API path of something in the workspace.
func (b *bench) path(rest string) string { return "/api/w/" + b.workspace + "/" + rest }

// deploy pushes a script and waits until its dependencies are settled.
func (b *bench) deploy(ctx context.Context, path, language, content string) error {
	return b.deployWith(ctx, map[string]any{"path": path, "language": language, "content": content})
}

// deployWith deploys a script of which more is said.
func (b *bench) deployWith(ctx context.Context, script map[string]any) error {
	path := script["path"].(string)
	c, err := b.server.dial()
	if err != nil {
		return err
	}
	defer c.close()
	script["auto_parent"], script["summary"] = true, "benchmark"
	body, err := json.Marshal(script)
	if err != nil {
		return err
	}
	status, answer, err := c.do("POST", b.path("scripts/create?skip_if_noop=true"), string(body))
	if err != nil || status != 201 {
		return fmt.Errorf("deploy %s: status %d %.300s %w", path, status, answer, err)
	}
	limit := time.After(startLimit)
	for {
		status, answer, err := c.do("GET", b.path("scripts/get/p/"+path), "")
		if err != nil || status != 200 {
			return fmt.Errorf("get %s: status %d %.300s %w", path, status, answer, err)
		}
		var s struct {
			Lock  *string `json:"lock"`
			Error string  `json:"lock_error_logs"`
		}
		if err := json.Unmarshal(answer, &s); err != nil {
			return fmt.Errorf("get %s: %w", path, err)
		}
		if s.Error != "" {
			return fmt.Errorf("dependencies of %s: %.500s", path, s.Error)
		}
		if s.Lock != nil {
			return nil
		}
		select {
		case <-limit:
			return fmt.Errorf("dependencies of %s are not settled after %v", path, startLimit)
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func tail(b []byte, n int) []byte { return b[max(0, len(b)-n):] }
