package cli

import (
	"os"
	"strings"
	"testing"

	"github.com/millrace/millrace/cmd/internal/clitest"
)

func TestScriptPushReadsWhatLiesBeside(t *testing.T) {
	d := clitest.New(t)
	t.Chdir(t.TempDir())
	for name, text := range map[string]string{
		"a.py": "def main(): pass", "b.bun.ts": "export function main() {}", "c.py": "def main(): pass", "d.py": "def main(): pass", "e.sh": "true",
		"a.script.yaml": "summary: from the file\ntag: slow\ntimeout: 7\nlimits:\n  memory_mb: 64\n  cpu: 0.5\npath: f/not/this\ncontent: nor this\n",
		"b.script.yaml": "lock: '!inline f/x/b.script.lock'\nconcurrent_limit: 3\n", "b.script.lock": "locked\n",
		"c.script.yaml": "lock: '!inline f/x/c.script.lock'\n",
		"d.script.json": "[]",
	} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	push := func(line string) (string, int) {
		_, stderr, status := do(t.Context(), strings.Fields("script push "+line), "", map[string]string{"MILLRACE_SOCKET": d.Socket})
		return stderr, status
	}
	for _, line := range []string{"a.py f/a/a --tag fast", "b.bun.ts f/a/b --language bash", "e.sh f/a/e"} {
		if said, status := push(line); status != 0 {
			t.Fatalf("%s: %d %s", line, status, said)
		}
	}
	a, b := d.Scripts["f/a/a"], d.Scripts["f/a/b"]
	if a.Summary != "from the file" || a.Tag != "fast" || a.Timeout != 7 || a.Content != "def main(): pass" || string(a.More["limits"]) != `{"memory_mb":64,"cpu":0.5}` {
		t.Errorf("sent %+v, limits %s", a, a.More["limits"])
	}
	if b.Lock == nil || *b.Lock != "locked\n" || string(b.More["concurrent_limit"]) != "3" {
		t.Errorf("sent %+v", b)
	}
	for line, want := range map[string]string{"c.py f/a/c": "c.script.lock", "d.py f/a/d": "d.script.json holds no object"} {
		if said, status := push(line); status == 0 || !strings.Contains(said, want) {
			t.Errorf("%s: %d %s", line, status, said)
		}
	}
}
