package runner

import (
	"context"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/flow"
	"github.com/millrace/millrace/engine/flow/format"
)

// settle has the steps of x, and of all runs within it, run on this daemon when the flow says that they share a folder.
func (o *operation) settle(x *run) error {
	if x.def != x.job.ID || !x.value.SameWorker || x.home() != nil {
		return nil
	}
	r := o.runner
	if r.cfg.Home == "" {
		return engine.Errorf(engine.Invalid, "flow.begin", "the flow has same_worker, and was begun by a daemon that runs no steps")
	}
	x.state.Home = &flow.Home{Tag: r.cfg.Home, Life: r.life}
	return nil
}

// home is the outermost run around x that has one, and so the one whose folder is shared; nil: there is none.
func (x *run) home() (found *run) {
	for at := x; at != nil; at = at.parent {
		if at.state.Home != nil {
			found = at
		}
	}
	return found
}

// homeTag is that of a step of x; "": its own. Once the folder is lost, what is to be told of failures is no step that shares it any more:
// nothing else would tell of this one.
func (o *operation) homeTag(x *run, step *format.Module) string {
	h := x.home()
	if h == nil || step == x.value.FailureModule && h.state.Home.Life != o.runner.life {
		return ""
	}
	return h.state.Home.Tag
}

// moveIn makes the home of a run that was read back this daemon's life, if nothing of it has ended yet: the step that was running is
// run again, and nobody misses what it had left in the folder.
func (r *Runner) moveIn(x *run) {
	if h := x.state.Home; h != nil && h.Tag == r.cfg.Home && h.Life != r.life && x.steps == 0 {
		x.state.Home = &flow.Home{Tag: h.Tag, Life: r.life}
	}
}

// Folder is the run whose folder the job of a step shares. An error of code Conflict: the folder was lost, with the daemon that had it.
func (r *Runner) Folder(ctx context.Context, j *engine.Job) (id uuid.UUID, err error) {
	lost := &engine.Error{Code: engine.Conflict, Op: "flow.step", Path: j.ID.String(), Msg: engine.FolderLostText}
	if j.Parent == nil {
		return uuid.Nil, lost
	}
	look := func(x *run) {
		if h := x.home(); h != nil && h.state.Home.Life == r.life {
			id = h.job.ID
		}
	}
	if err := r.send(ctx, &event{run: *j.Parent, look: look}); err != nil {
		return uuid.Nil, err
	}
	if id == uuid.Nil {
		return uuid.Nil, lost
	}
	return id, nil
}
