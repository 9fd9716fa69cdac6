package nsjail

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/sandbox"
	"github.com/millrace/millrace/sandbox/forker"
	"github.com/millrace/millrace/sandbox/rootfs"
	"github.com/millrace/millrace/sandbox/seccomp"
	"github.com/millrace/millrace/sandbox/timerslack"
)

// jail is a running nsjail with a forker in it.
type jail struct {
	cmd    *exec.Cmd
	client *forker.Client
	said   bytes.Buffer  // what nsjail and the forker wrote; read after gone
	gone   chan struct{} // closed when nsjail has been reaped, and with it everything that it held
	wanted atomic.Bool   // its end is; set by end
}

// patience is how long a jail has to end by itself.
const patience = 2 * time.Second

// end makes an end of the jail and waits for it: the forker goes when its socket closes, its pid namespace with it, and then
// nsjail. One that has not come so far, or hangs, is killed.
func (j *jail) end() {
	j.wanted.Store(true)
	if j.client != nil {
		_ = j.client.Close()
	}
	late := time.AfterFunc(patience, func() { _ = j.cmd.Process.Kill() })
	<-j.gone
	late.Stop()
}

// process is the one process of a jail.
type process struct {
	sandbox.Process
	jail *jail
}

func (p *process) ended() bool {
	select {
	case <-p.jail.gone:
		return true
	default:
		return false
	}
}

// Wait implements sandbox.Process. The jail goes with its process, and nothing of it is left when Wait returns.
func (p *process) Wait(ctx context.Context) (sandbox.Exit, error) {
	e, err := p.Process.Wait(ctx)
	if err != nil && ctx.Err() != nil {
		return e, err
	}
	p.jail.end()
	return e, err
}

// Close implements sandbox.Process.
func (p *process) Close() error {
	err := p.Process.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, _ = p.Process.Wait(ctx) // how it ended is known before its jail goes
	p.jail.end()
	return err
}

// start starts an nsjail and in it the process.
func (s *Slot) start(ctx context.Context, spec sandbox.Spec) (*process, error) {
	if len(spec.Argv) == 0 && len(s.template.Zygote) > 0 && !spec.Init && spec.Exec == nil {
		spec.Argv = append(append([]string{}, s.template.Zygote...), "--once")
		spec.Env = s.template.ZygoteEnv
	}
	j, err := s.jail(ctx)
	if err != nil {
		return nil, err
	}
	go func() {
		<-j.client.Done()
		if !j.wanted.Load() {
			s.broke()
		}
	}()
	inner, err := j.client.Start(ctx, spec)
	if err != nil {
		j.end()
		return nil, err
	}
	return &process{Process: inner, jail: j}, nil
}

// jail starts nsjail and waits for the forker in it to say hello.
func (s *Slot) jail(ctx context.Context) (*jail, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	near, far := os.NewFile(uintptr(pair[0]), "control"), os.NewFile(uintptr(pair[1]), "forker")
	c, err := net.FileConn(near)
	_ = near.Close()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("control socket: %w", err), far.Close())
	}
	conn := c.(*net.UnixConn)
	j := &jail{cmd: exec.Command(s.isolator.config.Path, s.arguments()...), gone: make(chan struct{})}
	j.cmd.Env = []string{} // the daemon's is not for jobs
	j.cmd.ExtraFiles = []*os.File{far}
	j.cmd.Stdout, j.cmd.Stderr = &j.said, &j.said
	j.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	err = timerslack.Started(timerslack.Usual, j.cmd.Start)
	_ = far.Close()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start nsjail: %w", err), conn.Close())
	}
	go func() {
		_ = j.cmd.Wait() // how it ended is told by the forker; that it is reaped is ours
		close(j.gone)
	}()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	o := forker.Options{UID: rootfs.JobUID, GID: rootfs.JobUID, RlimitPids: true}
	if !s.isolator.root {
		o.UID, o.GID, o.Rootless = 0, 0, true
	}
	j.client, err = forker.New(conn, o)
	if err != nil {
		j.end()
		return nil, fmt.Errorf("start nsjail: %w: it said: %s", errors.Join(ctx.Err(), err), bytes.TrimSpace(j.said.Bytes()))
	}
	return j, nil
}

// arguments are nsjail's. They tell nothing about the process.
func (s *Slot) arguments() []string {
	fd := strconv.Itoa(3)
	args := []string{
		"--mode", "o", "--really_quiet", "--chroot", s.root, "--cwd", "/", "--hostname", rootfs.Hostname, "--time_limit", "0",
		"--pass_fd", fd, "--rlimit_as", "inf", "--rlimit_core", "0", "--rlimit_cpu", "inf", "--rlimit_fsize", "inf",
		"--rlimit_nofile", "max", "--rlimit_nproc", "max", "--rlimit_stack", "max",
	}
	for _, c := range seccomp.Capabilities {
		args = append(args, "--cap", c)
	}
	forkerUser, job := s.users()
	ids := []string{fmt.Sprintf("0:%d:1", forkerUser)} // nsjail starts the forker as the first
	if s.isolator.root {
		ids = append(ids, fmt.Sprintf("%d:%d:1", rootfs.JobUID, job))
	}
	for _, id := range ids {
		args = append(args, "--user", id, "--group", id)
	}
	if s.template.Network == sandbox.NetworkHost {
		args = append(args, "--disable_clone_newnet")
	}
	for _, m := range s.mounts {
		flag := "--bindmount_ro"
		if m.Device || m.Writable {
			flag = "--bindmount"
		}
		args = append(args, flag, m.Source+":"+m.Target)
	}
	args = append(args, "--", rootfs.ForkerPath, "--bpf", rootfs.FilterPath)
	return args
}
