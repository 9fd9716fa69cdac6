package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// growthJobs is how many jobs TestNothingGrows runs; MILLRACE_GROWTH_JOBS says another number.
const growthJobs = 2000

// growthPart is after how many it looks, so that one that is cut short has said how far it came.
const growthPart = 10_000

// TestNothingGrows runs jobs of several languages, good, failing and leaving things behind, and compares what the daemon, its
// helper and their sandboxes hold before and after.
func TestNothingGrows(t *testing.T) {
	n := growthJobs
	if s := os.Getenv("MILLRACE_GROWTH_JOBS"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil || n < 1 {
			t.Fatalf("MILLRACE_GROWTH_JOBS=%q is no number of jobs", s)
		}
	}
	d := start(t, folder(t), "--slots", "4")
	// So that whatever is made once, or kept ready, is there: as many slots for each language as can be busy at once, too, which
	// the mixture comes to need once in ten thousands of jobs.
	for _, k := range []stormJob{stormy[0], stormy[1], stormyBun} {
		d.storm(64, func(int64) stormJob { return k })
	}
	d.storm(max(300, n/20), mixed)
	before := d.rest()
	t.Logf("before %v", before)
	for done := 0; done < n; {
		part := min(growthPart, n-done)
		d.storm(part, mixed)
		done += part
		after := d.rest()
		t.Logf("after %d jobs %v", done, after)
		before.held(t, after, done)
	}
}

// held fails the test when after is more than before and what may come and go. The slack is for two slots more, which a build may
// have open, and for what a collector has not collected; one thing a job would be hundreds of times as much.
func (before holding) held(t *testing.T, after holding, jobs int) {
	t.Helper()
	for what, slack := range map[string]int{
		"processes": 12, "control groups": 2, "mounts of the helper": 0, "mounts of the daemon": 0,
		"descriptors of the helper": 40, "descriptors of the daemon": 40, "most descriptors of a sandbox": 0,
		"daemon MB": 128, "helper MB": 32, "largest sandbox MB": 3,
	} {
		if after[what] > before[what]+slack {
			t.Errorf("%s: %d before, %d after %d jobs", what, before[what], after[what], jobs)
		}
	}
}

// mixed is the i-th job of a storm of all kinds.
func mixed(i int64) stormJob {
	if i%40 == 0 {
		return stormyBun
	}
	return stormy[i%int64(len(stormy))]
}

// storm runs n jobs, eight at a time, and checks each answer.
func (d *daemon) storm(n int, pick func(i int64) stormJob) {
	d.t.Helper()
	socket := filepath.Join(d.data, "run", "millrace.sock")
	c := http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	defer c.CloseIdleConnections()
	var next, wrong atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(n) && wrong.Load() < 5; i = next.Add(1) {
				k := pick(i)
				body := fmt.Sprintf(`{"language":%q,"content":%q,"args":{}}`, k.language, k.source)
				r, err := c.Post("http://daemon/api/w/main/jobs/run_wait_result/preview", "application/json", strings.NewReader(body))
				if err != nil {
					d.t.Error(err)
					wrong.Add(5)
					return
				}
				answer, _ := io.ReadAll(r.Body)
				_ = r.Body.Close()
				if !bytes.Contains(answer, []byte(k.want)) {
					d.t.Errorf("job %d, %s: %d %s, want %s", i, k.language, r.StatusCode, answer, k.want)
					wrong.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if wrong.Load() > 0 {
		d.t.FailNow()
	}
}

type stormJob struct{ language, source, want string }

var (
	stormy = []stormJob{
		{"python3", "def main():\n    return 41 + 1\n", "42"},
		{"bash", "echo $((6 * 7))", "42"},
		{"python3", "def main():\n    raise ValueError('as meant')\n", "as meant"},
		{"bash", "echo 1 > left; mkdir -p a/b; (while :; do :; done) & echo 42", "42"},
		{"python3", "import subprocess, tempfile\ndef main():\n    tempfile.mkdtemp()\n    subprocess.Popen(['/bin/sleep', '600'])\n    print('x' * 100000)\n    return 42\n", "42"},
		{"bash", "exit 3", "exit status 3"},
	}
	stormyBun = stormJob{"bun", "export function main() { return 6 * 7 }", "42"}
)

// holding is what a daemon and all that belongs to it hold, by name.
type holding map[string]int

// rest waits until nothing changes any more and tells what is held then.
func (d *daemon) rest() holding {
	d.t.Helper()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(3 * time.Minute)
	last, same := holding{}, 0
	for {
		now := d.holding()
		if same++; fmt.Sprint(now) != fmt.Sprint(last) || d.builds() {
			same = 0
		}
		if last = now; same == 3 {
			return now
		}
		select {
		case <-deadline:
			return now // memory may go on being given back; the comparison decides
		case <-tick.C:
		}
	}
}

func (d *daemon) holding() holding {
	h := holding{}
	groups := map[string]bool{}
	for _, pid := range descendants(strconv.Itoa(d.cmd.Process.Pid)) {
		name, _ := os.ReadFile("/proc/" + pid + "/comm")
		program, _ := os.Readlink("/proc/" + pid + "/exe")
		fds, _ := os.ReadDir("/proc/" + pid + "/fd")
		mounts, _ := os.ReadFile("/proc/" + pid + "/mountinfo")
		mb := private(pid)
		switch {
		case filepath.Base(program) == "millrace":
			h["descriptors of the daemon"] += len(fds)
			h["daemon MB"] += mb
			h["mounts of the daemon"] += bytes.Count(mounts, []byte("\n"))
		case strings.HasPrefix(string(name), "postgres"):
			continue
		case filepath.Base(program) == "millrace-jail":
			h["descriptors of the helper"] += len(fds)
			h["helper MB"] += mb
			h["mounts of the helper"] += bytes.Count(mounts, []byte("\n"))
		default:
			h["most descriptors of a sandbox"] = max(h["most descriptors of a sandbox"], len(fds))
			h["largest sandbox MB"] = max(h["largest sandbox MB"], mb)
			if dir := memoryGroup(pid); dir != "" {
				groups[dir] = true
			}
		}
		h["processes"]++
	}
	h["control groups"] = siblings(groups)
	return h
}

// builds tells whether something is being compiled, as a daemon does by itself soon after its first start: a compiler holds more than
// any job here.
func (d *daemon) builds() bool {
	return slices.ContainsFunc(descendants(strconv.Itoa(d.cmd.Process.Pid)), func(pid string) bool {
		name, _ := os.ReadFile("/proc/" + pid + "/comm")
		return slices.Contains([]string{"go", "compile", "link", "asm"}, strings.TrimSpace(string(name)))
	})
}

// descendants lists pid and all processes below it.
func descendants(pid string) []string {
	children := map[string][]string{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, f := range stats {
		b, err := os.ReadFile(f)
		if err != nil {
			continue // it has just ended
		}
		fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		children[fields[1]] = append(children[fields[1]], strings.Split(f, "/")[2])
	}
	out := []string{pid}
	for i := 0; i < len(out); i++ {
		out = append(out, children[out[i]]...)
	}
	return out
}

// private is the memory of a process that it shares with nobody, in MB.
func private(pid string) (mb int) {
	b, _ := os.ReadFile("/proc/" + pid + "/smaps_rollup")
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "Private_Dirty:"); ok {
			kb, _ := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(rest), " kB"))
			mb = kb >> 10
		}
	}
	return mb
}

// memoryGroup is the control group of a process in the hierarchy of memory; "" where it has none of its own.
func memoryGroup(pid string) string {
	b, _ := os.ReadFile("/proc/" + pid + "/cgroup")
	for line := range strings.Lines(string(b)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) == 3 && f[1] == "memory" && len(f[2]) > 1 {
			return filepath.Join("/sys/fs/cgroup/memory", f[2])
		}
		if len(f) == 3 && f[0] == "0" && len(f[2]) > 1 {
			if dir := filepath.Join("/sys/fs/cgroup", f[2]); isFolder(dir) {
				return dir
			}
		}
	}
	return ""
}

func isFolder(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.IsDir()
}

// siblings counts the groups that lie beside those given and carry the mark of the same helper: all of the name but the number.
func siblings(groups map[string]bool) int {
	found := map[string]bool{}
	for dir := range groups {
		base := filepath.Base(dir)
		list, _ := filepath.Glob(filepath.Join(filepath.Dir(dir), strings.TrimRight(base, "0123456789")+"*"))
		for _, g := range list {
			found[g] = true
		}
	}
	return len(found)
}
