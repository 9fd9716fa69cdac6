package execute

import (
	"context"
	"errors"
	"strings"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/pool"
	"github.com/millrace/millrace/engine/prepare"
	"github.com/millrace/millrace/runtimes"
)

// Folders are those that the steps of a flow share.
type Folders interface {
	Open(ctx context.Context, flow uuid.UUID) (name string, err error)
}

// runShared runs a step of a flow whose steps share a folder, which it sees as ./shared. Its slot has that folder, and so is no other
// flow's; each step is a process of its own in it all the same.
func (x *Executor) runShared(ctx context.Context, j *engine.Job, r *prepare.Prepared, t pool.Task) (pool.Result, error) {
	flow, err := x.cfg.FolderOf(ctx, j)
	var lost *engine.Error
	if errors.As(err, &lost) && lost.Code == engine.Conflict {
		return pool.Result{}, &runtimes.Failure{Name: engine.FolderLost, Message: engine.FolderLostText}
	}
	if err != nil {
		return pool.Result{}, err
	}
	l := r.Launch
	if l.Template.Shared, err = x.cfg.Folders.Open(ctx, flow); err != nil {
		return pool.Result{}, err
	}
	return x.cfg.Pool.RunHot(ctx, l, pool.Program{}, t)
}

// shares tells whether j is a step of such a flow.
func (x *Executor) shares(j *engine.Job) bool {
	return x.cfg.Folders != nil && strings.HasPrefix(j.Tag, engine.HomePrefix)
}
