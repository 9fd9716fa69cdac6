package sandboxtest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/millrace/millrace/sandbox"
)

// processes returns the pids on this host whose command line contains mark.
func processes(mark string) []int {
	var pids []int
	list, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range list {
		data, err := os.ReadFile(path)
		if err == nil && strings.Contains(string(data), mark) {
			pid, _ := strconv.Atoi(strings.Split(path, "/")[2])
			pids = append(pids, pid)
		}
	}
	return pids
}

// daemon runs a process that leaves a daemon behind, checks that the daemon was there, and that it is not any more.
func daemon(b *bench, init bool) {
	mark := fmt.Sprintf("millrace-daemon-%d-%d", os.Getpid(), time.Now().UnixNano())
	s := sandbox.Spec{Argv: []string{mark, "daemon", "left"}, Exec: Probe(b.t), Init: init}
	p := b.start(s)
	line := make([]byte, len(mark)+1)
	if _, err := io.ReadFull(p.Output(), line); err != nil {
		b.t.Fatalf("read output: %v", err)
	}
	if n := len(processes(mark)); n < 2 {
		b.t.Fatalf("saw %d processes, want the program and its daemon", n)
	}
	_ = p.Conn().(interface{ CloseWrite() error }).CloseWrite() // the program ends, the daemon would stay
	b.check(finish(b.t, p), 0, "")
	if left := processes(mark); len(left) > 0 {
		b.t.Errorf("processes left: %v", left)
	}
}

func testDaemon(b *bench) {
	b.need(sandbox.LackWalls)
	daemon(b, false)
}

func testDaemonUnderInit(b *bench) {
	b.need(sandbox.LackWalls)
	daemon(b, true)
}

func testBrokenSlot(b *bench) {
	b.need(sandbox.LackWalls)
	mark := fmt.Sprintf("millrace-victim-%d-%d", os.Getpid(), time.Now().UnixNano())
	p := b.start(sandbox.Spec{Argv: []string{mark, "daemon", "x"}, Exec: Probe(b.t)})
	if _, err := io.ReadFull(p.Output(), make([]byte, len(mark)+1)); err != nil {
		b.t.Fatal(err)
	}
	forker := 0
	for _, pid := range processes(mark) {
		if parent := parentOf(pid); len(processesByPid(parent, mark)) == 0 {
			forker = parent
		}
	}
	if forker <= 1 || forker == os.Getpid() {
		b.t.Fatalf("forker of the slot not found (%d)", forker)
	}
	if err := syscall.Kill(forker, syscall.SIGKILL); err != nil {
		b.t.Skipf("may not kill the forker: %v", err)
	}
	within(b.t, b.slot.Done(), "slot.Done after its forker was killed")
	if _, err := p.Wait(context.Background()); err == nil {
		b.t.Error("wait gave a clean end to a process whose forker was killed")
	}
}

func parentOf(pid int) int {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	if len(fields) < 2 {
		return 0
	}
	parent, _ := strconv.Atoi(fields[1])
	return parent
}

func processesByPid(pid int, mark string) []int {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || !strings.Contains(string(data), mark) {
		return nil
	}
	return []int{pid}
}
