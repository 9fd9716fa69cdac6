package python

import (
	"errors"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/millrace/millrace/runtimes"
	"github.com/millrace/millrace/sandbox"
)

func TestPreload(t *testing.T) {
	l := runtimes.Launch{Template: sandbox.Template{Zygote: []string{"/usr/bin/python3", "zygote.py"}}}
	got, ok := New().Preload(l, []string{"pandas", "a.b_c"})
	if !ok || !slices.Equal(got.Template.Zygote, []string{"/usr/bin/python3", "zygote.py", "--preload", "pandas,a.b_c"}) || len(l.Template.Zygote) != 2 {
		t.Errorf("got %v, %v, from %v", got.Template.Zygote, ok, l.Template.Zygote)
	}
	for _, modules := range [][]string{nil, {"a,b"}, {"--once"}, {"a b"}, {".a"}, {"é"}, {strings.Repeat("a", maxPreloadText+1)}, make([]string, maxPreload+1)} {
		if got, ok := New().Preload(l, modules); ok {
			t.Errorf("%.60q: %v", modules, got.Template.Zygote)
		}
	}
	if _, ok := New().Preload(runtimes.Launch{}, []string{"pandas"}); ok {
		t.Error("there is no zygote to import anything")
	}
}

// run runs Python code that sees the wrapper's modules and a module "good", and others that are not fit to be imported ahead.
func run(t *testing.T, code string, args ...string) string {
	t.Helper()
	tool, err := exec.LookPath("python3")
	if err != nil {
		t.Skip(err)
	}
	lib, err := filepath.Abs("lib/python")
	if err != nil {
		t.Fatal(err)
	}
	folder, err := filepath.Abs("testdata/preload")
	if err != nil {
		t.Fatal(err)
	}
	args = append([]string{"-I", "-S", "-B", "-c", "import sys; sys.path[:0] = sys.argv[1:3]\n" + code, lib, folder}, args...)
	out, err := exec.Command(tool, args...).Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			out = append(out, exit.Stderr...)
		}
		t.Fatalf("%v\n%s", err, out)
	}
	return strings.TrimSpace(string(out))
}

// What a script could notice is not imported ahead, and each time the rest is.
func TestPreloadLeavesOut(t *testing.T) {
	for _, name := range []string{"absent", "broken", "chatty", "threads", "socket_opener", "token_reader", "environ_reader", "environ_changer", "signal_setter", "mover", "forker", "crasher"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := run(t, "import millrace_preload as p\nprint(p.preload(['good', '"+name+"', 'good.part']), '"+name+"' in sys.modules, 'good.part' in sys.modules)")
			if got != "['good', 'good.part'] False True" {
				t.Errorf("imported %s", got)
			}
		})
	}
}

// A run tells of what the script itself imports, wherever it does so, and of nothing that those modules import in turn.
func TestLearn(t *testing.T) {
	const script = `"import good.part\nimport json\ntry:\n    import absent\nexcept ImportError: pass\ndef main():\n    from other import thing\n    return 1\n"`
	code := `
import json, millrace_job as job, millrace_learn
def learn(source):
    watch = millrace_learn.Watch(b"WM_X=1\\0")
    job._run({83: source.encode(), 78: b"main", 86: b"WM_X=1\\0", 65: b"{}"}, finish=lambda: None)
    return json.loads(watch.stop())["modules"]
print(learn(` + script + `), learn("import os, third\nos.environ['A'] = 'b'\ndef main(): pass"))
`
	if got := run(t, code); got != "['good', 'good.part', 'other'] []" {
		t.Errorf("learned %s", got)
	}
}

// What runs coroutines and workflows is in no interpreter but in those of scripts that use it often, whether or not they say so.
func TestLearnCoroutines(t *testing.T) {
	for name, source := range map[string]string{
		"coroutine": "async def main():\n    return 1\n",
		"generator": "async def main():\n    yield 'a'\n",
		"says so":   "import asyncio\ndef main():\n    return asyncio.run(asyncio.sleep(0, 1))\n",
		"workflow":  "from wmill import workflow\ndef main():\n    return 1\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := run(t, `
import json, sys, millrace_job as job, millrace_learn
early = [m for m in ("asyncio", "hashlib", "millrace_workflow") if m in sys.modules]
watch = millrace_learn.Watch(b"")
job._send = lambda *_: None
kind, payload = job._run({83: `+strconv.Quote(source)+`.encode(), 78: b"main", 65: b"{}"}, finish=lambda: None)
print(early, kind, json.loads(watch.stop())["modules"], "ssl" in sys.modules)
`)
			if want := "[] R ['asyncio'] " + map[bool]string{true: "True", false: "False"}[name == "says so"]; got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}

// What a library lets be set once in the zygote is left prepared; of one whose threads would not survive a fork each job sets its own.
func TestThreadsAreLeftToWhoNeedsThem(t *testing.T) {
	const code = `
import os, threading, millrace_preload as p
stay = threading.Event()
told = []
p.setters[:] = [%s]
print(p._survives(), len(p.setters), len(os.listdir("/proc/self/task")), len(told))
`
	if len(strings.Split(run(t, "import os\nprint(*os.sched_getaffinity(0))"), " ")) < 2 {
		t.Skip("one core: there are no threads to be had")
	}
	if got := run(t, strings.Replace(code, "%s", "told.append", 1)); got != "True 0 1 1" {
		t.Errorf("of a library without threads: %s", got)
	}
	if got := run(t, strings.Replace(code, "%s", "lambda n: threading.Thread(target=stay.wait, daemon=True).start()", 1)); got != "True 1 1 0" {
		t.Errorf("of a library whose threads stay: %s", got)
	}
}

// An exercise that fails harms nobody, and those of modules that are not there are left out.
func TestPractise(t *testing.T) {
	got := run(t, `
import sys, types, millrace_preload as p
seen = []
sys.modules["numpy"] = types.SimpleNamespace(arange=lambda n: seen.append(n))
p.practise()
print(seen, "pandas" in sys.modules)
`)
	if got != "[1000] False" {
		t.Errorf("practised %s", got)
	}
}
