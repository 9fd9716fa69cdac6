package pool

import (
	"fmt"
	"strings"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/sandbox"
)

// limited says in a result which limit the process met, and in its failure what to raise. A process that got along with its limit
// has it in its record only.
func (r *run) limited(res Result) Result {
	u := res.Usage
	var note string
	switch {
	case res.Stopped == StoppedTimeout:
		res.Limit = engine.HitTime
	case res.Stopped == StoppedOutput:
		res.Limit = engine.HitOutput
	case u.OOMKills > 0:
		res.Limit, note = engine.HitMemory, outOfMemory(u, r.limits.Memory)
	case u.PidsRefused > 0:
		res.Limit = engine.HitPids
		note = fmt.Sprintf("it could not start more than %d processes and threads; raise limits.pids", r.limits.Pids)
	case res.Failure != nil:
		res.Limit, note = r.said(res.Failure.Message)
	}
	if note == "" || res.Failure == nil || res.Stopped != "" {
		return res
	}
	f := *res.Failure
	f.Message += ": " + note
	res.Failure = &f
	return res
}

// said finds limits that only the process notices, by what every runtime says when it does. The worst that a process can gain by
// saying so without reason is a misleading note in its own error.
func (r *run) said(message string) (engine.LimitHit, string) {
	text := strings.ToLower(message + "\n" + r.tail.last(8))
	switch {
	case strings.Contains(text, "no space left on device"):
		return engine.HitWork, fmt.Sprintf("the work folder holds %s; raise limits.work_mb", size(r.limits.WorkSize))
	case strings.Contains(text, "too many open files"):
		return engine.HitFiles, fmt.Sprintf("a run may have %d open files", r.limits.OpenFiles)
	}
	return "", ""
}

// outOfMemory says who was killed and how much there was; parts that the host does not tell are left out.
func outOfMemory(u sandbox.Usage, limit int64) string {
	used := "used up its " + size(limit)
	if u.MemoryPeak > 0 {
		used = fmt.Sprintf("used %s of %s", size(min(u.MemoryPeak, limit)), size(limit))
	}
	if k := u.OOM; k != nil && k.Command != "" {
		used += fmt.Sprintf(" when %s (%s) was killed", k.Command, size(k.Memory))
	} else if k != nil {
		used += fmt.Sprintf(" when a process of %s was killed", size(k.Memory))
	}
	return used + "; raise limits.memory_mb"
}
