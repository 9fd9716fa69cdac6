// Package clock gives a server a wall clock that can be set while it runs. Time namespaces shift monotonic clocks only, and
// setting the host's clock would hit everybody on it, so a small library is preloaded into PostgreSQL instead. That is where
// it matters: the queue's times are the database's, and what a process measures for itself it measures monotonically. A host
// whose clock is set while its database's is not looks just the same from here: the two disagree.
package clock

import (
	"context"
	_ "embed"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

//go:embed shim/clock.c
var source []byte

// Clock is the setting of one server's clock.
type Clock struct {
	file    string
	library string
}

// New compiles the library into dir, which the server must be able to read.
func New(ctx context.Context, dir string) (*Clock, error) {
	c := &Clock{file: filepath.Join(dir, "clock"), library: filepath.Join(dir, "clock.so")}
	text := filepath.Join(dir, "clock.c")
	if err := os.WriteFile(text, source, 0o644); err != nil {
		return nil, err
	}
	if out, err := exec.CommandContext(ctx, "cc", "-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o", c.library, text).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("compile the clock: %w: %s", err, out)
	}
	return c, c.write(0, os.O_CREATE|os.O_WRONLY)
}

// Env is what the server's environment needs.
func (c *Clock) Env() []string { return []string{"LD_PRELOAD=" + c.library, "CHAOS_CLOCK=" + c.file} }

// Set makes the server's clock differ from the true one by d, from now on.
func (c *Clock) Set(d time.Duration) error { return c.write(d, os.O_WRONLY) }

func (c *Clock) write(d time.Duration, flags int) error {
	f, err := os.OpenFile(c.file, flags, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.WriteAt(binary.NativeEndian.AppendUint64(nil, uint64(d)), 0); err != nil {
		return err
	}
	return f.Sync()
}
