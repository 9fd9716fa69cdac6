package execute

import (
	"context"
	"fmt"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/pool"
	"github.com/millrace/millrace/runtimes"
)

// runOnDevices runs a task with n GPUs in a slot that is opened for it and closed after it. The devices are free again when the slot
// is gone, and with it every process that could have kept them open.
func (x *Executor) runOnDevices(ctx context.Context, j *engine.Job, n int, l runtimes.Launch, t pool.Task) (pool.Result, error) {
	if x.cfg.GPUs == nil {
		return pool.Result{}, &engine.Error{Code: engine.Unavailable, Op: "job.run", Msg: "the job needs a GPU, and this host gives none to jobs",
			Hint: "run it on a host that has GPUs; millrace doctor shows them"}
	}
	grant, err := x.cfg.GPUs.Acquire(ctx, j.ID, n, j.Tag)
	if err != nil {
		return pool.Result{}, err
	}
	defer grant.Release()
	w, err := x.cfg.Pool.Acquire(ctx, grant.Fit(l, &t.Call.Env))
	if err != nil {
		return pool.Result{}, fmt.Errorf("open a sandbox with %d GPUs: %w", n, err)
	}
	// Also when the run panics: devices that come free while the slot lives would be somebody else's too.
	defer func() {
		if err := w.Discard(); err != nil {
			grant.Spoil("the slot of its last job could not be closed: " + err.Error())
		}
	}()
	return w.Run(ctx, t)
}
