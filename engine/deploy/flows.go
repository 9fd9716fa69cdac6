package deploy

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/flow/check"
	"github.com/millrace/millrace/engine/flow/format"
	"github.com/millrace/millrace/runtimes"
)

// FlowCatalog keeps versions of flows; engine/catalog does.
type FlowCatalog interface {
	Create(ctx context.Context, p engine.Principal, ws string, f *engine.Flow, o engine.FlowOptions) (int64, bool, error)
	Latest(ctx context.Context, ws, path string) (*engine.Flow, error)
	ByVersion(ctx context.Context, ws string, version int64) (*engine.Flow, error)
	List(ctx context.Context, ws string, f engine.FlowFilter) ([]*engine.Flow, error)
	History(ctx context.Context, ws, path string) ([]*engine.Flow, error)
	Archive(ctx context.Context, ws, path string, on bool) error
	Delete(ctx context.Context, ws, path string) (bool, error)
}

// Checker judges flows; engine/jobs does.
type Checker interface {
	CheckFlow(ctx context.Context, ws, path string, f *format.Flow) ([]check.Finding, error)
}

// Flows is what the outside asks of deployed flows. It is safe for concurrent use.
type Flows struct {
	catalog  FlowCatalog
	gate     Gate
	runner   Runner
	checker  Checker
	registry *runtimes.Registry
}

// NewFlows returns Flows.
func NewFlows(c FlowCatalog, g Gate, r Runner, ch Checker, registry *runtimes.Registry) *Flows {
	return &Flows{catalog: c, gate: g, runner: r, checker: ch, registry: registry}
}

// Create checks a flow, stores it as a version, and has the scripts that are written in it made ready. It returns the version's
// number, whether it is new, and what may be wrong with the flow; what is certainly wrong is an error.
func (d *Flows) Create(ctx context.Context, p engine.Principal, ws string, f *engine.Flow, o engine.FlowOptions) (int64, bool, []check.Finding, error) {
	if err := d.gate.Can(p, "write", ws, f.Path); err != nil {
		return 0, false, nil, err
	}
	if o.Replace != "" && o.Replace != f.Path {
		if err := d.gate.Can(p, "write", ws, o.Replace); err != nil {
			return 0, false, nil, err
		}
	}
	as, findings, err := d.check(ctx, ws, f)
	if err != nil {
		return 0, false, nil, err
	}
	n := *f
	if n.Locks = nil; !d.needsBuild(as) {
		n.Locks = map[string]string{}
	}
	version, created, err := d.catalog.Create(ctx, p, ws, &n, o)
	if err != nil || !created || n.Locks != nil {
		return version, created, findings, err
	}
	_, err = d.runner.Run(ctx, p, engine.RunRequest{Workspace: ws, Kind: engine.KindFlowDependencies, Path: f.Path, Hash: engine.Hash(version), Trigger: "deploy"})
	return version, true, findings, err
}

// check reads a flow and judges it.
func (d *Flows) check(ctx context.Context, ws string, f *engine.Flow) (*format.Flow, []check.Finding, error) {
	const op = "flow.create"
	v, err := format.ParseValue(f.Value)
	if problems := (format.Problems)(nil); errors.As(err, &problems) {
		return nil, nil, check.Refusal(op, f.Path, check.Problems(problems))
	}
	if err != nil {
		return nil, nil, &engine.Error{Code: engine.Invalid, Op: op, Path: f.Path, Msg: err.Error()}
	}
	v.FillIDs()
	if err := checkPriority(f); err != nil {
		return nil, nil, err
	}
	as := &format.Flow{Summary: f.Summary, Description: f.Doc, Value: *v, Schema: f.Schema}
	findings, err := d.checker.CheckFlow(ctx, ws, f.Path, as)
	if err != nil {
		return nil, nil, err
	}
	return as, findings, check.Refusal(op, f.Path, findings)
}

// checkPriority verifies the one field beside the value that changes how a flow runs and is kept as it was sent.
func checkPriority(f *engine.Flow) error {
	v := f.Extra["priority"]
	n := 0
	if len(v) > 0 && (json.Unmarshal(v, &n) != nil || n < 0 || n > 100) {
		return &engine.Error{Code: engine.Invalid, Op: "flow.create", Path: f.Path, Msg: "priority must be a whole number from 0 to 100, not " + string(v)}
	}
	return nil
}

// needsBuild reports whether a language resolves or builds something before a script of the flow can run here.
func (d *Flows) needsBuild(f *format.Flow) (needed bool) {
	f.Value.Walk(func(m *format.Module, _ format.Place) bool {
		if b, ok := m.Value.(*format.RawScript); ok {
			e, known := d.registry.Get(b.Language)
			needed = needed || known && (e.Resolver != nil || e.Builder != nil)
		}
		return true
	})
	return needed
}

// Latest returns the newest version at path.
func (d *Flows) Latest(ctx context.Context, p engine.Principal, ws, path string) (*engine.Flow, error) {
	if err := d.gate.Can(p, "read", ws, path); err != nil {
		return nil, err
	}
	return d.catalog.Latest(ctx, ws, path)
}

// ByVersion returns one version.
func (d *Flows) ByVersion(ctx context.Context, p engine.Principal, ws string, version int64) (*engine.Flow, error) {
	f, err := d.catalog.ByVersion(ctx, ws, version)
	if err != nil {
		return nil, err
	}
	if err := d.gate.Can(p, "read", ws, f.Path); err != nil {
		return nil, err
	}
	return f, nil
}

// List returns the newest versions of the flows that f selects.
func (d *Flows) List(ctx context.Context, p engine.Principal, ws string, f engine.FlowFilter) ([]*engine.Flow, error) {
	if err := d.gate.Can(p, "read", ws, ""); err != nil {
		return nil, err
	}
	return d.catalog.List(ctx, ws, f)
}

// History returns all versions at path, newest first.
func (d *Flows) History(ctx context.Context, p engine.Principal, ws, path string) ([]*engine.Flow, error) {
	if err := d.gate.Can(p, "read", ws, path); err != nil {
		return nil, err
	}
	return d.catalog.History(ctx, ws, path)
}

// Archive hides the flow at path, or with on false shows it again.
func (d *Flows) Archive(ctx context.Context, p engine.Principal, ws, path string, on bool) error {
	if err := d.gate.Can(p, "write", ws, path); err != nil {
		return err
	}
	return d.catalog.Archive(ctx, ws, path, on)
}

// Delete removes the flow at path with all its versions; false: there was none.
func (d *Flows) Delete(ctx context.Context, p engine.Principal, ws, path string) (bool, error) {
	if err := d.gate.Can(p, "write", ws, path); err != nil {
		return false, err
	}
	return d.catalog.Delete(ctx, ws, path)
}
