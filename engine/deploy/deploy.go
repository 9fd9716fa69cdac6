// Package deploy is what the outside asks of scripts and flows: it checks permissions in front of the catalog, and after a new
// version is stored it pushes the dependency job that resolves and builds it, so that the first run finds everything ready. A flow is
// judged before it is stored.
package deploy

import (
	"context"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/jobs"
	"github.com/millrace/millrace/runtimes"
)

// Catalog keeps versions of scripts; engine/catalog does.
type Catalog interface {
	Create(ctx context.Context, p engine.Principal, ws string, s *engine.Script, o engine.ScriptOptions) (engine.Hash, bool, error)
	Latest(ctx context.Context, ws, path string) (*engine.Script, error)
	ByHash(ctx context.Context, ws string, h engine.Hash) (*engine.Script, error)
	List(ctx context.Context, ws string, f engine.ScriptFilter) ([]*engine.Script, error)
	History(ctx context.Context, ws, path string) ([]*engine.Script, error)
	Archive(ctx context.Context, ws, path string) error
	Delete(ctx context.Context, ws string, h engine.Hash) error
}

// Gate decides who may do what.
type Gate interface {
	Can(p engine.Principal, verb, ws, path string) error
}

// Runner pushes jobs; engine/jobs does.
type Runner interface {
	Run(ctx context.Context, p engine.Principal, r engine.RunRequest) (uuid.UUID, error)
}

// Scripts is safe for concurrent use.
type Scripts struct {
	catalog  Catalog
	gate     Gate
	runner   Runner
	registry *runtimes.Registry
	// Check, when set, says what else keeps a script from being deployed here.
	Check func(context.Context, *engine.Script) error
}

// New returns Scripts.
func New(c Catalog, g Gate, r Runner, registry *runtimes.Registry) *Scripts {
	return &Scripts{catalog: c, gate: g, runner: r, registry: registry}
}

// Create stores a version and has its dependencies resolved. It returns the version's hash and whether it is new.
func (d *Scripts) Create(ctx context.Context, p engine.Principal, ws string, s *engine.Script, o engine.ScriptOptions) (engine.Hash, bool, error) {
	if err := d.gate.Can(p, "write", ws, s.Path); err != nil {
		return 0, false, err
	}
	if err := jobs.CheckLimits(s); err != nil {
		return 0, false, err
	}
	if d.Check != nil {
		if err := d.Check(ctx, s); err != nil {
			return 0, false, err
		}
	}
	hash, created, err := d.catalog.Create(ctx, p, ws, s, o)
	if err != nil || !created || !d.needsBuild(s) {
		return hash, created, err
	}
	_, err = d.runner.Run(ctx, p, engine.RunRequest{Workspace: ws, Kind: engine.KindDependencies, Hash: hash, Trigger: "deploy"})
	return hash, true, err
}

// needsBuild reports whether a language resolves or builds something before a script can run here.
func (d *Scripts) needsBuild(s *engine.Script) bool {
	e, ok := d.registry.Get(s.Language)
	return ok && (e.Resolver != nil || e.Builder != nil)
}

// Latest returns the newest version at path.
func (d *Scripts) Latest(ctx context.Context, p engine.Principal, ws, path string) (*engine.Script, error) {
	if err := d.gate.Can(p, "read", ws, path); err != nil {
		return nil, err
	}
	return d.catalog.Latest(ctx, ws, path)
}

// ByHash returns one version.
func (d *Scripts) ByHash(ctx context.Context, p engine.Principal, ws string, h engine.Hash) (*engine.Script, error) {
	s, err := d.catalog.ByHash(ctx, ws, h)
	if err != nil {
		return nil, err
	}
	if err := d.gate.Can(p, "read", ws, s.Path); err != nil {
		return nil, err
	}
	return s, nil
}

// List returns the newest versions of the scripts that f selects.
func (d *Scripts) List(ctx context.Context, p engine.Principal, ws string, f engine.ScriptFilter) ([]*engine.Script, error) {
	if err := d.gate.Can(p, "read", ws, ""); err != nil {
		return nil, err
	}
	return d.catalog.List(ctx, ws, f)
}

// History returns all versions at path, newest first.
func (d *Scripts) History(ctx context.Context, p engine.Principal, ws, path string) ([]*engine.Script, error) {
	if err := d.gate.Can(p, "read", ws, path); err != nil {
		return nil, err
	}
	return d.catalog.History(ctx, ws, path)
}

// Archive hides the script at path.
func (d *Scripts) Archive(ctx context.Context, p engine.Principal, ws, path string) error {
	if err := d.gate.Can(p, "write", ws, path); err != nil {
		return err
	}
	return d.catalog.Archive(ctx, ws, path)
}

// Delete removes the content of one version.
func (d *Scripts) Delete(ctx context.Context, p engine.Principal, ws string, h engine.Hash) error {
	s, err := d.catalog.ByHash(ctx, ws, h)
	if err != nil {
		return err
	}
	if err := d.gate.Can(p, "write", ws, s.Path); err != nil {
		return err
	}
	return d.catalog.Delete(ctx, ws, h)
}
