package pool_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/rs/zerolog"

	"github.com/millrace/millrace/engine/pool"
	"github.com/millrace/millrace/runtimes"
	"github.com/millrace/millrace/runtimes/bun"
	"github.com/millrace/millrace/runtimes/python"
	"github.com/millrace/millrace/sandbox"
	"github.com/millrace/millrace/sandbox/direct"
	"github.com/millrace/millrace/sandbox/slot"
)

const built = "../../.build"

// place is a pool whose slots are real where this process may build them, else plain processes.
type place struct {
	*pool.Pool
	walls bool
	lib   string
}

func open(t testing.TB, d pool.Dedicated) *place {
	t.Helper()
	lib, err := filepath.Abs(filepath.Join(built, "lib"))
	if err != nil {
		t.Fatal(err)
	}
	p := &place{lib: lib}
	log := zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.WarnLevel)
	var isolator sandbox.Isolator = direct.New(t.TempDir())
	helper := filepath.Join(built, "bin/millrace-jail")
	if _, err := os.Stat(helper); err == nil && os.Geteuid() == 0 && !testing.Short() {
		real, err := slot.Spawn(t.Context(), slot.Helper{Path: helper, Lib: lib}, slot.Options{Log: log})
		if err != nil {
			t.Fatal(err)
		}
		isolator, p.walls = real, true
	}
	t.Cleanup(func() { _ = isolator.Close() })
	if p.Pool, err = pool.New(pool.Config{Isolator: isolator, MaxSlots: 8, Dedicated: d, Log: log}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	return p
}

// script is a deployed script of one owner.
type script struct {
	*place
	launch runtimes.Launch
	share  pool.Share
}

func (p *place) script(t testing.TB, r runtimes.Runtime, source string) *script {
	t.Helper()
	h, err := r.Detect(t.Context(), p.lib)
	if err != nil {
		t.Skip(err)
	}
	s := &script{place: p, share: pool.Share{Script: "main/f/x", Owner: "u/ann", Version: 1, Since: 1}}
	s.launch, err = r.Launch(h, runtimes.Program{Workspace: "main", Path: "f/x", Source: source, Network: sandbox.NetworkNone}, runtimes.Artifact{})
	if err != nil {
		t.Fatal(err)
	}
	s.launch.Template.Tenant = "main"
	return s
}

// answer is what came of a run: its result, or its failure's name after "!", then its output.
type answer struct{ result, output, stream string }

func (s *script) run(ctx context.Context, t *testing.T, args string, env map[string]string) answer {
	t.Helper()
	var a answer
	res, ok, err := s.RunDedicated(ctx, s.launch, s.share, pool.Task{
		Program: runtimes.Program{Path: "f/x"}, Call: runtimes.Call{Args: []byte(args), Env: runtimes.EnvOf(env)},
		OnOutput: func(b []byte) { a.output += string(b) }, OnStream: func(b []byte) { a.stream += string(b) },
	})
	switch {
	case err != nil || !ok:
		t.Errorf("%s: %v, %v", args, ok, err)
	case res.Failure != nil:
		a.result = "!" + res.Failure.Name
	default:
		a.result = string(res.Value)
	}
	return a
}

// languages are those whose scripts can be dedicated; each has the same script in its own words: what it does is its argument.
var languages = []struct {
	key    string // of the argument that says what to do
	new    func() runtimes.Runtime
	source string
}{
	{"do", func() runtimes.Runtime { return python.New() }, `
import os, sys, signal, threading, atexit, subprocess, tempfile, time
count = 0
kept = []
def main(do: str, n: int = 0):
    global count
    count += 1
    if do == "count": return count
    if do == "exit": os._exit(3)
    if do == "quit": sys.exit(3)
    if do == "raise": raise ValueError("no")
    if do == "print":
        print("out", n)
        os.write(2, b"err %d\n" % n)
        subprocess.run(["/bin/echo", "sub", str(n)])
        return n
    if do == "env": return [os.environ.get("A"), os.environ.get("B"), subprocess.run(["/bin/sh", "-c", "echo $A$B$C"], capture_output=True, text=True).stdout.strip()]
    if do == "where": return [os.getcwd() == start, oct(os.umask(0o22)), sys.stdout.closed, signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL, signal.getsignal(signal.SIGALRM) == signal.SIG_DFL]
    if do == "mess":
        os.environ["A"] = "mess"; os.environ["C"] = "mess"; os.environ.pop("B", None)
        os.chdir("/"); os.umask(0o777)
        signal.signal(signal.SIGUSR1, lambda *a: None)
        signal.signal(signal.SIGALRM, lambda *a: os._exit(9)); signal.setitimer(signal.ITIMER_REAL, 0.05)
        kept.append(open("/dev/null")); kept.append(threading.Thread(target=time.sleep, args=(0.5,))); kept[-1].start()
        atexit.register(lambda: None)
        sys.stdout.close(); sys.stderr = None; os.close(1); os.dup2(os.open("/dev/null", os.O_WRONLY), 2)
        return "messed"
    if do == "wait": time.sleep(0.2); return "waited"
    if do == "fork":
        if os.fork() == 0: return "child"
        os.wait()
        return "parent"
    if do == "stream": return (str(i) for i in range(n))
    if do == "hang": time.sleep(1000)
    if do == "memory": kept.append(bytearray(1 << 30)); return "?"
start = os.getcwd()
`},
	{"act", func() runtimes.Runtime { return bun.New() }, `
import { execSync } from "node:child_process";
import { writeSync } from "node:fs";
let count = 0;
const kept: any[] = [];
const start = process.cwd();
export async function main(act: string, n: number = 0): Promise<any> {
  count++;
  switch (act) {
    case "count": return count;
    case "exit": process.kill(process.pid, "SIGKILL"); process.reallyExit(3);
    case "quit": process.exit(3);
    case "raise": throw new RangeError("no");
    case "later": setTimeout(() => { throw new RangeError("later"); }, 1); await Bun.sleep(50); return "?";
    case "print":
      console.log("out", n);
      writeSync(2, "err " + n + "\n");
      execSync("/bin/echo sub " + n, { stdio: "inherit" });
      return n;
    case "env": return [process.env.A ?? null, process.env.B ?? null, execSync("echo $A$B$C").toString().trim()];
    case "where": return [process.cwd() === start, "0o" + process.umask(0o22).toString(8), false, process.listenerCount("SIGUSR1") === 0, true];
    case "mess":
      process.env.A = "mess"; process.env.C = "mess"; delete process.env.B;
      process.chdir("/"); process.umask(0o777);
      process.on("SIGUSR1", () => {});
      kept.push(setInterval(() => {}, 10));
      return "messed";
    case "wait": await Bun.sleep(200); return "waited";
    case "stream": return (async function* () { for (let i = 0; i < n; i++) yield String(i); })();
    case "hang": await new Promise((r) => kept.push(setTimeout(r, 1e6))); return 1;
    case "dead": await new Promise(() => {}); return 1;
  }
}
`},
}

func each(t *testing.T, f func(*testing.T, *script, func(do string, n int) string)) {
	for _, l := range languages {
		t.Run(l.new().Info().Name, func(t *testing.T) {
			t.Parallel()
			s := open(t, pool.Dedicated{Max: 4}).script(t, l.new(), l.source)
			f(t, s, func(do string, n int) string { return fmt.Sprintf(`{%q: %q, "n": %d}`, l.key, do, n) })
		})
	}
}

func TestDedicatedLanguages(t *testing.T) {
	each(t, func(t *testing.T, s *script, call func(string, int) string) {
		ctx := t.Context()
		want := func(do string, n int, env map[string]string, want answer) {
			t.Helper()
			if got := s.run(ctx, t, call(do, n), env); got != want {
				t.Errorf("%s: got %+v, want %+v", do, got, want)
			}
		}
		want("count", 0, nil, answer{result: "1"})
		want("count", 0, nil, answer{result: "2"})
		for i := range 5 {
			want("print", i, nil, answer{result: fmt.Sprint(i), output: fmt.Sprintf("out %d\nerr %d\nsub %d\n", i, i, i)})
		}
		want("stream", 3, nil, answer{result: `"012"`, stream: "012"})
		env := map[string]string{"A": "a", "B": "b", "PATH": "/usr/bin:/bin"}
		want("env", 0, env, answer{result: `["a","b","ab"]`})
		want("mess", 0, env, answer{result: `"messed"`})
		want("where", 0, env, answer{result: `[true,"0o22",false,true,true]`})
		want("wait", 0, env, answer{result: `"waited"`}) // longer than the timer that was left
		want("env", 0, env, answer{result: `["a","b","ab"]`})
		want("print", 7, env, answer{result: "7", output: "out 7\nerr 7\nsub 7\n"})
		want("env", 0, map[string]string{"A": "z", "PATH": "/usr/bin:/bin"}, answer{result: `["z",null,"z"]`})
		got := s.run(ctx, t, call("raise", 0), nil).result
		if got != "!ValueError" && got != "!RangeError" {
			t.Errorf("raise: %s", got)
		}
		if got := s.run(ctx, t, call("count", 0), nil).result; got != "17" {
			t.Errorf("an error of one run has cost the process: %s runs", got)
		}
	})
}

// A run that takes the process with it fails, those behind it do not, and the next process is fresh.
func TestDedicatedLanguagesCrash(t *testing.T) {
	each(t, func(t *testing.T, s *script, call func(string, int) string) {
		var wg sync.WaitGroup
		for i := range 60 {
			do, want := "wait", `"waited"`
			if i > 2 {
				do, want = "print", fmt.Sprint(i)
			}
			if i%20 == 10 {
				do, want = "exit", "!ExecutionError"
			}
			wg.Go(func() {
				got := s.run(t.Context(), t, call(do, i), nil)
				if got.result != want {
					t.Errorf("%s: got %s, want %s", do, got.result, want)
				}
				if out := fmt.Sprintf("out %d\nerr %d\nsub %d\n", i, i, i); do == "print" && got.output != out {
					t.Errorf("got output %q, want %q", got.output, out)
				}
			})
		}
		wg.Wait()
		if got := s.run(t.Context(), t, call("count", 0), nil).result; strings.HasPrefix(got, "!") {
			t.Errorf("got %s", got)
		}
	})
}

func TestDedicatedLanguagesCancel(t *testing.T) {
	each(t, func(t *testing.T, s *script, call func(string, int) string) {
		if got := s.run(t.Context(), t, call("count", 0), nil).result; got != "1" {
			t.Fatalf("got %s", got)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if got := s.run(ctx, t, call("hang", 0), nil).result; got != "!Canceled" {
				t.Errorf("got %s", got)
			}
		})
		for range 5 {
			wg.Go(func() { s.run(t.Context(), t, call("wait", 0), nil) })
		}
		cancel()
		wg.Wait()
	})
}

func TestDedicatedPythonOnly(t *testing.T) {
	s := open(t, pool.Dedicated{Max: 4}).script(t, python.New(), languages[0].source)
	for _, c := range []struct{ do, want string }{
		{"count", "1"}, {"fork", `"parent"`}, {"quit", "!SystemExit"}, {"count", "4"},
	} {
		if got := s.run(t.Context(), t, fmt.Sprintf(`{"do": %q}`, c.do), nil).result; got != c.want {
			t.Errorf("%s: got %s, want %s", c.do, got, c.want)
		}
	}
	if !s.walls {
		return
	}
	if got := s.run(t.Context(), t, `{"do": "memory"}`, nil).result; got != "!OutOfMemory" && got != "!MemoryError" {
		t.Errorf("memory: got %s", got)
	}
	// A script that cannot be loaded fails each run, and each in a fresh process.
	bad := s.script(t, python.New(), "import os\nprint('loading')\nraise OSError('no')\ndef main(): pass\n")
	bad.share.Script = "main/f/bad"
	for range 3 {
		if got := bad.run(t.Context(), t, `{}`, nil); got.result != "!OSError" || got.output != "loading\n" {
			t.Errorf("got %+v", got)
		}
	}
}

func TestDedicatedBunOnly(t *testing.T) {
	s := open(t, pool.Dedicated{Max: 4}).script(t, bun.New(), languages[1].source)
	for _, c := range []struct{ do, want string }{
		{"count", "1"}, {"dead", "!DeadlockError"}, {"count", "1"}, {"quit", "!ExitError"}, {"count", "1"}, {"later", "!RangeError"}, {"count", "1"},
	} {
		if got := s.run(t.Context(), t, fmt.Sprintf(`{"act": %q}`, c.do), nil).result; got != c.want {
			t.Errorf("%s: got %s, want %s", c.do, got, c.want)
		}
	}
}

// BenchmarkDedicated is 64 callers of one process: what a dedicated script can do before queue and HTTP.
func BenchmarkDedicated(b *testing.B) {
	for _, l := range languages {
		b.Run(l.new().Info().Name, func(b *testing.B) {
			s := open(b, pool.Dedicated{Max: 1}).script(b, l.new(), l.source)
			env := runtimes.Env{{Name: "WM_JOB_ID"}, {Name: "PATH", Value: "/usr/bin:/bin"}}
			for i := range 25 {
				env = append(env, runtimes.Variable{Name: fmt.Sprintf("WM_VARIABLE_%d", i), Value: "a value of some length"})
			}
			b.ReportAllocs()
			b.SetParallelism(64 / runtime.GOMAXPROCS(0))
			b.RunParallel(func(pb *testing.PB) {
				for n := 0; pb.Next(); n++ {
					own := slices.Clone(env)
					own[0].Value = fmt.Sprint(n)
					task := pool.Task{Call: runtimes.Call{Args: fmt.Appendf(nil, `{%q: "count"}`, l.key), Env: own}}
					if res, ok, err := s.RunDedicated(b.Context(), s.launch, s.share, task); err != nil || !ok || res.Failure != nil {
						b.Errorf("%+v, %v, %v", res.Failure, ok, err)
						return
					}
				}
			})
		})
	}
}

// TestCompiledOnce: the second run of a script says what it compiled, and the others run that. The compiler's warning tells.
func TestCompiledOnce(t *testing.T) {
	s := open(t, pool.Dedicated{}).script(t, python.New(), `
def main(n: int):
    if n == 3: raise ValueError(n)
    return [n, n is 5]
`)
	var outputs []string
	for n := range 5 {
		var output string
		res, err := s.RunHot(t.Context(), s.launch, pool.Program{Key: "x"}, pool.Task{
			Program: runtimes.Program{Path: "f/x"}, Call: runtimes.Call{Args: fmt.Appendf(nil, `{"n": %d}`, n)},
			OnOutput: func(b []byte) { output += string(b) },
		})
		switch {
		case err != nil:
			t.Fatal(err)
		case n == 3:
			if res.Failure == nil || res.Failure.Name != "ValueError" || !strings.Contains(res.Failure.Stack, "f/x.py\", line 3") {
				t.Errorf("%+v", res.Failure)
			}
		case string(res.Value) != fmt.Sprintf("[%d,false]", n):
			t.Errorf("run %d: %s, %v", n, res.Value, res.Failure)
		}
		outputs = append(outputs, output)
	}
	for n, output := range outputs {
		if warned := strings.Contains(output, "SyntaxWarning"); warned != (n < 2) {
			t.Errorf("run %d: %q", n, output)
		}
	}
}

// TestForgedCompiled: what a script itself says that it was compiled to is nobody's code.
func TestForgedCompiled(t *testing.T) {
	s := open(t, pool.Dedicated{}).script(t, python.New(), `
import importlib.util, marshal, os, struct
forged = importlib.util.MAGIC_NUMBER + marshal.dumps(compile("def main(): return 'forged'", "f/x.py", "exec"))
os.write(3, struct.pack("<BI", ord("B"), len(forged)) + forged)
def main(): return "own"
`)
	for n := range 5 {
		res, err := s.RunHot(t.Context(), s.launch, pool.Program{Key: "x"}, pool.Task{Program: runtimes.Program{Path: "f/x"}})
		if err != nil || string(res.Value) != `"own"` {
			t.Errorf("run %d: %s, %v, %v", n, res.Value, res.Failure, err)
		}
	}
}
