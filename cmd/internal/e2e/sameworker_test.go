package e2e

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

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
], "failure_module": {"id": "failure", "value": {"type": "rawscript", "language": "python3",
    "input_transforms": {"e": {"type": "javascript", "expr": "error.name + ': ' + error.message"}},
    "content": "import os\ndef main(e: str):\n    return ['handled ' + e, os.path.exists('shared')]"}}}`

// TestSameWorker: the steps of a flow with same_worker share ./shared and nothing else; the folder is gone after the flow, and after a
// crash, which the flow says, and tells its handler.
func TestSameWorker(t *testing.T) {
	d := start(t, folder(t))
	ask := func(wait string) client.Run {
		return client.Run{Flow: &client.FlowPreview{Value: json.RawMessage(sharingFlow)}, Args: json.RawMessage(`{"wait": ` + wait + `}`)}
	}
	for range 2 { // the second one finds nothing of the first
		done := d.finish(ask("0"))
		if got := result(done); strings.Join(strings.Fields(got), "") != `["ab",["1","2","a","d"],["x"],false]` {
			t.Fatalf("%s", got)
		}
		shares(t, done.ID, false)
	}
	id, err := d.Run(t.Context(), ask("3"))
	if err != nil {
		t.Fatal(err)
	}
	shares(t, id, true)
	for sleeps := false; !sleeps; {
		j, err := d.Job(t.Context(), id, false)
		if err != nil {
			t.Fatal(err)
		}
		sleeps = j.FlowStatus != nil && j.FlowStatus.Step >= 4
	}
	d.stop(syscall.SIGKILL)
	again := start(t, d.data)
	if got := result(again.wait(t.Context(), id)); !strings.Contains(got, "handled SharedFolderLost: ") || !strings.Contains(got, ",false]") {
		t.Errorf("after a crash: %s", got)
	}
	shares(t, id, false)
}

// shares waits until the helper has the folder of a flow, or has it no more.
func shares(t *testing.T, flow uuid.UUID, want bool) {
	t.Helper()
	limit := time.After(20 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		b, err := os.ReadFile("/proc/self/mounts")
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(b), "/shared/"+hex.EncodeToString(flow[:])+" tmpfs ") == want {
			return
		}
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("the folder of %s: not %v", flow, want)
		}
	}
}

// TestSquash: the iterations of a squashed loop share a process, those of another run of it have one of their own.
func TestSquash(t *testing.T) {
	d := start(t, folder(t))
	loop := func(more string) client.Run {
		value := `{"modules": [{"id": "l", "value": {"type": "forloopflow", "iterator": {"type": "static", "value": [1, 2, 3]}, ` + more + `"modules": [
			{"id": "c", "value": {"type": "rawscript", "language": "python3", "input_transforms": {}, "content": "n = 0\ndef main():\n    global n\n    n += 1\n    return n"}}]}}]}`
		return client.Run{Flow: &client.FlowPreview{Value: json.RawMessage(value)}}
	}
	for more, want := range map[string]string{"": "[1,1,1]", `"squash": true, `: "[1,2,3]", `"squash": true, "parallel": true, `: "[1,1,1]"} {
		for range 2 {
			if got := result(d.finish(loop(more))); strings.Join(strings.Fields(got), "") != want {
				t.Errorf("%s: %s, wanted %s", more, got, want)
			}
		}
	}
}
