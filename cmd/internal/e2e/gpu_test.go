package e2e

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/sandbox/gpu/gputest"
	"github.com/millrace/millrace/web/client"
	"github.com/millrace/millrace/web/wire"
)

const (
	holds = "import glob, os, time\ndef main(hold: bool):\n" +
		"    print('sees', *sorted(glob.glob('/dev/nvidia*')), os.environ.get('CUDA_VISIBLE_DEVICES'), flush=True)\n" +
		"    while hold:\n        time.sleep(1)\n"
	looks = `hold="$1"` + "\n" + `echo sees /dev/nvidia* "$CUDA_VISIBLE_DEVICES"` + "\n" +
		`for f in {/usr,/millrace/nvidia}/{lib/x86_64-linux-gnu,lib}/libcuda.so.1; do [ -e "$f" ] && echo "library $f"; done` + "\n" +
		`type nvidia-smi >/dev/null 2>&1 || [ -x /millrace/nvidia/bin/nvidia-smi ] && echo smi` + "\n" +
		`{ echo x >"$(ls /dev/nvidia[0-9]*)"; } && echo opened`
	first  = "sees /dev/nvidia-uvm /dev/nvidia3 /dev/nvidiactl " + gputest.FirstUUID + "\n"
	second = "sees /dev/nvidia-uvm /dev/nvidia5 /dev/nvidiactl " + gputest.SecondUUID + "\n"
)

// TestGPUs gives two false devices to jobs: each to one at a time, and who finds none free waits.
func TestGPUs(t *testing.T) {
	tree := gputest.Pair(t)
	d := start(t, folder(t), "--slots", "4", "--gpu-root", tree.Root)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	script := func(path, language, source, n string) string {
		return d.deploy(wire.NewScript{Path: path, Language: language, Content: source, More: map[string]json.RawMessage{"gpu": json.RawMessage(n)}})
	}
	holder, looker := script("f/gpu/hold", "python3", holds, "1"), script("f/gpu/look", "bash", looks, "1")

	a := d.push(ctx, holder)
	seesA := d.begun(ctx, a)
	b := d.push(ctx, holder)
	seesB := d.begun(ctx, b)
	if seesA == seesB || seesA != first && seesA != second || seesB != first && seesB != second {
		t.Fatalf("two jobs see %q and %q", seesA, seesB)
	}
	c := d.push(ctx, looker)
	why, err := d.Why(ctx, c)
	if err != nil || !strings.Contains(strings.Join(why.Reasons, " "), "0 of 2 are free") {
		t.Errorf("why the third one waits: %+v, %v", why, err)
	}
	d.has(ctx, map[string]uuid.UUID{device(seesA): a, device(seesB): b})
	if j := d.preview("bash", "ls -d /dev/nvidia* 2>/dev/null | wc -l", "{}"); result(j) != `"0"` {
		t.Errorf("a job that needs none sees %s devices, and is not to wait for them: %s", result(j), j.Logs)
	}

	// What one gives back, the third one gets, with what belongs to it.
	if err := d.Client.Cancel(ctx, a, "over"); err != nil {
		t.Fatal(err)
	}
	j := d.wait(ctx, c)
	if result(j) != `"opened"` || !strings.HasPrefix(j.Logs, seesA) || !strings.Contains(j.Logs, "library ") || !strings.Contains(j.Logs, "smi\n") {
		t.Errorf("the third one: %s\n%s", result(j), j.Logs)
	}
	d.has(ctx, map[string]uuid.UUID{device(seesA): uuid.Nil, device(seesB): b})
	if err := d.Client.Cancel(ctx, b, "over"); err != nil {
		t.Fatal(err)
	}
	d.wait(ctx, b)

	// Two at once, and more than there are.
	if j := d.finish(client.Run{Hash: script("f/gpu/two", "python3", holds, "2"), Args: json.RawMessage(`{"hold": false}`)}); j.Success == nil || !*j.Success ||
		!strings.Contains(j.Logs, "/dev/nvidia3 /dev/nvidia5 ") || !strings.Contains(j.Logs, gputest.FirstUUID+","+gputest.SecondUUID) {
		t.Errorf("a job with both: %s\n%s", result(j), j.Logs)
	}
	_, err = d.CreateScript(ctx, wire.NewScript{Path: "f/gpu/three", Language: "python3", Content: holds, More: map[string]json.RawMessage{"gpu": json.RawMessage("3")}}, false)
	if err == nil {
		_, err = d.Run(ctx, client.Run{Path: "f/gpu/three", Args: json.RawMessage(`{"hold": false}`)})
	}
	if err == nil || !strings.Contains(err.Error(), "GPU") {
		t.Errorf("three devices of two: %v", err)
	}
}

func (d *daemon) push(ctx context.Context, hash string) uuid.UUID {
	d.t.Helper()
	id, err := d.Run(ctx, client.Run{Hash: hash, Args: json.RawMessage(`{"hold": true}`)})
	if err != nil {
		d.t.Fatal(err)
	}
	return id
}

// begun waits for the first line of a job's log.
func (d *daemon) begun(ctx context.Context, id uuid.UUID) (line string) {
	d.t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var text string
	_, err := d.Follow(ctx, id, func(u wire.Update) error {
		if text += u.NewLogs; strings.Contains(text, "\n") {
			cancel()
		}
		return nil
	})
	if !strings.Contains(text, "\n") {
		d.t.Fatalf("%s says %q: %v", id, text, err)
	}
	return text[:strings.IndexByte(text, '\n')+1]
}

func device(sees string) string {
	if sees == first {
		return gputest.First
	}
	return gputest.Second
}

// has says which job has which device.
func (d *daemon) has(ctx context.Context, want map[string]uuid.UUID) {
	d.t.Helper()
	list, err := d.Workers(ctx)
	if err != nil || len(list) != 1 || len(list[0].GPUs) != len(want) {
		d.t.Fatalf("workers: %+v, %v", list, err)
	}
	for _, g := range list[0].GPUs {
		job := uuid.Nil.String()
		if g.Job != "" {
			job = g.Job
		}
		if job != want[g.ID].String() || g.Problem != "" {
			d.t.Errorf("%s: job %q, problem %q, want %s", g.ID, g.Job, g.Problem, want[g.ID])
		}
	}
}
