package execute

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/flow/format"
	"github.com/millrace/millrace/runtimes"
	"github.com/millrace/millrace/sandbox"
)

// flowDependencies resolves and builds the scripts that are written in a deployed flow and stores their locks, so that the first run
// finds them ready and later ones find the same packages. One that cannot be is named in the failure; the others are ready all the same.
func (x *Executor) flowDependencies(ctx context.Context, j *engine.Job, sink *sink, out *engine.Outcome) error {
	if x.cfg.Flows == nil {
		return engine.Errorf(engine.Invalid, "flow.lock", "there are no flows here")
	}
	value, err := x.flowValue(ctx, j)
	if err != nil {
		return err
	}
	locks, failed := map[string]string{}, []error(nil)
	value.Walk(func(m *format.Module, _ format.Place) bool {
		b, ok := m.Value.(*format.RawScript)
		if !ok || ctx.Err() != nil {
			return true
		}
		fmt.Fprintf(sink, "step %s (%s)\n", m.ID, b.Language)
		lock, err := x.ready(ctx, j, b, sink)
		switch {
		case err != nil:
			failed = append(failed, fmt.Errorf("step %s: %w", m.ID, err))
		case lock != "" && lock != b.Lock:
			locks[m.ID] = lock
		}
		if j.Source != "" && err == nil {
			b.Lock = lock
		}
		return true
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	why := errors.Join(failed...)
	text := ""
	if why != nil {
		text = why.Error()
	}
	if j.Source != "" {
		if why != nil {
			return &runtimes.Failure{Name: "DependencyError", Message: text}
		}
		out.Result, err = json.Marshal(map[string]any{"updated_flow_value": value})
		return err
	}
	if err := x.cfg.Flows.SetLocks(ctx, j.Workspace, int64(j.Hash), locks, text); err != nil {
		return errors.Join(why, err)
	}
	if why != nil {
		return &runtimes.Failure{Name: "DependencyError", Message: text}
	}
	fmt.Fprintln(sink, "dependencies are ready")
	out.Result, err = json.Marshal(map[string]any{"status": "ok", "locks": locks})
	return err
}

// flowValue is the flow whose scripts j makes ready: a deployed one, or the one that came with j.
func (x *Executor) flowValue(ctx context.Context, j *engine.Job) (*format.Value, error) {
	if j.Source != "" {
		return format.ParseValue([]byte(j.Source))
	}
	f, _, err := x.cfg.Flows.Flow(ctx, j.Workspace, j.Path, j.Hash)
	if err != nil {
		return nil, err
	}
	return &f.Value, nil
}

// ready makes the script of a step ready to run, as its jobs will find it, and returns its lock.
func (x *Executor) ready(ctx context.Context, j *engine.Job, b *format.RawScript, sink *sink) (string, error) {
	entry, err := x.cfg.Prepare.Entry(b.Language)
	if err != nil {
		return "", err
	}
	p := program{Program: runtimes.Program{Workspace: j.Workspace, Language: b.Language, Source: b.Content, Network: sandbox.Network(j.Network)}}
	_ = x.cfg.Networks.reach(&p) // where it could not run it can be prepared all the same
	lock := b.Lock
	if lock == "" {
		if lock, err = x.cfg.Prepare.Resolve(ctx, entry, p.Program, sink); err != nil {
			return "", err
		}
	}
	given := &lock
	if lock == "" {
		given = nil // as its jobs have it
	}
	_, err = x.cfg.Prepare.Prepare(ctx, p.Program, given, sink)
	return lock, err
}
