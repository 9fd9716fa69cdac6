package runtimetest

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/millrace/millrace/sandbox"
)

// plain runs real processes without any wall, the least that a language's cases need. There are no mounts: where a program
// is told of a place inside the slot, in its arguments or environment, it is told of the place on the host instead.
type plain struct{ t *testing.T }

func plainIsolator(t *testing.T) sandbox.Isolator { return plain{t} }

func (p plain) Open(_ context.Context, t sandbox.Template) (sandbox.Slot, error) {
	if len(t.Zygote) > 0 {
		p.t.Skip("zygotes need a real isolator")
	}
	return &plainSlot{t: p.t, template: t, done: make(chan struct{})}, nil
}

func (plain) Strength() sandbox.Strength { return sandbox.Strength{Mode: "none"} }
func (plain) Close() error               { return nil }

type plainSlot struct {
	t        *testing.T
	template sandbox.Template
	done     chan struct{}
}

func (s *plainSlot) Done() <-chan struct{} { return s.done }
func (s *plainSlot) Close() error          { return nil }

// inside returns what rewrites places inside the slot to places on the host.
func (s *plainSlot) inside(work string) func(string) string {
	binds := append([]sandbox.Bind{{Source: work, Target: "/work"}}, s.template.Binds...)
	slices.SortFunc(binds, func(a, b sandbox.Bind) int { return len(b.Target) - len(a.Target) })
	return func(text string) string {
		var out strings.Builder
	next:
		for i := 0; i < len(text); i++ {
			for _, b := range binds {
				rest, ok := strings.CutPrefix(text[i:], b.Target)
				if ok && (i == 0 || strings.ContainsRune("=:, '\"", rune(text[i-1]))) && (rest == "" || strings.ContainsRune("/:, '\"", rune(rest[0]))) {
					out.WriteString(b.Source)
					i += len(b.Target) - 1
					continue next
				}
			}
			out.WriteByte(text[i])
		}
		return out.String()
	}
}

func (s *plainSlot) Start(_ context.Context, spec sandbox.Spec) (sandbox.Process, error) {
	work := s.t.TempDir()
	for _, f := range spec.Files {
		mode := f.Mode
		if mode == 0 {
			mode = 0o644
		}
		name := filepath.Join(work, f.Name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return nil, err
		}
		if err := os.WriteFile(name, f.Data, mode); err != nil {
			return nil, err
		}
	}
	inside := s.inside(work)
	cmd := &exec.Cmd{Path: spec.Argv[0], Dir: work, SysProcAttr: &syscall.SysProcAttr{Setpgid: true}}
	if spec.Exec != nil {
		cmd.Path = spec.Exec.Name()
	} else {
		cmd.Path = inside(cmd.Path)
	}
	for _, a := range spec.Argv {
		cmd.Args = append(cmd.Args, inside(a))
	}
	for _, e := range spec.Env {
		cmd.Env = append(cmd.Env, inside(e))
	}
	return start(cmd, filepath.Join(work, spec.Collect), spec.Collect != "")
}

// start gives cmd its descriptors: output in one pipe, a socket at 3.
func start(cmd *exec.Cmd, collect string, collects bool) (sandbox.Process, error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "server"), os.NewFile(uintptr(fds[1]), "job")
	defer theirs.Close()
	defer ours.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		return nil, err
	}
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer write.Close()
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = write, write, []*os.File{theirs}
	p := &plainProcess{cmd: cmd, conn: conn, output: read, ended: make(chan struct{})}
	if collects {
		p.collect = collect
	}
	if err := cmd.Start(); err != nil {
		p.exit = sandbox.Exit{Code: 127, Error: fmt.Sprintf("exec: %v", err)}
		close(p.ended)
		return p, nil
	}
	go func() {
		defer close(p.ended)
		_ = cmd.Wait() // the state tells more than the error
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			p.exit = sandbox.Exit{Code: 128 + int(ws.Signal()), Signal: int(ws.Signal())}
		} else {
			p.exit.Code = cmd.ProcessState.ExitCode()
		}
	}()
	return p, nil
}

type plainProcess struct {
	cmd     *exec.Cmd
	conn    net.Conn
	output  *os.File
	collect string        // host path; "" when nothing is collected
	ended   chan struct{} // closed when exit is final
	exit    sandbox.Exit
	once    sync.Once
}

func (p *plainProcess) Conn() net.Conn    { return p.conn }
func (p *plainProcess) Output() io.Reader { return p.output }

func (p *plainProcess) Collected() ([]byte, bool) {
	b, err := os.ReadFile(p.collect)
	return b, err == nil
}

func (p *plainProcess) Wait(ctx context.Context) (sandbox.Exit, error) {
	select {
	case <-p.ended:
		return p.exit, nil
	case <-ctx.Done():
		return sandbox.Exit{}, ctx.Err()
	}
}

func (p *plainProcess) Kill() error {
	select {
	case <-p.ended:
		return nil
	default:
	}
	return syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
}

func (p *plainProcess) Close() error {
	p.once.Do(func() {
		_ = p.Kill()
		<-p.ended
		_ = p.conn.Close()
		_ = p.output.Close()
	})
	return nil
}
