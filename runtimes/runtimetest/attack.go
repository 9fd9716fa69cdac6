package runtimetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/millrace/millrace/runtimes"
	"github.com/millrace/millrace/sandbox"
	"github.com/millrace/millrace/sandbox/direct"
	"github.com/millrace/millrace/sandbox/network/networktest"
	"github.com/millrace/millrace/sandbox/sandboxtest"
	"github.com/millrace/millrace/sandbox/slot"
)

// Attack runs the probes of sandboxtest as a program of the language would: started by its own launch, for every isolator that
// can be had here and every network. The program is testdata/attack/attack.txtar; its main takes a command and prints lines
// "NAME CODE TEXT":
//
//	all, leave, find, bombs   run /work/probe with that argument, which is the helper of sandboxtest
//	own                       tries what the language's own way differs in (a foreign function interface, its sockets)
//	fresh                     prints what must never be the same twice: random numbers, names of temporary files
//
// "own" is also run without walls, which is its control.
func Attack(t *testing.T, rt runtimes.Runtime, o Options) {
	t.Helper()
	if testing.Short() {
		t.Skip("left out of short runs")
	}
	d := newDriver(t, rt, o)
	cases := readArchives(t, "testdata/attack")
	if len(cases) != 1 {
		t.Fatal("testdata/attack must hold one case")
	}
	source, _ := cases[0].get("source")
	a := &attacker{driver: d, source: source, lib: o.Lib, probe: probeFile(t)}
	if a.lib == "" {
		a.lib = libFolder()
	}
	isolators, networks := a.isolators(), slices.DeleteFunc(sandboxtest.Networks(), func(n sandbox.Network) bool { return n == sandbox.NetworkEgress })
	if networktest.Alone() { // see outward
		networktest.Connect(t)
		isolators, networks = isolators[:1], []sandbox.Network{sandbox.NetworkEgress}
	}
	a.control = a.without(t)
	table := &sandboxtest.Table{}
	ran := false
	for _, w := range isolators {
		t.Run(w.name, func(t *testing.T) {
			isolator := w.open(t)
			for _, n := range networks {
				t.Run(string(n), func(t *testing.T) {
					if s := isolator.Strength(); !sandboxtest.Has(s, n) {
						t.Skipf("isolation %s has no slots of this network here", s.Mode)
					}
					a.attack(t, isolator, n, table)
				})
			}
			if w.cases {
				t.Run("cases", func(t *testing.T) { a.cases(t, isolator) })
			}
			ran = true
		})
	}
	if !networktest.Alone() {
		t.Run(string(sandbox.NetworkEgress), outward)
	}
	if ran {
		t.Logf("%s\n%s", rt.Info().Title, table)
	}
}

// outward runs the whole test once more in a network namespace of its own, where slots with a way out can be had on every host, and
// only with these.
func outward(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	test, _, _ := strings.Cut(t.Name(), "/")
	status, err := networktest.Again(nil, "-test.v", "-test.run=^"+test+"$")
	if err != nil || status != 0 {
		t.Errorf("status %d, %v", status, err)
	}
}

type attacker struct {
	driver  *Driver
	source  string
	lib     string
	probe   []byte
	control string // what "own" prints without walls
}

func probeFile(t *testing.T) []byte {
	t.Helper()
	data, err := io.ReadAll(sandboxtest.Probe(t))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// attack runs all commands in one slot, one process each.
func (a *attacker) attack(t *testing.T, i sandbox.Isolator, n sandbox.Network, table *sandboxtest.Table) {
	scene := sandboxtest.NewScene(t, i, n)
	scene.Without = map[string]string{"overwrite_exe": "the probe is a file of the job's own here"}
	d := *a.driver
	d.Isolator = i
	said := a.run(t, &d, n, scene, nil, "all", "leave", "find", "own", "fresh", "fresh", "bombs")
	who := d.Runtime.Info().Title
	table.Add(scene.Judge(t, who, said[0]))
	table.Add(scene.JudgeLeftovers(t, who, said[2]))
	table.Add(scene.JudgeOwn(t, who, said[3], a.control))
	table.Add(scene.JudgeBombs(t, who, said[6]))
	first, second := strings.Split(said[4], "\n"), strings.Split(said[5], "\n")
	if len(first) < 3 || len(first) != len(second) {
		t.Fatalf("fresh printed %q and %q", said[4], said[5])
	}
	for at, line := range first {
		if line != "" && line == second[at] {
			t.Errorf("two processes of one slot both got %q", line)
		}
	}
}

// run starts the program once a command, in one slot, and returns what each printed.
func (a *attacker) run(t *testing.T, d *Driver, n sandbox.Network, scene *sandboxtest.Scene, extra map[string]string, commands ...string) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	p := runtimes.Program{Workspace: "test", Language: d.Runtime.Info().Name, Path: "u/test/attack", Source: a.source, Network: n}
	var out Outcome
	l, err := d.prepare(ctx, &p, &out)
	if err != nil {
		t.Fatalf("prepare: %v\n%s", err, out.Build)
	}
	l.Spec.Files = append(l.Spec.Files, sandbox.File{Name: "probe", Data: a.probe, Mode: 0o755})
	slot, err := d.Isolator.Open(ctx, l.Template)
	if err != nil {
		t.Fatalf("open slot: %v", err)
	}
	defer slot.Close()
	said, limits := make([]string, 0, len(commands)), l.Spec.Limits
	for _, command := range commands {
		env := scene.Env(l.Spec.Init)
		for k, v := range extra {
			env[k] = v
		}
		args, err := json.Marshal(map[string]string{"command": command})
		if err != nil {
			t.Fatal(err)
		}
		var out Outcome
		if l.Spec.Limits = limits; command == "bombs" {
			l.Spec.Limits = sandboxtest.BombLimits
		}
		if err := d.executeIn(ctx, slot, l, runOf{p, runtimes.Call{Args: args, Env: runtimes.EnvOf(env)}}, &out); err != nil {
			t.Fatalf("%s: %v", command, err)
		}
		if out.Failure != nil && command != "bombs" { // a child that was ended for its memory may be the run's failure
			t.Errorf("%s: %v\n%s", command, out.Failure, out.Logs)
		}
		said = append(said, out.Logs)
	}
	return said
}

// without runs "own" without walls.
func (a *attacker) without(t *testing.T) string {
	t.Helper()
	i := direct.New("")
	scene := sandboxtest.NewScene(t, i, sandbox.NetworkHost)
	d := *a.driver
	d.Isolator = i
	return a.run(t, &d, sandbox.NetworkHost, scene, map[string]string{"PROBE_CONTROL": "1"}, "own")[0]
}

type walls struct {
	name  string
	open  func(t *testing.T) sandbox.Isolator
	cases bool // no other test runs the language's cases with it
}

func (a *attacker) isolators() []walls {
	return []walls{
		{name: "full", open: func(t *testing.T) sandbox.Isolator { return a.slots(t, 0) }},
		{name: "rootless", open: func(t *testing.T) sandbox.Isolator { return a.slots(t, nobodys) }},
		{name: "nsjail", open: func(t *testing.T) sandbox.Isolator { return jailed(t, a.lib) }, cases: true},
	}
}

// nobodys is a user that no machine has.
const nobodys = 64_323

// slots starts a helper as the given user.
func (a *attacker) slots(t *testing.T, user int) sandbox.Isolator {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	helper := os.Getenv("MILLRACE_TEST_JAIL")
	if helper == "" {
		helper = filepath.Join(buildFolder(), "bin", "millrace-jail")
	}
	if _, err := os.Stat(helper); err != nil {
		t.Skipf("no helper for slots here: %v", err)
	}
	dir, err := os.MkdirTemp("", "attack")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := errors.Join(os.Chmod(dir, 0o755), os.Chown(dir, user, user)); err != nil {
		t.Fatal(err)
	}
	if user != 0 {
		script := fmt.Sprintf("#!/bin/sh\nexec setpriv --reuid %d --regid %d --clear-groups -- %s \"$@\"\n", user, user, helper)
		helper = filepath.Join(dir, "as-user")
		if err := os.WriteFile(helper, []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	h := slot.Helper{Path: helper, Lib: a.lib, Extra: []string{"--state", filepath.Join(dir, "state"), "--cgroup-parent", "/" + filepath.Base(dir)}}
	if networktest.Alone() {
		h.Extra = append(h.Extra, "--ip-forward")
	}
	if root := a.driver.Host.Root; root != "" {
		h.Allow = []string{root}
	}
	i, err := slot.Spawn(t.Context(), h, slot.Options{Log: zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.ErrorLevel)})
	if err != nil {
		t.Fatalf("start %s: %v", helper, err)
	}
	t.Cleanup(func() {
		if err := i.Close(); err != nil {
			t.Error(err)
		}
		for _, pattern := range []string{"/sys/fs/cgroup/*/", "/sys/fs/cgroup/"} {
			groups, _ := filepath.Glob(pattern + filepath.Base(dir))
			for _, g := range groups {
				_ = os.Remove(g)
			}
		}
	})
	return i
}
