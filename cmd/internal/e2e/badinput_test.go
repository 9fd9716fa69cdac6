package e2e

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/web/client"
	"github.com/millrace/millrace/web/wire"
)

// badInput sends what people and attackers send. Each ends as a failed job that says why, and the slot is clean for the
// next job: after every case a good job of the same language must succeed.
func badInput(t *testing.T, d *daemon) {
	root := os.Geteuid() == 0
	good := map[string][2]string{
		"python3": {"def main(n: int): return n + 1", "3"},
		"bun":     {"export function main(n: number) { return n + 1 }", "3"},
		"go":      {"package inner\n\nfunc main(n int) (any, error) { return n + 1, nil }", "3"},
		"bash":    {`n="$1"; echo $((n + 1))`, `"3"`},
	}
	for _, c := range []struct {
		name, language, source, args string
		timeout                      time.Duration
		want                         []string // in "Name: message\nstack"
		needsCgroup                  bool
	}{
		{name: "endless loop", language: "python3", source: "def main():\n  while True: pass", timeout: time.Second, want: []string{"Timeout", "1s"}},
		{name: "endless loop", language: "bun", source: "export function main() { while (true) {} }", timeout: time.Second, want: []string{"Timeout"}},
		{name: "endless loop", language: "go", source: "package inner\nfunc main() (any, error) { for {} }", timeout: time.Second, want: []string{"Timeout"}},
		{name: "endless loop", language: "bash", source: "while :; do :; done", timeout: time.Second, want: []string{"Timeout"}},
		{name: "fork bomb", language: "bash", source: ":(){ :|:& };:; sleep 1000", timeout: 3 * time.Second, want: []string{""}, needsCgroup: true},
		{name: "fork bomb", language: "python3", source: "import os\ndef main():\n  while True:\n    os.fork()", timeout: 3 * time.Second, want: []string{""}, needsCgroup: true},
		{name: "memory bomb", language: "python3", source: "def main():\n  x = []\n  while True: x.append(bytearray(50_000_000))", want: []string{"OutOfMemory", "1 GiB"}, needsCgroup: true},
		{name: "memory bomb", language: "bun", source: "export function main() { const x: any[] = []; for (;;) x.push(new Uint8Array(50_000_000).fill(1)) }", want: []string{""}, needsCgroup: true},
		{name: "disk filler", language: "bash", source: "set -e; dd if=/dev/zero of=/work/big bs=1M count=3000 2>&1", want: []string{"No space left"}},
		{name: "disk filler", language: "python3", source: "def main():\n  with open('/work/x', 'wb') as f:\n    while True: f.write(bytes(1 << 20))", want: []string{"OSError", "No space left"}},
		{name: "1 GB of output", language: "bash", source: "yes | head -c 1000000000", want: []string{"OutputLimit", "20 MiB"}},
		{name: "1 GB of output", language: "python3", source: "def main():\n  for i in range(1000): print('x' * 1_000_000)", want: []string{"OutputLimit"}},
		{name: "killed interpreter", language: "python3", source: "import os\ndef main(): os._exit(7)", want: []string{"exit status 7"}},
		{name: "killed interpreter", language: "bash", source: "kill -9 $$", want: []string{"ExecutionError"}},
		{name: "killed interpreter", language: "bun", source: "export function main() { process.kill(process.pid, 'SIGKILL'); for (;;) {} }", timeout: 2 * time.Second, want: []string{""}},
		{name: "syntax error", language: "python3", source: "def main(:\n  return 1", want: []string{"SyntaxError", "1"}},
		{name: "syntax error", language: "bun", source: "export function main() { return ( }", want: []string{"rror"}},
		{name: "syntax error", language: "go", source: "package inner\nfunc main() (any, error) { return 1 nil }", want: []string{"2"}},
		{name: "syntax error", language: "bash", source: "if then", want: []string{"syntax error"}},
		{name: "missing package", language: "python3", source: "import millrace_no_such_package_x1\ndef main(): return 1", want: []string{"millrace"}},
		{name: "missing package", language: "bun", source: "import x from 'millrace-no-such-package-x1'\nexport function main() { return x }", want: []string{"millrace-no-such-package-x1"}},
		{name: "result is not JSON", language: "python3", source: "def main(): return object()", want: []string{"object"}},
		{name: "result is not JSON", language: "bash", source: "echo '{oops' > result.json", want: []string{"InvalidResult"}},
		{name: "NUL in the result", language: "python3", source: "def main(): return 'a\\0b'", want: []string{"u0000"}},
		{name: "writes to descriptor 3", language: "python3", source: "import os\ndef main():\n  os.write(3, b'garbage garbage garbage')\n  return 1", want: []string{""}},
		{name: "raises", language: "python3", source: "def main():\n  x = 1\n  raise ValueError('bad luck')", want: []string{"ValueError", "bad luck", "line 3"}},
		{name: "throws", language: "bun", source: "export function main() {\n  const x = 1\n  throw new TypeError('bad luck')\n}", want: []string{"TypeError", "bad luck", ":3"}},
		{name: "no main", language: "python3", source: "x = 1", want: []string{"main"}},
		{name: "missing argument", language: "python3", source: "def main(n: int): return n", want: []string{"n"}},
	} {
		t.Run(c.language+"/"+c.name, func(t *testing.T) {
			if c.needsCgroup && !root {
				t.Skip("memory and process limits need control groups, which need root")
			}
			d := d.with(t)
			args := c.args
			if args == "" {
				args = "{}"
			}
			j := d.finish(client.Run{
				Preview: &wire.Preview{Content: c.source, Language: c.language, Path: "u/test/bad"}, Args: json.RawMessage(args), Timeout: c.timeout,
			})
			got := failure(j)
			if got == "" {
				t.Fatalf("status %s, result %.300s", j.Status, result(j))
			}
			for _, w := range c.want {
				if !strings.Contains(got, w) {
					t.Errorf("no %q in: %.600s", w, got)
				}
			}
			g := good[c.language]
			if j := d.preview(c.language, g[0], `{"n": 2}`); result(j) != g[1] {
				t.Errorf("the next job: %s %.300s", j.Status, result(j))
			}
		})
	}
}

// daemonisingChild leaves a process behind; it is gone with its job.
func daemonisingChild(t *testing.T, d *daemon) {
	j := d.preview("bash", "setsid nohup sleep 424242 >/dev/null 2>&1 & disown; echo left", "{}")
	if result(j) != `"left"` {
		t.Fatalf("%s %s", j.Status, result(j))
	}
	if n := processes(t, "424242"); n != 0 {
		t.Errorf("%d processes outlive their job", n)
	}
}

// arguments covers what is wrong before a job starts.
func arguments(t *testing.T, d *daemon) {
	ctx := t.Context()
	if _, err := d.Run(ctx, client.Run{Path: "u/test/nothing_here"}); !client.IsNotFound(err) {
		t.Errorf("unknown script: %v", err)
	}
	if _, err := d.CreateScript(ctx, wire.NewScript{Path: "u/test/len", Language: "python3", Content: "def main(s: str, n: int = 1): return len(s) + n"}, false); err != nil {
		t.Fatal(err)
	}
	run := func(args string) *wire.Job {
		return d.finish(client.Run{Path: "u/test/len", Args: json.RawMessage(args)})
	}
	if j := run(`{"s": "abc", "n": "x"}`); !strings.Contains(failure(j), "ArgumentError: n") {
		t.Errorf("wrong type: %s", result(j))
	}
	if j := run(`{}`); !strings.Contains(failure(j), "ArgumentError: s") {
		t.Errorf("missing argument: %s", result(j))
	}
	big := strings.Repeat("x", 10<<20)
	if j := run(`{"s": "` + big + `"}`); result(j) != "10485761" {
		t.Errorf("10 MB of arguments: %s %.200s", j.Status, result(j))
	}
	if j := d.preview("python3", "def main(n: int): return 'y' * n", `{"n": 10485760}`); len(result(j)) != 10<<20+2 {
		t.Errorf("10 MB of result: %s, %d bytes", j.Status, len(result(j)))
	}
	if _, err := d.Run(ctx, client.Run{Path: "u/test/len", Args: json.RawMessage(`{"s": "a\u0000b"}`)}); err == nil || !strings.Contains(err.Error(), "u0000") {
		t.Errorf("NUL in arguments: %v", err)
	}
	if _, err := d.Run(ctx, client.Run{Path: "u/test/len", Args: json.RawMessage(`{"s": `)}); err == nil {
		t.Error("broken JSON was accepted")
	}
	if _, err := d.Run(ctx, client.Run{Preview: &wire.Preview{Content: "x", Language: "cobol"}}); err == nil || !strings.Contains(err.Error(), "python3") {
		t.Errorf("unknown language: %v", err)
	}
	if _, err := d.CreateScript(ctx, wire.NewScript{Path: "nonsense", Language: "bash", Content: "true"}, false); err == nil || !strings.Contains(err.Error(), "u/<user>/<name>") {
		t.Errorf("wrong path: %v", err)
	}
}
