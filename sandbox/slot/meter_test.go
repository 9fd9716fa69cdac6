package slot

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/millrace/millrace/sandbox"
	"github.com/millrace/millrace/sandbox/cgroup"
)

// fakeGroup is a group whose files the test writes.
type fakeGroup struct {
	t   *testing.T
	dir string
}

func (g fakeGroup) set(name, text string) {
	g.t.Helper()
	if err := os.WriteFile(filepath.Join(g.dir, name), []byte(text), 0o600); err != nil {
		g.t.Fatal(err)
	}
}

func (g fakeGroup) meter(names ...string) *meter {
	g.t.Helper()
	files := map[string]*os.File{}
	for _, name := range names {
		f, err := os.OpenFile(filepath.Join(g.dir, name), os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			g.t.Fatal(err)
		}
		files[name] = f
	}
	m := newMeter(files)
	g.t.Cleanup(m.close)
	return m
}

func TestMeterVersion1(t *testing.T) {
	g := fakeGroup{t, t.TempDir()}
	g.set(cgroup.MeterEvents, "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n")
	g.set(cgroup.MeterCPU, "5000000\n")
	g.set(cgroup.MeterSystem, "1000000\n")
	g.set(cgroup.MeterStalled, "nr_periods 1\nnr_throttled 1\nthrottled_time 100\n")
	g.set(cgroup.MeterPids, "max 7\n")
	g.set(cgroup.MeterMost, "5\n")
	g.set(cgroup.MeterNow, "2\n")
	g.set(cgroup.MeterIO, "254:0 Read 4096\n254:0 Write 0\nTotal 4096\n")
	m := g.meter(cgroup.MeterPeak, cgroup.MeterEvents, cgroup.MeterCPU, cgroup.MeterSystem, cgroup.MeterStalled, cgroup.MeterPids,
		cgroup.MeterMost, cgroup.MeterNow, cgroup.MeterIO)
	m.start()
	g.set(cgroup.MeterPeak, "123456\n")
	if u := m.now(); u != (sandbox.Usage{MemoryPeak: 123456}) {
		t.Errorf("nothing was used: %+v", u)
	}
	g.set(cgroup.MeterEvents, "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n")
	g.set(cgroup.MeterCPU, "9000000\n")
	g.set(cgroup.MeterSystem, "2000000\n")
	g.set(cgroup.MeterStalled, "throttled_time 600\n")
	g.set(cgroup.MeterPids, "max 9\n")
	g.set(cgroup.MeterMost, "12\n")
	g.set(cgroup.MeterIO, "254:0 Read 8192\n254:0 Write 100\n254:16 Read 1\n254:16 Write 2\nTotal 8295\n")
	want := sandbox.Usage{CPUUser: 3 * time.Millisecond, CPUSystem: time.Millisecond, MemoryPeak: 123456, IORead: 4097, IOWritten: 102,
		PidsPeak: 10, PidsRefused: 2, Throttled: 500, OOMKills: 1}
	if u := m.now(); u != want {
		t.Errorf("%+v, want %+v", u, want)
	}
	// It knows of itself to have used more in the kernel; the rest is what descendants used.
	want.CPUUser, want.CPUSystem = 2500*time.Microsecond, 1500*time.Microsecond
	if u := m.stop(sandbox.Usage{CPUUser: time.Millisecond, CPUSystem: 1500 * time.Microsecond, MemoryPeak: 5}); u != want {
		t.Errorf("%+v, want %+v", u, want)
	}
	// What it left behind is not its successor's.
	m.start()
	g.set(cgroup.MeterPeak, "9\n")
	if u := m.stop(sandbox.Usage{CPUUser: 5, MemoryPeak: 5}); u != (sandbox.Usage{CPUUser: 5, MemoryPeak: 9}) {
		t.Errorf("second process: %+v", u)
	}
}

func TestMeterVersion2(t *testing.T) {
	g := fakeGroup{t, t.TempDir()}
	g.set(cgroup.MeterEvents, "low 0\nhigh 0\nmax 4\noom 1\noom_kill 1\noom_group_kill 0\n")
	g.set(cgroup.MeterCPU, "usage_usec 1000\nuser_usec 800\nsystem_usec 200\nnr_periods 0\nthrottled_usec 5\n")
	g.set(cgroup.MeterIO, "")
	m := g.meter(cgroup.MeterEvents, cgroup.MeterCPU, cgroup.MeterIO)
	m.start()
	g.set(cgroup.MeterEvents, "low 0\nhigh 0\nmax 9\noom 2\noom_kill 2\noom_group_kill 0\n")
	g.set(cgroup.MeterCPU, "usage_usec 4000\nuser_usec 2800\nsystem_usec 1200\nnr_periods 0\nthrottled_usec 9\n")
	g.set(cgroup.MeterIO, "254:0 rbytes=4096 wbytes=512 rios=1 wios=1 dbytes=0 dios=0\n253:1 rbytes=1 wbytes=2\n")
	want := sandbox.Usage{CPUUser: 2 * time.Millisecond, CPUSystem: time.Millisecond, MemoryPeak: 77, IORead: 4097, IOWritten: 514,
		Throttled: 4 * time.Microsecond, OOMKills: 1}
	if u := m.stop(sandbox.Usage{MemoryPeak: 77}); u != want {
		t.Errorf("%+v, want %+v", u, want)
	}
}

// A kill is asked for once, by whoever looks first.
func TestMeterNamesKillsOnce(t *testing.T) {
	m := newMeter(nil)
	m.start()
	asked := 0
	ask := func() *sandbox.Kill { asked++; return &sandbox.Kill{Command: "glutton"} }
	for range 2 {
		if k := m.killed(1, ask); k == nil || k.Command != "glutton" || asked != 1 {
			t.Errorf("%+v, asked %d times", k, asked)
		}
	}
	if m.killed(2, ask); asked != 2 {
		t.Errorf("a further kill: asked %d times", asked)
	}
	m.start()
	if k := m.killed(0, ask); k != nil || asked != 2 {
		t.Errorf("the next process: %+v, asked %d times", k, asked)
	}
	m.stop(sandbox.Usage{})
}
