package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/millrace/millrace/sandbox/jail"
)

const statusSoftware = 70

// serve answers on an inherited socket until its other end is closed.
func serve(args []string) (int, error) {
	o, err := parse("serve", args)
	if err != nil {
		return usage(err)
	}
	f := os.NewFile(uintptr(o.fd), "jail")
	conn, err := jail.Conn(f)
	_ = f.Close()
	if err != nil {
		return 64, err
	}
	// Whoever started us ends us by hanging up. A terminal's Ctrl-C is meant for the daemon, which may want to finish its jobs.
	signal.Ignore(syscall.SIGINT, syscall.SIGHUP)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	log := logger(o)
	h, err := host(o, log)
	if err != nil {
		return statusSoftware, errors.Join(err, conn.Close())
	}
	err = errors.Join(jail.Serve(ctx, conn, adapter{h}, log), h.Close())
	if err != nil {
		return statusSoftware, err
	}
	return 0, nil
}

func usage(err error) (int, error) {
	if errors.Is(err, flag.ErrHelp) {
		return 0, nil
	}
	return 64, err
}

// run starts the program as the daemon's user with our socket as descriptor 3, serves it, and ends as it ends.
func run(args []string) (int, error) {
	o, err := parse("run", args)
	if err != nil {
		return usage(err)
	}
	log := logger(o)
	// From here on no signal ends us before the program: whoever sends one means the program.
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2)
	h, err := host(o, log)
	if err != nil {
		return statusSoftware, err
	}
	conn, theirs, err := jail.Pair()
	if err != nil {
		return statusSoftware, errors.Join(err, h.Close())
	}
	cmd := program(o, theirs)
	err = cmd.Start()
	_ = theirs.Close()
	if err != nil {
		return statusSoftware, errors.Join(fmt.Errorf("start %s: %w", o.program[0], err), conn.Close(), h.Close())
	}
	served := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { served <- jail.Serve(ctx, conn, adapter{h}, log) }()
	forward(cmd, signals)
	cancel()
	if err := errors.Join(<-served, h.Close()); err != nil {
		log.Error().Err(err).Msg("clean up")
	}
	return statusOf(cmd.ProcessState), nil
}

// program is the daemon's command: its own user without further groups, a process group of its own so that a terminal's
// signals reach it once (through forward), and dead when we die.
func program(o options, socket *os.File) *exec.Cmd {
	cmd := exec.Command(o.program[0], o.program[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{socket}
	cmd.Env = append(os.Environ(), jail.FDEnv+"=3")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(o.uid), Gid: uint32(o.gid)}
	}
	return cmd
}

// forward passes signals on until the program has ended. It must run on the goroutine, hence the thread, that started the
// program: the kernel ties the program's life to that thread.
func forward(cmd *exec.Cmd, signals <-chan os.Signal) {
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // its status is in ProcessState
		close(ended)
	}()
	for {
		select {
		case s := <-signals:
			_ = cmd.Process.Signal(s)
		case <-ended:
			return
		}
	}
}

// statusOf is the status a shell would report.
func statusOf(p *os.ProcessState) int {
	ws, ok := p.Sys().(syscall.WaitStatus)
	switch {
	case ok && ws.Signaled():
		return 128 + int(ws.Signal())
	case ok:
		return ws.ExitStatus()
	}
	return statusSoftware
}
