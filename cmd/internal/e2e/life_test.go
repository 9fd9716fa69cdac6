package e2e

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/millrace/millrace/web/client"
	"github.com/millrace/millrace/web/wire"
)

// TestStopAndStartAgain runs jobs, stops with one running, and finds everything again.
func TestStopAndStartAgain(t *testing.T) {
	data := folder(t)
	d := start(t, data, "--drain", "100ms")
	ctx := t.Context()
	done := d.preview("bash", "echo kept", "{}")
	slow, err := d.Run(ctx, client.Run{Preview: &wire.Preview{Language: "bash", Content: "if [ -n \"$1\" ]; then sleep 600; fi; echo second", Path: "u/test/slow"}, Args: json.RawMessage(`{}`)})
	if err != nil {
		t.Fatal(err)
	}
	d.wait(ctx, slow)
	long, err := d.Run(ctx, client.Run{Preview: &wire.Preview{Language: "python3", Content: "import time\ndef main():\n  print('begun', flush=True)\n  time.sleep(1.5)\n  return 'survived'", Path: "u/test/long"}})
	if err != nil {
		t.Fatal(err)
	}
	started, cancel := context.WithCancel(ctx)
	_, _ = d.Follow(started, long, func(u wire.Update) error {
		if strings.Contains(u.NewLogs, "begun") {
			cancel()
		}
		return nil
	})
	d.end()

	again := start(t, data)
	if j, err := again.Job(ctx, done.ID, false); err != nil || result(j) != `"kept"` {
		t.Errorf("a completed job after a restart: %v, %v", j, err)
	}
	if j := again.wait(ctx, long); result(j) != `"survived"` || j.Attempt < 2 {
		t.Errorf("the handed-back job: %s %s, attempt %d", j.Status, result(j), j.Attempt)
	}
	again.end()
}

// TestStopIsNotHeldUpByWaiters stops a daemon that somebody asks for the result of a job that nobody runs: right after its database
// has died, when there may be others that it has not heard of.
func TestStopIsNotHeldUpByWaiters(t *testing.T) {
	data := folder(t)
	d := start(t, data, "--drain", "1h")
	lock, err := os.ReadFile(filepath.Join(data, "postgres", "data", "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(lock), "\n")
	pid, err := strconv.Atoi(first)
	if err != nil {
		t.Fatal(err)
	}
	answer := make(chan error, 1)
	go func() {
		_, err := d.RunWait(context.Background(), client.Run{Preview: &wire.Preview{Language: "bash", Content: "echo", Path: "u/test/nobody", Tag: "nobody"}})
		answer <- err
	}()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for n := 0; n == 0; {
		<-tick.C
		list, err := d.Jobs(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		n = len(list)
	}
	if err := syscall.Kill(pid, syscall.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	for !strings.Contains(d.log.String(), "postgres is back") {
		<-tick.C
	}
	d.end()
	if err := <-answer; err == nil || !strings.Contains(err.Error(), "is kept") {
		t.Errorf("who waited is told: %v", err)
	}
}

// TestKillNine kills the daemon without warning: nothing is left, and its jobs are run again.
func TestKillNine(t *testing.T) {
	data := folder(t)
	d := start(t, data)
	ctx := t.Context()
	id, err := d.Run(ctx, client.Run{Preview: &wire.Preview{Language: "bash", Content: "echo begun; sleep 2; echo over", Path: "u/test/kill"}})
	if err != nil {
		t.Fatal(err)
	}
	watching, cancel := context.WithCancel(ctx)
	_, _ = d.Follow(watching, id, func(u wire.Update) error {
		if strings.Contains(u.NewLogs, "begun") {
			cancel()
		}
		return nil
	})
	_ = d.cmd.Process.Kill()
	<-d.done
	deadline := time.Now().Add(10 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for processes(t, data) > 0 && time.Now().Before(deadline) {
		<-tick.C
	}
	if n := processes(t, data); n > 0 {
		t.Errorf("%d processes outlive a killed daemon", n)
	}
	again := start(t, data)
	if j := again.wait(ctx, id); result(j) != `"over"` {
		t.Errorf("the rescued job: %s %s", j.Status, result(j))
	}
}

// cancel ends queued and running jobs.
func cancel(t *testing.T, d *daemon) {
	ctx := t.Context()
	sleeper := client.Run{Preview: &wire.Preview{Language: "bash", Content: "echo begun; sleep 600", Path: "u/test/sleep"}}
	running, err := d.Run(ctx, sleeper)
	if err != nil {
		t.Fatal(err)
	}
	queued, err := d.Run(ctx, sleeper)
	if err != nil {
		t.Fatal(err)
	}
	why, err := d.Why(ctx, queued)
	if err != nil || len(why.Reasons) == 0 {
		t.Fatalf("why: %+v, %v", why, err)
	}
	if err := d.Client.Cancel(ctx, queued, "not needed"); err != nil {
		t.Fatal(err)
	}
	if err := d.Client.Cancel(ctx, running, "enough"); err != nil {
		t.Fatal(err)
	}
	if j := d.wait(ctx, queued); !j.Canceled || j.CanceledReason != "not needed" {
		t.Errorf("queued: %+v", j)
	}
	if j := d.wait(ctx, running); !j.Canceled || j.CanceledReason != "enough" || !strings.Contains(result(j), "Canceled") {
		t.Errorf("running: %+v", j)
	}
	if j := d.preview("bash", "echo next", "{}"); result(j) != `"next"` {
		t.Errorf("after cancels: %s", result(j))
	}
}

// scriptsAndTokens deploys, lists, runs over TCP with a token, and is refused without one.
func scriptsAndTokens(t *testing.T, d *daemon) {
	ctx := t.Context()
	hash, err := d.CreateScript(ctx, wire.NewScript{Path: "f/demo/add", Language: "bun", Content: "export function main(a: number, b = 2) { console.log('adding'); return a + b }", Summary: "adds"}, false)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := d.CreateToken(ctx, wire.NewToken{Label: "test"})
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := client.New(client.Config{Server: d.url(), Token: secret})
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	for range 3 {
		if r, err := tcp.RunWait(ctx, client.Run{Hash: hash, Args: json.RawMessage(`{"a": 40}`)}); err != nil || string(r) != "42" {
			t.Fatalf("run by hash: %s, %v", r, err)
		}
	}
	jobs, err := tcp.Jobs(ctx, filter("script_path_exact", "f/demo/add", "success", "true", "job_kinds", "script"))
	if err != nil || len(jobs) != 3 {
		t.Errorf("%d jobs listed, %v", len(jobs), err)
	}
	if j, err := tcp.Job(ctx, jobs[0].ID, true); err != nil || j.Logs != "adding\n" {
		t.Errorf("logs %q, %v", j.Logs, err)
	}
	stranger, err := client.New(client.Config{Server: d.url()})
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	if _, err := stranger.Scripts(ctx, nil); !client.IsUnauthorized(err) {
		t.Errorf("without a token: %v", err)
	}
}

// TestIsolationNone runs without walls, and only when asked to.
func TestIsolationNone(t *testing.T) {
	d := start(t, folder(t), "--isolation", "none")
	for language, source := range map[string]string{
		"bash": "echo plain", "python3": "def main(): return 'plain'", "bun": "export const main = () => 'plain'",
	} {
		if j := d.preview(language, source, "{}"); result(j) != `"plain"` {
			t.Errorf("%s: %s %s", language, j.Status, result(j))
		}
	}
	if !strings.Contains(d.log.String(), "isolation") {
		t.Error("the log does not say that there is no isolation")
	}
}
