// Package child runs processes that are going to be killed. A child dies with the harness, whatever happens to it.
package child

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// Child is a started process.
type Child struct {
	PID  int
	Done <-chan struct{} // closed once it has been reaped
	proc *os.Process
}

// Start starts cmd. last is the signal that the child gets when the harness dies.
func Start(cmd *exec.Cmd, last syscall.Signal) (*Child, error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = last
	cmd.SysProcAttr.Setpgid = true // Ctrl-C is for the harness
	begun, done := make(chan error), make(chan struct{})
	go func() {
		runtime.LockOSThread() // the death signal comes with the end of the thread that forked
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		begun <- err
		if err == nil {
			_ = cmd.Wait() // how it ended is not the question; that it did is
			close(done)
		}
	}()
	if err := <-begun; err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	return &Child{PID: cmd.Process.Pid, proc: cmd.Process, Done: done}, nil
}

// Signal sends s; a process that is gone is fine.
func (c *Child) Signal(s syscall.Signal) error {
	if err := c.proc.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal %s to process %d: %w", s, c.PID, err)
	}
	return nil
}

// Kill ends it at once and waits until it is gone.
func (c *Child) Kill() error {
	if err := c.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-c.Done
	return nil
}

// Gone says whether it has ended.
func (c *Child) Gone() bool {
	select {
	case <-c.Done:
		return true
	default:
		return false
	}
}

// Wait waits for its end.
func (c *Child) Wait(limit time.Duration) error {
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-c.Done:
		return nil
	case <-t.C:
		return fmt.Errorf("process %d does not end within %s", c.PID, limit)
	}
}
