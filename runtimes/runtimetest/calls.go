package runtimetest

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/millrace/millrace/runtimes"
	"github.com/millrace/millrace/sandbox/seccomp"
)

// callsFile lists the system calls that the processes of the language's suite made in real slots, one a line, as trace saw them.
// "name refused" is one that no process got an answer to but ENOSYS, and did without.
const callsFile = "testdata/calls.txt"

// checkCalls holds what the suite was seen to call against what slots of the language allow.
func checkCalls(t *testing.T, rt runtimes.Runtime) {
	granted := grants(t, rt)
	if err := seccomp.Check(granted); err != nil {
		t.Error(err)
	}
	data, err := os.ReadFile(callsFile)
	if errors.Is(err, fs.ErrNotExist) {
		t.Skipf("no %s: it is written by a run with MILLRACE_TEST_TRACE=1 and MILLRACE_TEST_JAIL", callsFile)
	}
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		name, refused := strings.CutSuffix(strings.TrimSpace(line), " refused")
		if name != "" && name[0] != '#' && seccomp.Allowed(name, granted) == refused {
			t.Errorf("%s: %s, but slots of the language allow it: %v (base list and Template.Calls %v)", callsFile, line, !refused, granted)
		}
	}
}

// grants are the calls that templates of the language ask for.
func grants(t *testing.T, rt runtimes.Runtime) []string {
	h := runtimes.Host{Lib: "/lib/millrace", Tool: "/usr/bin/tool", Version: "1", Extra: map[string]string{}}
	var calls []string
	for _, a := range readArchives(t, "testdata/run") {
		source, _ := a.get("source")
		p := program(a, rt.Info().Name, source)
		if l, err := rt.Launch(h, p, runtimes.Artifact{Dir: "/var/cache/out/key"}); err == nil {
			calls = append(calls, l.Template.Calls...)
		}
	}
	slices.Sort(calls)
	return slices.Compact(calls)
}
