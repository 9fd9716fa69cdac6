package e2e

import (
	"encoding/json"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/millrace/millrace/web/client"
)

// sharingFlow has steps in three languages, two of them at once, that leave files for each other, with whatever mode.
const sharingFlow = `{"same_worker": true, "modules": [
  {"id": "a", "value": {"type": "rawscript", "language": "python3", "input_transforms": {},
    "content": "import os, tempfile\ndef main():\n    fd, p = tempfile.mkstemp(dir='shared')\n    os.write(fd, b'a')\n    os.rename(p, 'shared/a')\n    os.mkdir('shared/d', 0o700)"}},
  {"id": "b", "value": {"type": "rawscript", "language": "bash", "input_transforms": {}, "content": "echo -n b >> shared/a; echo x > shared/d/x; echo mine > alone"}},
  {"id": "l", "value": {"type": "forloopflow", "parallel": true, "iterator": {"type": "static", "value": [1, 2]}, "modules": [
    {"id": "c", "value": {"type": "rawscript", "language": "bun", "input_transforms": {"i": {"type": "javascript", "expr": "flow_input.iter.value"}},
      "content": "import fs from 'fs'; export function main(i: number) { fs.writeFileSync('shared/' + i, String(i)) }"}}]}},
  {"id": "w", "sleep": {"type": "javascript", "expr": "flow_input.wait"}, "value": {"type": "identity"}},
  {"id": "z", "value": {"type": "rawscript", "language": "python3", "input_transforms": {},
    "content": "import os\ndef main():\n    return [open('shared/a').read(), sorted(os.listdir('shared')), os.listdir('shared/d'), os.path.exists('alone')]"}}
]}`

// TestSameWorker: the steps of a flow with same_worker share ./shared and nothing else; the folder is gone after the flow, and after a
// crash, which the flow says.
func TestSameWorker(t *testing.T) {
	d := start(t, folder(t))
	ask := func(d *daemon, wait string) client.Run {
		return client.Run{Flow: &client.FlowPreview{Value: json.RawMessage(sharingFlow)}, Args: json.RawMessage(`{"wait": ` + wait + `}`)}
	}
	for range 2 { // the second one finds nothing of the first
		if got := result(d.finish(ask(d, "0"))); strings.Join(strings.Fields(got), "") != `["ab",["1","2","a","d"],["x"],false]` {
			t.Fatalf("%s", got)
		}
	}
	shares(t, d, 0)
	id, err := d.Run(t.Context(), ask(d, "3"))
	if err != nil {
		t.Fatal(err)
	}
	shares(t, d, 1)
	for sleeps := false; !sleeps; {
		j, err := d.Job(t.Context(), id, false)
		if err != nil {
			t.Fatal(err)
		}
		sleeps = j.FlowStatus != nil && j.FlowStatus.Step >= 4
	}
	d.stop(syscall.SIGKILL)
	again := start(t, d.data)
	if got := result(again.wait(t.Context(), id)); !strings.Contains(got, "SharedFolderLost") {
		t.Errorf("after a crash: %s", got)
	}
	shares(t, again, 0)
}

// shares waits until the slots of the daemon's helper have n folders in common.
func shares(t *testing.T, d *daemon, n int) {
	t.Helper()
	limit := time.After(20 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		b, err := os.ReadFile("/proc/self/mounts")
		if err != nil {
			t.Fatal(err)
		}
		got := 0
		for line := range strings.Lines(string(b)) {
			if strings.HasPrefix(line, "tmpfs ") && strings.Contains(line, d.data) && strings.Contains(line, "/shared/") {
				got++
			}
		}
		if got == n {
			return
		}
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("%d folders, wanted %d", got, n)
		}
	}
}
