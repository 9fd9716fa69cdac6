package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestReport(t *testing.T) {
	file := filepath.Join(t.TempDir(), "results", "latest.json")
	r := newReport()
	r.set("rate_python", 612.34, "1/s", 6123)
	r.set("cold_go", 812.6, "ms", 15)
	if err := r.save(file, true); err != nil {
		t.Fatal(err)
	}
	r = newReport()
	r.set("cold_go", 512.6, "ms", 15)
	r.latency("http_ack", sample{time.Millisecond, 2 * time.Millisecond, 3 * time.Millisecond})
	if err := r.save(file, true); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"rate_python": {
      "value": 612,
      "unit": "1/s",
      "n": 6123
    }`, `"value": 513`, `"http_ack_p50": {
      "value": 2,`, `"http_ack_max"`} {
		if !strings.Contains(string(b), want) {
			t.Errorf("no %s in\n%s", want, b)
		}
	}
	if strings.Contains(string(b), "http_ack_p99") {
		t.Error("three samples say nothing of a p99")
	}
	if err := r.save(file, false); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(file); err != nil || strings.Contains(string(b), "rate_python") {
		t.Errorf("old figures are kept without --merge: %v\n%s", err, b)
	}
}

func TestPrintSaysWhatIsMissed(t *testing.T) {
	r := newReport()
	r.set("rate_python", 499, "1/s", 1)
	r.set("rate_bun", 121, "1/s", 1)
	r.set("cold_go", 701, "ms", 1)
	r.set("cold_bun", 59, "ms", 1)
	r.set("new_key", 1, "ms", 1)
	var out strings.Builder
	r.print(&out)
	for _, line := range strings.Split(out.String(), "\n") {
		missed := strings.HasSuffix(line, "missed")
		switch name, _, _ := strings.Cut(line, " "); name {
		case "rate_python", "cold_go":
			if !missed {
				t.Errorf("not missed: %s", line)
			}
		case "rate_bun", "cold_bun", "new_key":
			if missed {
				t.Errorf("missed: %s", line)
			}
		}
	}
	if n := strings.Count(out.String(), "\n"); n != 9 {
		t.Errorf("%d lines:\n%s", n, out.String())
	}
}

func TestReadNoop(t *testing.T) {
	b := &bench{report: newReport()}
	n := b.readNoop("goos: linux\n" +
		"BenchmarkNoop/c=1-2   5000\t 700123 ns/op\t 1428 jobs/s\t 801 result-p50-us\t 1900 result-p99-us\t 412 start-p50-us\t 990 start-p99-us\n" +
		"BenchmarkNoop/c=64-2  60000\t 46511 ns/op\t 21500 jobs/s\t 2900 result-p50-us\t 31.5 server-cpu-us/job\n" +
		"PASS\nok  \tengine/queue\t3.2s\n")
	if n != 6 {
		t.Errorf("%d figures taken, want 6: %+v", n, b.report.Metrics)
	}
	for key, want := range map[string]metric{"noop_cpu_server_c64": {0.032, "ms", 60000}, "noop_start_p50": {0.412, "ms", 5000}, "noop_result_p99": {1.9, "ms", 5000},
		"noop_rate_c64": {21500, "1/s", 60000}} {
		if got := b.report.Metrics[key]; got != want {
			t.Errorf("%s is %+v, want %+v", key, got, want)
		}
	}
}

func TestReadFigures(t *testing.T) {
	b := &bench{report: newReport()}
	n := b.readFigures("BenchmarkBacklog/start-2   2000\t 3900123 ns/op\t 4100 backlog_rate-1/s\t 0.9123 backlog_start_p50-ms\t 2.5 backlog_start_p99-ms\n" +
		"BenchmarkBacklog/batch=64-2  2000\t 3900123 ns/op\t 1.5 claim_b64_p50-ms\n" +
		"BenchmarkPinned-2  1\t 240000000000 ns/op\t 240 n\t 97.5 pinned_xmin_kept-%\t 12 B/op\n")
	if n != 5 {
		t.Errorf("%d figures taken, want 5: %+v", n, b.report.Metrics)
	}
	for key, want := range map[string]metric{"backlog_rate": {4100, "1/s", 2000}, "backlog_start_p50": {0.912, "ms", 2000},
		"claim_b64_p50": {1.5, "ms", 2000}, "pinned_xmin_kept": {97.5, "%", 240}} {
		if got := b.report.Metrics[key]; got != want {
			t.Errorf("%s is %+v, want %+v", key, got, want)
		}
	}
	if err := known("PASS\n", b.readFigures("PASS\n")); err == nil {
		t.Error("a benchmark that reports nothing is taken for a success")
	}
}

func TestPrivateDatabase(t *testing.T) {
	data := t.TempDir()
	if _, err := privateDatabase(data); err == nil {
		t.Error("no error without a database")
	}
	if err := os.MkdirAll(filepath.Join(data, "postgres", "data"), 0o755); err != nil {
		t.Fatal(err)
	}
	pid := "4711\n/data/postgres/data\n1764000000\n5432\n/data/it's\n\n 12 0\nready\n"
	if err := os.WriteFile(filepath.Join(data, "postgres", "data", "postmaster.pid"), []byte(pid), 0o644); err != nil {
		t.Fatal(err)
	}
	got, err := privateDatabase(data)
	if want := `host='/data/it\'s' port=5432 user=millrace dbname=postgres sslmode=disable`; err != nil || got != want {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
}

func TestCheck(t *testing.T) {
	for answer, ok := range map[string]bool{"8": true, `"8"`: true, "8\n": true, "9": false, "": false, `{"error":8}`: false} {
		if err := check(200, []byte(answer), 8); (err == nil) != ok {
			t.Errorf("%q: %v", answer, err)
		}
	}
	if check(500, []byte("8"), 8) == nil {
		t.Error("status 500 is taken for success")
	}
}

func TestFamily(t *testing.T) {
	child := exec.Command("sleep", "60")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = child.Process.Kill()
		_ = child.Wait()
	}()
	all := family(os.Getpid())
	if !slices.ContainsFunc(all, func(p process) bool { return p.pid == os.Getpid() && p.pss() > 1 }) {
		t.Errorf("this process is not in its own family, or weighs nothing: %+v", all)
	}
	if !slices.ContainsFunc(all, func(p process) bool { return p.pid == child.Process.Pid && p.parent == os.Getpid() }) {
		t.Errorf("the child %d is not in the family: %+v", child.Process.Pid, all)
	}
}

func TestMachine(t *testing.T) {
	r := newReport()
	r.readMachine(t.TempDir())
	m := r.Machine
	if m.Kernel == "" || m.Cores < 1 || m.MemoryGB <= 0 || m.FsyncP50 <= 0 || m.FsyncP99 < m.FsyncP50 {
		t.Errorf("%+v", m)
	}
	w := startWatch()
	for begin := time.Now(); time.Since(begin) < 30*time.Millisecond; { // use some processor time
	}
	if self, stolen := w.share(); self <= 0 || stolen < 0 || stolen > 1 {
		t.Errorf("used %v of a core, %v stolen", self, stolen)
	}
}

func TestParse(t *testing.T) {
	o, err := parse([]string{"--only", "rate,cold", "--for", "3s"})
	if err != nil || !slices.Equal(o.parts, []string{"rate", "cold"}) || o.seconds != 3*time.Second {
		t.Errorf("%+v, %v", o, err)
	}
	for _, args := range [][]string{{"--only", "nothing"}, {"--n", "1"}, {"extra"}} {
		if _, err := parse(args); err == nil {
			t.Errorf("%v is accepted", args)
		}
	}
}
