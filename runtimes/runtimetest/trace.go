package runtimetest

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// trace makes a program that runs the helper under strace. What it returns is to be called when the helper has ended: it writes
// callsFile.
func trace(t *testing.T, helper string) (wrapped string, finish func()) {
	t.Helper()
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Fatal("MILLRACE_TEST_TRACE needs strace: apt install strace")
	}
	dir := t.TempDir()
	wrapped = filepath.Join(dir, "helper")
	script := fmt.Sprintf("#!/bin/sh\nexec %s -ff -qq -e signal=none -s 0 --pidns-translation -o %s/trace %s \"$@\"\n", strace, dir, helper)
	if err := os.WriteFile(wrapped, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return wrapped, func() {
		calls, err := readTraces(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(callsFile, []byte(strings.Join(calls, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// thread is what one trace file tells.
type thread struct {
	init     bool // it became a slot's init
	children []string
	calls    map[string]bool // true: it was answered by something else than ENOSYS
}

var (
	callLine  = regexp.MustCompile(`^([a-z0-9_]+)\(`)
	childLine = regexp.MustCompile(`^(?:clone|clone3|fork|vfork)\(.* = (\d+)(?: /\* (\d+) in strace's PID NS \*/)?$`)
)

// readTraces returns the calls of zygotes and jobs, of the latter from the moment on when they were confined.
func readTraces(dir string) ([]string, error) {
	files, err := filepath.Glob(dir + "/trace.*")
	if err != nil {
		return nil, err
	}
	threads := map[string]thread{}
	var inside []string
	for _, file := range files {
		th, err := readTrace(file)
		if err != nil {
			return nil, err
		}
		threads[strings.TrimPrefix(filepath.Ext(file), ".")] = th
		if th.init {
			inside = append(inside, th.children...)
		}
	}
	answered := map[string]bool{}
	for len(inside) > 0 {
		th := threads[inside[0]]
		inside = append(inside[1:], th.children...)
		for name, ok := range th.calls {
			answered[name] = answered[name] || ok
		}
	}
	if len(answered) == 0 {
		return nil, fmt.Errorf("no process of a slot was traced in %d files", len(files))
	}
	var out []string
	for name, ok := range answered {
		if !ok {
			name += " refused"
		}
		out = append(out, name)
	}
	slices.Sort(out)
	return out, nil
}

func readTrace(file string) (thread, error) {
	f, err := os.Open(file)
	if err != nil {
		return thread{}, err
	}
	defer f.Close()
	th := thread{calls: map[string]bool{}}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		name := callLine.FindStringSubmatch(line)
		switch {
		case name == nil:
			continue
		case name[1] == "execve" && strings.HasPrefix(line, `execve("/millrace/forker"`):
			th.init, th.children = true, nil
		case name[1] == "seccomp" && strings.Contains(line, "SECCOMP_SET_MODE_FILTER"):
			clear(th.calls)
			continue
		}
		th.calls[name[1]] = th.calls[name[1]] || !strings.Contains(line, "= -1 ENOSYS")
		if child := childLine.FindStringSubmatch(line); child != nil {
			th.children = append(th.children, child[len(child)-1])
			if child[2] == "" {
				th.children[len(th.children)-1] = child[1]
			}
		}
	}
	return th, lines.Err()
}
