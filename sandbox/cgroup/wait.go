package cgroup

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// patience bounds how long Kill and Delete wait for the kernel to be done with dying processes.
const patience = 5 * time.Second

// backoff yields functions that wait a little longer each time, until patience has run out. The kernel tells nobody when the
// last process of a version 1 group is gone, so there is nothing better to wait on.
func backoff() iter.Seq[func()] {
	return func(yield func(func()) bool) {
		d := 200 * time.Microsecond
		for end := time.Now().Add(patience); time.Now().Before(end); {
			if !yield(func() { time.Sleep(d) }) {
				return
			}
			d = min(2*d, 20*time.Millisecond)
		}
	}
}

// drain kills what is in dirs until nothing is.
func drain(dirs []string) error {
	for wait := range backoff() {
		left := 0
		for _, dir := range dirs {
			n, err := signalAll(dir)
			if err != nil {
				return err
			}
			left += n
		}
		if left == 0 {
			return nil
		}
		wait()
	}
	return fmt.Errorf("processes in %v survive SIGKILL", dirs)
}

// procs lists the processes of dir and of the groups below it.
func procs(dir string) ([]int, error) {
	data, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENODEV) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read processes: %w", err)
	}
	var out []int
	for _, f := range bytes.Fields(data) {
		pid, err := strconv.Atoi(string(f))
		if err != nil {
			return nil, fmt.Errorf("read processes of %s: %w", dir, err)
		}
		if pid > 0 { // 0: a process that this pid namespace can not name
			out = append(out, pid)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return out, nil
	}
	for _, e := range entries {
		if e.IsDir() {
			below, err := procs(filepath.Join(dir, e.Name()))
			if err != nil {
				return nil, err
			}
			out = append(out, below...)
		}
	}
	return out, nil
}

// signalAll kills what is in dir now, once, and says how many that were.
func signalAll(dir string) (int, error) {
	pids, err := procs(dir)
	if err != nil {
		return 0, err
	}
	for _, pid := range pids {
		if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
			return 0, fmt.Errorf("kill %d: %w", pid, err)
		}
	}
	return len(pids), nil
}
