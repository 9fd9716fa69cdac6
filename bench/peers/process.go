package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// group is a process that leads a process group of its own, so that what it starts ends with it.
type group struct {
	cmd    *exec.Cmd
	exited chan struct{}
}

// startGroup starts cmd in its own group.
func startGroup(cmd *exec.Cmd) (*group, error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid, cmd.SysProcAttr.Pdeathsig = true, syscall.SIGKILL
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	g := &group{cmd: cmd, exited: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // how it ended is in its log
		close(g.exited)
	}()
	return g, nil
}

// end asks the leader to end, and then ends what is left of the group.
func (g *group) end(sig syscall.Signal, patience time.Duration) {
	pid := g.cmd.Process.Pid
	_ = g.cmd.Process.Signal(sig) // it may be gone already
	select {
	case <-g.exited:
	case <-time.After(patience):
	}
	_ = syscall.Kill(-pid, syscall.SIGKILL) // likewise
	<-g.exited
}

// endMarked ends every process whose environment holds mark: also those that left their group.
func endMarked(mark string) {
	for _, pid := range marked(mark) {
		_ = syscall.Kill(pid, syscall.SIGKILL) // it may be gone already
	}
}

func marked(mark string) []int {
	var out []int
	entries, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, e := range entries {
		b, err := os.ReadFile(e)
		if err != nil {
			continue
		}
		for _, word := range bytes.Split(b, []byte{0}) {
			if string(word) == mark {
				if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(e))); err == nil && pid != os.Getpid() {
					out = append(out, pid)
				}
			}
		}
	}
	return out
}

// family is what belongs to a run: the marked processes and all their descendants, which may have cleared their environment.
func family(mark string) []int { return descendants(marked(mark)...) }

// descendants are these processes and all below them.
func descendants(pids ...int) []int {
	parents := map[int]int{}
	entries, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, e := range entries {
		if f := statFields(e); len(f) > 1 {
			if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(e))); err == nil {
				parents[pid], _ = strconv.Atoi(f[1])
			}
		}
	}
	in := map[int]bool{}
	for _, pid := range pids {
		in[pid] = true
	}
	for grown := true; grown; {
		grown = false
		for pid, parent := range parents {
			if in[parent] && !in[pid] {
				in[pid], grown = true, true
			}
		}
	}
	var out []int
	for pid := range in {
		out = append(out, pid)
	}
	return out
}

// statFields returns the fields of /proc/PID/stat after the name, which may hold blanks.
func statFields(file string) []string {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	return strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
}

const ticksPerSecond = 100 // of /proc on Linux

// usage returns the processor time and the memory (shared pages counted once) of processes. The time is theirs and that of their children
// that have ended, or a family of which one ends would seem to give time back.
func usage(pids []int) (cpu time.Duration, megabytes float64) {
	for _, pid := range pids {
		if f := statFields(fmt.Sprintf("/proc/%d/stat", pid)); len(f) > 14 {
			for _, n := range f[11:15] {
				ticks, _ := strconv.Atoi(n)
				cpu += time.Duration(ticks) * time.Second / ticksPerSecond
			}
		}
		if kb, err := strconv.ParseFloat(strings.TrimSuffix(field(fmt.Sprintf("/proc/%d/smaps_rollup", pid), "Pss"), " kB"), 64); err == nil {
			megabytes += kb / 1024
		}
	}
	return cpu, megabytes
}

// fingerprint changes when a file below a folder does, wherever the folder lies.
func fingerprint(folder string) (string, error) {
	h := sha256.New()
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || strings.Contains(path, "__pycache__") {
			return err
		}
		b, err := os.ReadFile(path)
		_, _ = fmt.Fprintf(h, "%s %d\n%s", strings.TrimPrefix(path, folder), len(b), b) // a hash takes everything
		return err
	})
	return hex.EncodeToString(h.Sum(nil)), err
}
