package execute

import (
	"reflect"
	"testing"
	"time"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/pool"
	"github.com/millrace/millrace/sandbox"
)

func TestLimits(t *testing.T) {
	x := New(Config{Defaults: sandbox.Limits{Memory: 256 << 20, Swap: 1 << 20, IO: 7}, MaxLimits: engine.LimitOptions{MemoryMB: 1024, Pids: 300}})
	def := x.cfg.Defaults.WithDefaults()
	for name, c := range map[string]struct {
		want  engine.LimitOptions
		wall  time.Duration // of the script
		asked time.Duration // of the job
		check func(*sandbox.Limits)
	}{
		"nothing": {check: func(*sandbox.Limits) {}},
		"memory":  {want: engine.LimitOptions{MemoryMB: 1024}, check: func(l *sandbox.Limits) { l.Memory = 1 << 30 }},
		"everything": {want: engine.LimitOptions{MemoryMB: 64, CPU: 1.5, Pids: 300, WorkMB: 9, OpenFiles: 5000, OutputMB: 3}, check: func(l *sandbox.Limits) {
			l.Memory, l.CPU, l.Pids, l.WorkSize, l.OpenFiles, l.Output = 64<<20, 1.5, 300, 9<<20, 5000, 3<<20
		}},
		"time":       {wall: time.Hour, check: func(l *sandbox.Limits) { l.Wall = time.Hour }},
		"job's time": {wall: time.Hour, asked: time.Second, check: func(l *sandbox.Limits) { l.Wall = time.Second }},
	} {
		expect := def
		c.check(&expect)
		got, err := x.limits(program{want: c.want, limit: c.wall}, &engine.Job{Timeout: c.asked})
		if err != nil || got != expect {
			t.Errorf("%s: %+v %v, want %+v", name, got, err, expect)
		}
	}
	if l, err := x.limits(program{want: engine.LimitOptions{MemoryMB: 1025}}, &engine.Job{}); engine.CodeOf(err) != engine.Invalid {
		t.Errorf("more than the host gives: %+v %v", l, err)
	}
}

func TestAccount(t *testing.T) {
	l := sandbox.Limits{Memory: 100}
	var out engine.Outcome
	account(&out, pool.Result{Usage: sandbox.Usage{CPUUser: 5 * time.Millisecond, MemoryPeak: 40}}, l)
	if out.CPU != 5*time.Millisecond || out.MemoryPeak != 40 || out.Usage != nil {
		t.Errorf("nothing more is known: %+v", out)
	}
	account(&out, pool.Result{Limit: engine.HitMemory, Usage: sandbox.Usage{
		CPUUser: time.Millisecond, CPUSystem: 2 * time.Millisecond, MemoryPeak: 120, IORead: 1, IOWritten: 2, PidsPeak: 3, PidsRefused: 4,
		Throttled: 5 * time.Microsecond, OOMKills: 6, OOM: &sandbox.Kill{Command: "tail", Memory: 90},
	}}, l)
	want := &engine.Usage{SystemMicros: 2000, ThrottledMicros: 5, IORead: 1, IOWritten: 2, Pids: 3, PidsRefused: 4, Limit: engine.HitMemory,
		OOM: &engine.OOM{Command: "tail", Memory: 90, Used: 100, Limit: 100, Kills: 6}}
	if out.CPU != 3*time.Millisecond || !reflect.DeepEqual(out.Usage, want) {
		t.Errorf("%v %+v, want %+v", out.CPU, out.Usage, want)
	}
}
