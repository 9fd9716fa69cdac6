package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/millrace/millrace/sandbox/timerslack"
	"github.com/millrace/millrace/web/client"
	"github.com/millrace/millrace/web/wire"
)

// limits are what a script asks for, as its runs see and meet them.
func limits(t *testing.T, d *daemon) {
	script := func(text string) wire.NewScript {
		return wire.NewScript{Path: "f/test/limited", Language: "bash", AutoParent: true, More: map[string]json.RawMessage{"limits": json.RawMessage(text)},
			Content: `what="$1"` + "\n" + `case $what in files) ulimit -Hn ;; work) df --output=size -BM /work | tail -1 ;; output) head -c 1500000 /dev/zero | tr '\0' x ;; esac`}
	}
	hash := d.deploy(script(`{"open_files": 200, "output_mb": 1, "work_mb": 24, "memory_mb": 128, "pids": 40}`))
	run := func(what string) *wire.Job {
		return d.finish(client.Run{Hash: hash, Args: json.RawMessage(`{"what": "` + what + `"}`)})
	}
	if j := run("files"); result(j) != `"200"` {
		t.Errorf("open files: %s", result(j))
	}
	if j := run("work"); !strings.Contains(result(j), "24M") {
		t.Errorf("work folder: %s", result(j))
	}
	if j := run("output"); !strings.Contains(failure(j), "OutputLimit") || !strings.Contains(failure(j), "1 MiB") {
		t.Errorf("output: %s", result(j))
	}
	for name, text := range map[string]string{"open_files": `{"open_files": 1000000}`, "output_mb": `{"output_mb": 100000}`} {
		if _, err := d.CreateScript(t.Context(), script(text), false); err == nil || !strings.Contains(err.Error(), "limits."+name) {
			t.Errorf("more %s than the host gives: %v", name, err)
		}
	}
}

// timers: those of the daemon may be late, those of jobs are as anywhere. A job in each way to be started says what it has.
func timers(t *testing.T, d *daemon) {
	own, err := os.ReadFile(fmt.Sprintf("/proc/%d/timerslack_ns", d.cmd.Process.Pid))
	if err != nil || strings.TrimSpace(string(own)) != fmt.Sprint(timerslack.Wide.Nanoseconds()) {
		t.Errorf("the daemon: %s, %v", own, err)
	}
	const ask = "import ctypes; n = ctypes.CDLL(None).prctl(30, 0, 0, 0, 0)"
	for _, p := range []wire.Preview{
		{Language: "python3", Content: "def main():\n    " + ask + "\n    return n"},
		{Language: "bash", Content: "python3 -c '" + ask + "; print(n)'"},
	} {
		if j := d.finish(client.Run{Preview: &p}); strings.Trim(result(j), `"`) != fmt.Sprint(timerslack.Usual.Nanoseconds()) {
			t.Errorf("a job in %s: %s %s", p.Language, result(j), failure(j))
		}
	}
}
