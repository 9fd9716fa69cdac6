package runtimetest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/millrace/millrace/runtimes"
	"github.com/millrace/millrace/runtimes/build"
	"github.com/millrace/millrace/sandbox"
	"github.com/millrace/millrace/sandbox/network/networktest"
)

// common are the cases that every language must have, with what they must show. A language that cannot says why in
// Options.Without.
var common = []struct{ name, shows string }{
	{"echo", "main(x) returns x; it is called with every kind of JSON value"},
	{"default", `main(a, b = "two") returns [a, b]`},
	{"missing", "a required argument that is not given is a clear failure that names it"},
	{"throws", "an error has its name, its message and the user's line in the stack"},
	{"prints", "what a script prints is its log, on both descriptors, in UTF-8"},
	{"notjson", "a result that is no JSON is a clear failure"},
	{"syntax", "a syntax error has the user's line"},
	{"nomain", "a source without main is a clear failure"},
	{"env", "the call's environment variables are visible: returns WM_WORKSPACE"},
	{"stream", "a generator streams"},
	{"exit", "ending with status 3 without a result is a clear failure"},
}

// echoed are the values that come back as they went. Their names can be keys of Options.Without, as "echo/<name>".
var echoed = []struct{ name, value string }{
	{"int", "1"}, {"negative", "-7"}, {"float", "1.5"}, {"bool", "true"}, {"string", `"text"`}, {"empty", `""`},
	{"list", `[1,"two",[3]]`}, {"object", `{"b":1,"a":{"c":[{"d":null}]}}`}, {"null", "null"},
	{"unicode", `"é 漢字 😀 \" \\ \n \t </script> \u2028"`}, {"bigint", "9007199254740993"},
}

func checkRuns(t *testing.T, rt runtimes.Runtime, o Options) {
	d := newDriver(t, rt, o)
	cases := readArchives(t, "testdata/run")
	for _, c := range common {
		have := slices.ContainsFunc(cases, func(a *archive) bool { return a.name == c.name })
		if _, without := o.Without[c.name]; !have && !without {
			t.Errorf("testdata/run/%s.txtar is missing: %s", c.name, c.shows)
		}
	}
	for _, a := range cases {
		t.Run(a.name, func(t *testing.T) {
			if needs, _ := a.get("needs"); strings.Contains(needs, "network") && !online() {
				t.Skip("no package registry can be reached from here")
			}
			if a.name != "echo" {
				a.run(t, d, a)
				return
			}
			for _, e := range echoed {
				t.Run(e.name, func(t *testing.T) {
					if why, without := o.Without["echo/"+e.name]; without {
						t.Skip(why)
					}
					b := *a
					b.sections = slices.Clone(a.sections)
					b.set("args", `{"x":`+e.value+`}`)
					b.set("result", e.value)
					b.run(t, d, a)
				})
			}
		})
	}
}

// newDriver finds the language's tools or skips.
func newDriver(t *testing.T, rt runtimes.Runtime, o Options) *Driver {
	t.Helper()
	lib := o.Lib
	if lib == "" {
		lib = libFolder()
	}
	h, err := rt.Detect(t.Context(), lib)
	var missing *runtimes.Missing
	if errors.As(err, &missing) {
		t.Skipf("programs are not run: %v", err)
	}
	if err != nil {
		t.Fatalf("detect: %v", err)
	}
	s := surround(t, rt.Info().Name, o)
	b, err := build.New(build.Config{Isolator: s.isolator, CacheDir: s.cache, Remove: s.remove, Log: zerolog.New(zerolog.NewTestWriter(t))})
	if err != nil {
		t.Fatal(err)
	}
	return &Driver{Runtime: rt, Host: h, Isolator: s.isolator, Builder: b}
}

func libFolder() string {
	if lib := os.Getenv("MILLRACE_LIB"); lib != "" {
		return lib
	}
	return filepath.Join(buildFolder(), "lib")
}

// buildFolder is where this source tree's build leaves its output.
func buildFolder() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..", ".build")
}

// Cache is a folder for what recipes of a language download and compile. It is kept between test runs, where this source tree
// has a .build folder or MILLRACE_TEST_CACHE names one, and used by one test at a time.
func Cache(t *testing.T, language string) string {
	t.Helper()
	dir := os.Getenv("MILLRACE_TEST_CACHE")
	if _, err := os.Stat(buildFolder()); dir == "" && err == nil {
		dir = filepath.Join(buildFolder(), "testcache")
	}
	if dir == "" {
		return t.TempDir()
	}
	dir = filepath.Join(dir, language)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if networktest.Alone() {
		return dir // whoever started this process holds the lock and waits
	}
	lock, err := os.OpenFile(dir+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = lock.Close() })
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	return dir
}

// program is the program of a case.
func program(a *archive, language, source string) runtimes.Program {
	p := runtimes.Program{Workspace: "test", Language: language, Path: "u/test/" + a.name, Source: source, Network: sandbox.NetworkNone}
	if path, ok := a.get("path"); ok {
		p.Path = path
	}
	p.Entry, _ = a.get("entry")
	p.Lock, _ = a.get("lock")
	if n, ok := a.get("network"); ok {
		p.Network = sandbox.Network(n)
	}
	return p
}

func (a *archive) run(t *testing.T, d *Driver, of *archive) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	source, ok := a.get("source")
	if !ok {
		t.Fatal("no source section")
	}
	c := runtimes.Call{Args: json.RawMessage("{}"), Env: runtimes.Env{{Name: "WM_WORKSPACE", Value: "test"}, {Name: "WM_JOB_ID", Value: "0198-test"}}}
	if args, ok := a.get("args"); ok {
		c.Args = json.RawMessage(args)
	}
	if env, ok := a.get("env"); ok {
		for line := range strings.Lines(env) {
			k, v, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
			c.Env.Set(k, v)
		}
	}
	d.History, d.Answers = a.lines("history"), a.lines("answers")
	out, err := d.Run(ctx, program(of, d.Runtime.Info().Name, source), c)
	if err != nil {
		t.Fatal(err)
	}
	a.judge(t, out)
}

func (a *archive) judge(t *testing.T, out Outcome) {
	t.Helper()
	want, wantResult := a.get("result")
	failure, wantFailure := a.get("failure")
	switch {
	case wantResult && out.Failure != nil:
		t.Errorf("failed: %v\n%s\nlogs:\n%s\nbuild:\n%s", out.Failure, out.Failure.Stack, out.Logs, out.Build)
	case wantResult && !SameJSON([]byte(want), out.Result):
		t.Errorf("got result %s, want %s", out.Result, want)
	case wantFailure && out.Failure == nil:
		t.Errorf("got result %s, want failure %s\nlogs:\n%s", out.Result, failure, out.Logs)
	case wantFailure:
		judgeFailure(t, failure, out.Failure)
	case !wantResult:
		t.Error("the case says neither result nor failure")
	}
	a.judgeAsks(t, out.Asks)
	logs, _ := a.get("logs")
	for line := range strings.Lines(logs) {
		if !strings.Contains("\n"+out.Logs+"\n", "\n"+strings.TrimSuffix(line, "\n")+"\n") {
			t.Errorf("the logs lack the line %q:\n%s", line, out.Logs)
		}
	}
	if stream, ok := a.get("stream"); ok && strings.TrimSuffix(out.Stream, "\n") != stream {
		t.Errorf("got stream %q, want %q", out.Stream, stream)
	}
}

func judgeFailure(t *testing.T, want string, f *runtimes.Failure) {
	t.Helper()
	parts := map[string]string{"name": f.Name, "message": f.Message, "stack": f.Stack, "extra": string(f.Extra)}
	for line := range strings.Lines(want) {
		key, text, _ := strings.Cut(strings.TrimSpace(line), ": ")
		got, known := parts[key]
		switch {
		case !known:
			t.Errorf("failure section: %q is not name, message, stack or extra", key)
		case key == "name" && got != text, !strings.Contains(got, text):
			t.Errorf("got %s %q, want %q", key, got, text)
		}
	}
	if t.Failed() {
		t.Logf("the failure was %s\n%s", f.Error(), f.Stack)
	}
}

// online says whether a package registry, or the proxy in front of it, can be connected to: what the environment names, else
// what the Go command is set up for.
func online() bool {
	var places []string
	for _, v := range []string{"HTTPS_PROXY", "https_proxy", "GOPROXY", "PIP_INDEX_URL", "npm_config_registry"} {
		places = append(places, os.Getenv(v))
	}
	if out, err := exec.Command(cmp.Or(os.Getenv("MILLRACE_GO"), "/usr/local/go/bin/go"), "env", "GOPROXY").Output(); err == nil {
		places = append(places, strings.TrimSpace(string(out)))
	}
	for _, p := range places {
		u, err := url.Parse(strings.Split(p, ",")[0])
		if err != nil || u.Host == "" {
			continue
		}
		port := u.Port()
		if port == "" {
			port = map[string]string{"http": "80"}[u.Scheme]
		}
		if port == "" {
			port = "443"
		}
		return reaches(net.JoinHostPort(u.Hostname(), port))
	}
	return false
}

func reaches(address string) bool {
	c, err := net.DialTimeout("tcp", address, 3*time.Second)
	if err != nil {
		return false
	}
	_ = c.Close()
	return true
}
