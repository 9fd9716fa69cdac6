package forker_test

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace/millrace/sandbox"
)

// A zygote as a runtime would write it: boots, then runs the source that it finds on descriptor 3.
const zygoteSource = `
import json, os, random, resource, socket, subprocess, sys, threading, traceback
sys.path.insert(0, "/millrace/lib")
import _millrace_forker
booted = os.getpid()

def run_job():
    with socket.socket(fileno=3) as s:
        source = b""
        while chunk := s.recv(65536):
            source += chunk
        if not source:
            return
        space = {"booted": booted > 1}
        exec(compile(source, "job", "exec"), space)
        s.sendall(json.dumps(space.get("result")).encode())
        return space.get("status")

try:
    _millrace_forker.serve(3, 7)
except TypeError:
    pass
else:
    sys.exit("serve took something that cannot be called")
hooks = "--no-hooks" not in sys.argv
os.register_at_fork(before=lambda: os.environ.update(before="1"), after_in_child=lambda: os.environ.update(child="1"))
_millrace_forker.serve(3, run_job, hooks)
`

func zygote(t testing.TB) sandbox.Template {
	t.Helper()
	if _, err := os.Stat(python); err != nil {
		t.Skip(python + " is needed")
	}
	dir, err := os.MkdirTemp(build(t), "lib-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "zygote.py"), []byte(zygoteSource), 0o644); err != nil {
		t.Fatal(err)
	}
	so := "_millrace_forker.abi3.so"
	if err := os.Link(filepath.Join(build(t), "python", so), filepath.Join(dir, so)); err != nil {
		t.Fatal(err)
	}
	return sandbox.Template{
		Name:      "python",
		Binds:     []sandbox.Bind{{Source: dir, Target: "/millrace/lib"}},
		Zygote:    []string{python, "-I", "-S", "/millrace/lib/zygote.py"},
		ZygoteEnv: []string{"HOME=/work", "TMPDIR=/work", "PYTHONDONTWRITEBYTECODE=1"},
	}
}

type python3 struct {
	t    testing.TB
	slot sandbox.Slot
}

func newPython(t testing.TB, h *harness) *python3 {
	t.Helper()
	return openPython(t, h, zygote(t))
}

func openPython(t testing.TB, h *harness, template sandbox.Template) *python3 {
	t.Helper()
	slot, err := h.Open(context.Background(), template)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { slot.Close() })
	return &python3{t, slot}
}

func (p *python3) run(source string, files ...sandbox.File) (result any, e sandbox.Exit, output string) {
	p.t.Helper()
	j, err := p.slot.Start(context.Background(), sandbox.Spec{Files: files})
	if err != nil {
		p.t.Fatal(err)
	}
	defer j.Close()
	if _, err := j.Conn().Write([]byte(source)); err != nil {
		p.t.Fatal(err)
	}
	_ = j.Conn().(interface{ CloseWrite() error }).CloseWrite()
	reply, _ := io.ReadAll(j.Conn())
	out, _ := io.ReadAll(j.Output())
	if e, err = j.Wait(context.Background()); err != nil {
		p.t.Fatal(err)
	}
	_ = json.Unmarshal(reply, &result)
	return result, e, string(out)
}

func TestZygote(t *testing.T) {
	t.Run("hooks", func(t *testing.T) { testZygote(t, zygote(t), `["1","1"]`) })
	t.Run("no hooks", func(t *testing.T) {
		template := zygote(t)
		template.Zygote = append(template.Zygote, "--no-hooks")
		testZygote(t, template, "[null,null]")
	})
}

func testZygote(t *testing.T, template sandbox.Template, hooked string) {
	needRoot(t)
	p := openPython(t, &harness{t: t}, template)
	for _, c := range []struct {
		name, source, result, output string
		code                         int
	}{
		{"value", "result = 6 * 7; print('hi')", "42", "hi\n", 0},
		{"hooks", "import os; result = [os.environ.get('before'), os.environ.get('child')]", hooked, "", 0},
		{"identity", "import os; result = [booted, os.getpid(), os.getuid(), os.getgid(), os.getgroups(), os.getcwd(), os.umask(0)]",
			`[true,1,1000,1000,[],"/work",18]`, "", 0},
		{"no capabilities", "result = [l.split()[1] for l in open('/proc/self/status') if l[:6] in ('CapEff','CapBnd','NoNewP','Seccom') and '_' not in l]",
			`["0000000000000000","0000000000000000","1","2"]`, "", 0},
		{"descriptors", "import os; result = sorted(os.listdir('/proc/self/fd'))[:4] + [len(os.listdir('/proc/self/fd'))]",
			`["0","1","2","3",5]`, "", 0},
		{"file given", "result = open('in.txt').read()", `"given"`, "", 0},
		{"temporary file", "import tempfile; f = tempfile.NamedTemporaryFile(); result = [f.name[:6], open('/tmp/x', 'w').write('abc')]",
			`["/work/",3]`, "", 0},
		{"subprocess", "import subprocess; result = subprocess.run(['/bin/sh','-c','echo $$; exit 5'], capture_output=True).returncode", "5", "", 0},
		{"sigpipe of a child", "import subprocess; result = subprocess.run(['/bin/bash','-c','yes | head -1; echo ${PIPESTATUS[0]}'], capture_output=True, text=True, restore_signals=True).stdout",
			`"y\n141\n"`, "", 0},
		{"thread", "import threading; r=[]; t = threading.Thread(target=lambda: r.append(threading.get_native_id() != 1)); t.start(); t.join(); result = r + [threading.get_native_id()]",
			"[true,1]", "", 0},
		{"multiprocessing", "import multiprocessing.synchronize as s, multiprocessing as m; l = m.Lock(); result = l.acquire()", "true", "", 0},
		{"status", "status = 9", "null", "", 9},
		{"sys.exit", "import sys; print('bye'); sys.exit(3)", "", "bye\n", 3},
		{"mount", "import ctypes; l = ctypes.CDLL(None, use_errno=True); result = [l.mount(b't', b'/work', b'tmpfs', 0, 0), ctypes.get_errno()]", "[-1,1]", "", 0},
	} {
		result, e, out := p.run(c.source, sandbox.File{Name: "in.txt", Data: []byte("given")})
		got, _ := json.Marshal(result)
		if c.result == "" {
			c.result = "null"
		}
		if string(got) != c.result || e.Code != c.code || e.Error != "" || out != c.output {
			t.Errorf("%s: result %s %+v output %q, want %s code %d output %q", c.name, got, e, out, c.result, c.code, c.output)
		}
	}
}

func TestZygoteErrors(t *testing.T) {
	needRoot(t)
	p := newPython(t, &harness{t: t})
	_, e, out := p.run("1 / 0")
	if e.Code != 1 || !strings.Contains(out, "ZeroDivisionError") {
		t.Errorf("%+v %q", e, out)
	}
	if _, e, _ = p.run("import os; os.abort()"); e.Code < 128 || e.Signal == 0 {
		t.Errorf("abort: %+v", e)
	}
	if _, e, _ = p.run("import ctypes; ctypes.string_at(0)"); e.Signal != 11 {
		t.Errorf("segmentation fault: %+v", e)
	}
	if result, e, _ := p.run("result = 'alive'"); result != "alive" || e.Code != 0 {
		t.Errorf("after crashes: %v %+v", result, e)
	}
}

// What fork-ahead and at-fork hooks promise: two jobs of one zygote do not draw the same random numbers.
func TestZygoteRandomness(t *testing.T) {
	needRoot(t)
	p := newPython(t, &harness{t: t})
	const source = "import random, tempfile; result = str(random.random()) + tempfile.mktemp()"
	a, _, _ := p.run(source)
	b, _, _ := p.run(source)
	if a == b || a == nil {
		t.Errorf("both jobs drew %v", a)
	}
}

// A zygote's slot can also execute a program.
func TestZygoteExec(t *testing.T) {
	needRoot(t)
	p := newPython(t, &harness{t: t})
	j, err := p.slot.Start(context.Background(), sandbox.Spec{
		Argv: []string{"/bin/bash", "-c", "echo $A; yes | head -1; echo ${PIPESTATUS[0]} > r"}, Env: []string{"A=a", "PATH=/usr/bin"},
		Init: true, Collect: "r",
	})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	out, _ := io.ReadAll(j.Output())
	e, err := j.Wait(context.Background())
	collected, _ := j.Collected()
	if err != nil || e != (sandbox.Exit{Usage: e.Usage}) || string(out) != "a\ny\n" || string(collected) != "141\n" {
		t.Errorf("%+v %v output %q collected %q", e, err, out, collected)
	}
}

func TestZygoteRootless(t *testing.T) {
	p := newPython(t, &harness{t: t, rootless: true})
	result, e, out := p.run("import os; result = [os.getpid(), os.getuid()] + [l.split()[1] for l in open('/proc/self/status') if l[:6] in ('CapEff', 'CapPrm', 'CapBnd')]")
	got, _ := json.Marshal(result)
	if none := `"0000000000000000"`; string(got) != "[1,0,"+none+","+none+","+none+"]" || e.Code != 0 {
		t.Errorf("%s %+v %q", got, e, out)
	}
}
