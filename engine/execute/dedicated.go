package execute

import (
	"context"
	"time"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/pool"
	"github.com/millrace/millrace/engine/prepare"
)

// share says which runs may have one process with j: those of the same version of a dedicated script, in the same network, as the
// same user or group. Nil: none.
func share(s *engine.Script, j *engine.Job) *pool.Share {
	if !s.Options.Dedicated || j.Kind != engine.KindScript {
		return nil
	}
	return &pool.Share{
		Workspace: j.Workspace, Script: s.Path, Owner: j.PermissionedAs, Version: s.Hash, Network: j.Network, Since: s.CreatedAt.UnixNano(),
		Processes: s.Options.Processes,
	}
}

// squashIdle is how long the process of a loop's iterations is kept when there is none: the loop is over, or something else in it takes long.
const squashIdle = 10 * time.Second

// squashed says which runs may have one process with j: the other iterations of a loop that says so. Nil: none.
func (x *Executor) squashed(ctx context.Context, j *engine.Job) (*pool.Share, error) {
	if x.cfg.Squash == nil || j.Step == "" || j.Parent == nil {
		return nil, nil
	}
	entry, err := x.cfg.Prepare.Entry(j.Language)
	if err != nil || entry.Info().DedicatedTag() != j.Tag {
		return nil, nil // whoever prepares it says what is wrong
	}
	key, err := x.cfg.Squash(ctx, j)
	if err != nil || key == "" {
		return nil, err
	}
	return &pool.Share{Script: "loop/" + key, Owner: j.PermissionedAs, Network: j.Network, Idle: squashIdle}, nil
}

// run runs a task: in the process of its script if it is dedicated and there is room for one, else on a worker of its own.
func (x *Executor) run(ctx context.Context, r *prepare.Prepared, p program, t pool.Task) (pool.Result, error) {
	if p.share != nil {
		if res, ok, err := x.cfg.Pool.RunDedicated(ctx, r.Launch, *p.share, t); ok {
			return res, err
		}
	}
	known := pool.Program{Key: r.Key, Preloader: r.Entry.Preloader}
	if len(p.env) > 0 {
		known.Preloader = nil // modules may read its variables when they are imported
	}
	return x.cfg.Pool.RunHot(ctx, r.Launch, known, t)
}
