package direct

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/millrace/millrace/sandbox"
	"github.com/millrace/millrace/sandbox/stdio"
	"github.com/millrace/millrace/sandbox/timerslack"
)

const (
	maxCollect = 16 << 20
	maxStrings = 256 << 10
)

// process implements sandbox.Process.
type process struct {
	cmd  *exec.Cmd
	pair *stdio.Pair
	work string
	want string        // Spec.Collect
	done chan struct{} // closed by watch, after the fields below were written

	exit      sandbox.Exit
	collected []byte
	found     bool

	mu     sync.Mutex
	reaped bool // the pid may belong to somebody else; written by watch
}

// start runs spec in a new work folder. A program that cannot be executed is a process that has ended, not an error.
func start(dir string, t sandbox.Template, spec sandbox.Spec) (*process, error) {
	if err := check(t, spec); err != nil {
		return nil, err
	}
	work, err := os.MkdirTemp(dir, "millrace-work-")
	if err != nil {
		return nil, err
	}
	p := &process{work: work, want: spec.Collect, done: make(chan struct{})}
	if t.Shared != "" {
		err = os.Symlink(sharedPath(dir, t.Shared), filepath.Join(work, "shared"))
	}
	if err := errors.Join(err, p.prepare(spec.Files)); err != nil {
		p.remove()
		return nil, err
	}
	p.command(t, spec)
	p.cmd.Stdout, p.cmd.Stderr = p.pair.JobOutput, p.pair.JobOutput
	p.cmd.ExtraFiles = []*os.File{p.pair.JobConn}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.cmd.Dir = work
	err = timerslack.Started(timerslack.Usual, p.cmd.Start)
	p.pair.CloseJobEnds()
	if err != nil {
		p.exit = sandbox.Exit{Code: 127, Error: fmt.Sprintf("exec %s: %v", p.cmd.Args[0], cause(err))}
		p.finish()
		return p, nil
	}
	go p.watch()
	return p, nil
}

func cause(err error) error {
	var e syscall.Errno
	if errors.As(err, &e) {
		return e
	}
	return err
}

func (p *process) prepare(files []sandbox.File) error {
	for _, f := range files {
		path := filepath.Join(p.work, f.Name)
		mode := f.Mode.Perm()
		if mode == 0 {
			mode = 0o644
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, f.Data, mode); err != nil {
			return err
		}
		if err := os.Chmod(path, mode); err != nil {
			return err
		}
	}
	var err error
	p.pair, err = stdio.Open()
	return err
}

func (p *process) command(t sandbox.Template, spec sandbox.Spec) {
	tr := newPaths(t, p.work)
	argv, env := spec.Argv, spec.Env
	if len(argv) == 0 {
		argv = append(append([]string{}, t.Zygote...), "--once")
		env = append(append([]string{}, t.ZygoteEnv...), "MILLRACE_DIRECT=1")
	}
	argv = tr.all(argv)
	p.cmd = &exec.Cmd{Path: argv[0], Args: argv, Env: tr.all(env)}
	if spec.Exec != nil {
		p.cmd.Path = fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), spec.Exec.Fd())
	}
}

// check refuses what a slot refuses.
func check(t sandbox.Template, s sandbox.Spec) error {
	total := 0
	for _, v := range append(append([]string{}, s.Argv...), s.Env...) {
		if strings.IndexByte(v, 0) >= 0 {
			return errors.New("argument or environment variable contains a zero byte")
		}
		total += len(v) + 1
	}
	switch {
	case total > maxStrings:
		return fmt.Errorf("arguments and environment take %d bytes, more than %d", total, maxStrings)
	case len(s.Argv) == 0 && (len(t.Zygote) == 0 || s.Init || s.Exec != nil):
		return errors.New("a program needs an argv")
	case s.Collect != "" && (!s.Init || !filepath.IsLocal(s.Collect)):
		return fmt.Errorf("collect %q is not inside the work folder, or without init", s.Collect)
	}
	for _, f := range s.Files {
		if !filepath.IsLocal(f.Name) || strings.IndexByte(f.Name, 0) >= 0 {
			return fmt.Errorf("file %q is not inside the work folder", f.Name)
		}
	}
	return nil
}

// watch waits for the program, then ends its group.
func (p *process) watch() {
	// WNOWAIT would let the group be killed before the pid is free again; here the group's id stays taken as long as it has
	// members, and a free one gives ESRCH.
	_ = p.cmd.Wait()
	p.mu.Lock()
	p.reaped = true
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	p.mu.Unlock()
	st := p.cmd.ProcessState
	p.exit.Code = st.ExitCode()
	if w := st.Sys().(syscall.WaitStatus); w.Signaled() {
		p.exit.Signal = int(w.Signal())
		p.exit.Code = 128 + p.exit.Signal
	}
	p.exit.Usage = sandbox.Usage{CPUUser: st.UserTime(), CPUSystem: st.SystemTime()}
	if u, ok := st.SysUsage().(*syscall.Rusage); ok {
		p.exit.Usage.MemoryPeak = u.Maxrss << 10
	}
	if p.want != "" {
		p.collect()
	}
	p.finish()
}

func (p *process) collect() {
	f, err := os.OpenFile(filepath.Join(p.work, p.want), os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return
	}
	defer f.Close()
	st, err := f.Stat()
	switch {
	case err != nil || !st.Mode().IsRegular():
		return
	case st.Size() > maxCollect:
		p.exit.Error = fmt.Sprintf("collect %s: %v", p.want, syscall.EFBIG)
		return
	}
	data, err := io.ReadAll(io.LimitReader(f, maxCollect))
	p.collected, p.found = data, err == nil
}

func (p *process) finish() {
	p.remove()
	if p.pair != nil {
		p.pair.Ended()
	}
	close(p.done)
}

func (p *process) remove() {
	// A job may have taken write permission from its own folders.
	_ = filepath.WalkDir(p.work, func(path string, d os.DirEntry, err error) error {
		if d != nil && d.IsDir() {
			_ = os.Chmod(path, 0o700)
		}
		return nil
	})
	_ = os.RemoveAll(p.work)
}

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Conn implements sandbox.Process.
func (p *process) Conn() net.Conn { return p.pair.Conn }

// Output implements sandbox.Process.
func (p *process) Output() io.Reader { return p.pair.Output }

// Collected implements sandbox.Process.
func (p *process) Collected() ([]byte, bool) {
	if !p.ended() {
		return nil, false
	}
	return p.collected, p.found
}

// Wait implements sandbox.Process.
func (p *process) Wait(ctx context.Context) (sandbox.Exit, error) {
	select {
	case <-p.done:
		return p.exit, nil
	case <-ctx.Done():
		return sandbox.Exit{}, fmt.Errorf("wait for process: %w", ctx.Err())
	}
}

// Kill implements sandbox.Process.
func (p *process) Kill() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reaped || p.cmd.Process == nil {
		return nil
	}
	if err := syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("kill process: %w", err)
	}
	return nil
}

// Close implements sandbox.Process.
func (p *process) Close() error {
	err := p.Kill()
	p.pair.Close()
	return err
}
