package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/cmd/internal/clitest"
	"github.com/millrace/millrace/web/client"
)

// TestBatchSentAgain: a file is sent again with the same key when the connection breaks, standard input is not.
func TestBatchSentAgain(t *testing.T) {
	d := clitest.New(t)
	d.BreakBatches = 1
	t.Chdir(t.TempDir())
	if err := os.WriteFile("rows.ndjson", []byte("{}\n{}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"MILLRACE_SOCKET": d.Socket}
	stdout, stderr, status := do(t.Context(), []string{"batch", "run", "noop", "rows.ndjson"}, "", env)
	if status != exitOK || !strings.Contains(stderr, "broke off; trying again") {
		t.Errorf("status %d, %s%s", status, stdout, stderr)
	}
	d.Lock()
	if len(d.Keys) != 2 || d.Keys[0] == "" || d.Keys[0] != d.Keys[1] {
		t.Errorf("keys %q", d.Keys)
	}
	d.BreakBatches, d.Keys = 1, nil
	d.Unlock()
	if _, stderr, status := do(t.Context(), []string{"batch", "run", "noop", "-"}, "{}\n", env); status != exitFailed || !strings.Contains(stderr, "broke off") {
		t.Errorf("status %d, %s", status, stderr)
	}
	d.Lock()
	defer d.Unlock()
	if len(d.Keys) != 1 || d.Keys[0] != "" {
		t.Errorf("keys %q", d.Keys)
	}
}

// TestDetach: Ctrl-C while watching leaves the batch alone and says how to go on.
func TestDetach(t *testing.T) {
	d := clitest.New(t)
	d.Run = func(string, json.RawMessage) clitest.Outcome { return clitest.Outcome{Forever: true} }
	ctx, interrupt := context.WithCancel(t.Context())
	r, w := io.Pipe()
	var stderr bytes.Buffer
	c := &call{cfg: testConfig(), stdin: strings.NewReader("{}\n"), stdout: w, stderr: &stderr, env: func(string) string { return "" }}
	status := make(chan int, 1)
	go func() { status <- c.main(ctx, []string{"batch", "run", "noop", "-", "--wait", "--socket", d.Socket}) }()
	id := make([]byte, 36)
	if _, err := io.ReadFull(r, id); err != nil {
		t.Fatal(err)
	}
	go io.Copy(io.Discard, r) //nolint:errcheck // ends with the test
	interrupt()
	if s := <-status; s != exitFailed {
		t.Errorf("status %d", s)
	}
	if !strings.Contains(stderr.String(), "batch "+string(id)+" goes on. Watch it with millrace batch wait "+string(id)) {
		t.Errorf("said %s", stderr.String())
	}
	d.Lock()
	d.Lingering = 1
	d.Unlock()
	out, rest, _ := do(t.Context(), []string{"batch", "cancel", string(id)}, "", map[string]string{"MILLRACE_SOCKET": d.Socket})
	if out != "batch "+string(id)+" is canceled\n" || !strings.Contains(rest, "jobs that have not ended yet: 1;") {
		t.Errorf("said %s%s", out, rest)
	}
	d.Lock()
	d.Lingering = 0
	d.Unlock()
	out, rest, _ = do(t.Context(), []string{"batch", "cancel", string(id), "--reason", "enough"}, "", map[string]string{"MILLRACE_SOCKET": d.Socket})
	if out != "batch "+string(id)+" is canceled\n" || rest != "" {
		t.Errorf("said %s%s", out, rest)
	}
	_, said, s := do(t.Context(), []string{"batch", "wait", string(id)}, "", map[string]string{"MILLRACE_SOCKET": d.Socket})
	if s != exitFailed || !strings.Contains(said, "the batch is canceled by ann: enough") {
		t.Errorf("status %d: %s", s, said)
	}
}

// TestProgress draws on a terminal over the line before, and elsewhere a line every few seconds.
func TestProgress(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	total, eta := int64(1_000_000), 74.9
	b := &client.Batch{Total: &total, Inserted: total, Done: 250_000, Failed: 12, Running: 8, Rate: 10_012.3, ETA: &eta}
	line := func() string { return batchLine(b, true) }
	for _, c := range []struct {
		tty   bool
		every time.Duration
		want  string
	}{
		{true, redraw, strings.Repeat("\r\x1b[K[#######-----------------------]  25 %  250,000 of 1,000,000 done, 12 failed, 8 running, 10,012/s, 1m15s left", 2) + "\r\x1b[K"},
		{false, newLine, "[#######-----------------------]  25 %  250,000 of 1,000,000 done, 12 failed, 8 running, 10,012/s, 1m15s left\n"},
	} {
		var out bytes.Buffer
		p := &progress{w: &out, tty: c.tty, every: c.every, now: func() time.Time { return now }}
		p.show(line)
		p.show(line) // at once: not drawn
		now = now.Add(c.every)
		p.show(line)
		p.clear()
		p.clear()
		if out.String() != c.want {
			t.Errorf("drew %q, want %q", out.String(), c.want)
		}
	}
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1000: "-1,000"} {
		if got := thousands(n); got != want {
			t.Errorf("%d is %q", n, got)
		}
	}
}
