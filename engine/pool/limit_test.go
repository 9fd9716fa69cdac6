package pool

import (
	"testing"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/runtimes"
	"github.com/millrace/millrace/sandbox"
)

func TestLimitsInResults(t *testing.T) {
	limits := sandbox.Limits{Memory: 512 << 20, Pids: 40, WorkSize: 8 << 20, OpenFiles: 77}
	kill := &sandbox.Kill{Command: "python3", Memory: 498 << 20}
	broken := &runtimes.Failure{Name: "Error", Message: "no child"}
	for name, c := range map[string]struct {
		res    Result
		output string
		hit    engine.LimitHit
		says   string // the failure; empty: none
	}{
		"fine":  {},
		"fails": {res: Result{Failure: broken}, says: "Error: no child"},
		"out of memory": {res: Result{Failure: broken, Usage: sandbox.Usage{MemoryPeak: 513 << 20, OOMKills: 1, OOM: kill}}, hit: engine.HitMemory,
			says: "Error: no child: used 512 MiB of 512 MiB when python3 (498 MiB) was killed; raise limits.memory_mb"},
		"out of memory, not named": {res: Result{Failure: broken, Usage: sandbox.Usage{OOMKills: 2}}, hit: engine.HitMemory,
			says: "Error: no child: used up its 512 MiB; raise limits.memory_mb"},
		"a child out of memory": {res: Result{Value: []byte("1"), Usage: sandbox.Usage{OOMKills: 1, OOM: kill}}, hit: engine.HitMemory},
		"processes": {res: Result{Failure: broken, Usage: sandbox.Usage{PidsRefused: 3}}, hit: engine.HitPids,
			says: "Error: no child: it could not start more than 40 processes and threads; raise limits.pids"},
		"processes, got along": {res: Result{Value: []byte("1"), Usage: sandbox.Usage{PidsRefused: 3}}, hit: engine.HitPids},
		"work folder": {res: Result{Failure: &runtimes.Failure{Name: "OSError", Message: "[Errno 28] No space left on device"}}, hit: engine.HitWork,
			says: "OSError: [Errno 28] No space left on device: the work folder holds 8 MiB; raise limits.work_mb"},
		"work folder, in the output": {res: Result{Failure: broken}, output: "cp: error writing 'x': No space left on device\n", hit: engine.HitWork,
			says: "Error: no child: the work folder holds 8 MiB; raise limits.work_mb"},
		"open files": {res: Result{Failure: &runtimes.Failure{Name: "Error", Message: "EMFILE: too many open files"}}, hit: engine.HitFiles,
			says: "Error: EMFILE: too many open files: a run may have 77 open files"},
		"time":     {res: Result{Failure: broken, Stopped: StoppedTimeout, Usage: sandbox.Usage{PidsRefused: 3}}, hit: engine.HitTime, says: "Error: no child"},
		"output":   {res: Result{Failure: broken, Stopped: StoppedOutput}, hit: engine.HitOutput, says: "Error: no child"},
		"canceled": {res: Result{Failure: broken, Stopped: StoppedCanceled}, says: "Error: no child"},
	} {
		r := &run{limits: limits}
		r.tail.add([]byte(c.output))
		got := r.limited(c.res)
		says := ""
		if got.Failure != nil {
			says = got.Failure.Error()
		}
		if got.Limit != c.hit || says != c.says {
			t.Errorf("%s: limit %q, %q; want %q, %q", name, got.Limit, says, c.hit, c.says)
		}
	}
	if broken.Message != "no child" {
		t.Errorf("a failure that others hold was changed: %q", broken.Message)
	}
}
