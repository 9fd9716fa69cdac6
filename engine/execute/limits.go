package execute

import (
	"time"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/pool"
	"github.com/millrace/millrace/sandbox"
)

// limits are what a run of p for j may use: what the script asks for, else what the host gives everybody, and never more than
// the host gives anybody. A script that was stored when the host gave more is told so, rather than run with less than it needs.
func (x *Executor) limits(p program, j *engine.Job) (sandbox.Limits, error) {
	if err := p.want.Within(x.cfg.MaxLimits); err != nil {
		return sandbox.Limits{}, err
	}
	l := x.cfg.Defaults.WithDefaults()
	if p.want.MemoryMB > 0 {
		l.Memory = p.want.MemoryMB << 20
	}
	if p.want.CPU > 0 {
		l.CPU = p.want.CPU
	}
	if p.want.Pids > 0 {
		l.Pids = p.want.Pids
	}
	if p.want.WorkMB > 0 {
		l.WorkSize = p.want.WorkMB << 20
	}
	if p.want.OpenFiles > 0 {
		l.OpenFiles = p.want.OpenFiles
	}
	if p.want.OutputMB > 0 {
		l.Output = p.want.OutputMB << 20
	}
	for _, wall := range []time.Duration{p.limit, j.Timeout} {
		if wall > 0 {
			l.Wall = wall
		}
	}
	return l, nil
}

// account writes what a run used into its outcome.
func account(out *engine.Outcome, res pool.Result, l sandbox.Limits) {
	u := res.Usage
	out.CPU, out.MemoryPeak = u.CPUUser+u.CPUSystem, u.MemoryPeak
	more := engine.Usage{
		SystemMicros: u.CPUSystem.Microseconds(), ThrottledMicros: u.Throttled.Microseconds(), IORead: u.IORead, IOWritten: u.IOWritten,
		Pids: u.PidsPeak, PidsRefused: u.PidsRefused, Limit: res.Limit,
	}
	if u.OOMKills > 0 {
		more.OOM = &engine.OOM{Used: min(u.MemoryPeak, l.Memory), Limit: l.Memory, Kills: u.OOMKills}
		if u.OOM != nil {
			more.OOM.Command, more.OOM.Memory = u.OOM.Command, u.OOM.Memory
		}
	}
	if more != (engine.Usage{}) {
		out.Usage = &more
	}
}
