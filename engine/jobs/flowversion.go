package jobs

import (
	"context"
	"encoding/json"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/flow/check"
	"github.com/millrace/millrace/engine/flow/format"
	"github.com/millrace/millrace/runtimes/signature"
)

// Flows finds deployed flows; engine/catalog has them.
type Flows interface {
	Latest(ctx context.Context, ws, path string) (*engine.Flow, error)
	ByVersion(ctx context.Context, ws string, version int64) (*engine.Flow, error)
	// Flow is a version as it runs; version 0: what path stands for now.
	Flow(ctx context.Context, ws, path string, version engine.Hash) (*format.Flow, engine.Hash, error)
}

// versionTarget fills in the version of a flow that runs. It stays the same until the run ends, whatever is deployed meanwhile.
func (s *Jobs) versionTarget(ctx context.Context, r engine.RunRequest, j *engine.Job) error {
	if s.cfg.Flows == nil {
		return noFlow(r.Path)
	}
	var f *engine.Flow
	var err error
	switch {
	case r.Hash != 0:
		f, err = s.cfg.Flows.ByVersion(ctx, r.Workspace, int64(r.Hash))
	case r.Path == "":
		return &engine.Error{Code: engine.Invalid, Op: "job.run", Msg: "nothing to run", Hint: "give the path of a flow, or a version"}
	default:
		f, err = s.cfg.Flows.Latest(ctx, r.Workspace, r.Path)
	}
	if err != nil {
		return err
	}
	j.Path, j.Hash = f.Path, f.Hash()
	if j.Kind == engine.KindFlowDependencies {
		j.Tag = "dependency"
		return nil
	}
	as, _, err := s.cfg.Flows.Flow(ctx, r.Workspace, f.Path, j.Hash)
	if err != nil {
		return err
	}
	if as.Value.PreprocessorModule != nil {
		if err := preprocessed(r, j); err != nil {
			return err
		}
	}
	for _, tag := range []string{as.Tag, FlowTag} {
		if j.Tag == "" {
			j.Tag = tag
		}
	}
	if j.Priority == 0 {
		j.Priority = int16(as.Priority)
	}
	if err := checkTag(j.Path, j.Tag, 0); err != nil {
		return err
	}
	j.Timeout = pick(j.Timeout, seconds(as.Timeout))
	s.LimitFlow(j, &as.Value)
	return nil
}

// Flow implements runner.Catalog.
func (s *Jobs) Flow(ctx context.Context, ws, path string, version engine.Hash) (*format.Flow, engine.Hash, error) {
	if s.cfg.Flows == nil {
		return nil, 0, noFlow(path)
	}
	return s.cfg.Flows.Flow(ctx, ws, path, version)
}

// Arguments implements runner.Catalog.
func (s *Jobs) Arguments(f *format.Flow, args json.RawMessage) error {
	return s.validators.Check(f.Schema, args)
}

func noFlow(path string) error {
	return &engine.Error{Code: engine.NotFound, Op: "flow.get", Path: path, Msg: "there is no such flow"}
}

// CheckFlow says what is wrong with a flow that is to be deployed at path, and what may be.
func (s *Jobs) CheckFlow(ctx context.Context, ws, path string, f *format.Flow) ([]check.Finding, error) {
	look := s.around(ws, path)
	look.Source = s.source
	return check.Flow(ctx, f, look)
}

// around knows what lies outside of a flow: the scripts and flows that it names.
func (s *Jobs) around(ws, path string) check.Lookup {
	look := check.Lookup{Path: path, Script: func(ctx context.Context, path, hash string) (*check.Target, error) {
		script, err := s.namedScript(ctx, ws, path, hash)
		if known, err := isThere(err); !known {
			return nil, err
		}
		target := &check.Target{Inputs: script.Schema}
		if in, err := s.source(script.Language, script.Content); err == nil { // what it returns is only in the source
			target.Result = in.Result
		}
		return target, nil
	}}
	look.Flow = func(ctx context.Context, path string) (*format.Flow, error) {
		f, _, err := s.Flow(ctx, ws, path, 0)
		if known, err := isThere(err); !known {
			return nil, err
		}
		return f, nil
	}
	return look
}

// isThere tells an answer from an error that says that there is none.
func isThere(err error) (bool, error) {
	if engine.CodeOf(err) == engine.NotFound {
		return false, nil
	}
	return err == nil, err
}

// source is what a language says of a script in a flow.
func (s *Jobs) source(language, content string) (*check.Target, error) {
	e, err := s.language(language)
	if err != nil {
		return nil, err
	}
	sig, err := e.Parse(content)
	if err != nil {
		return nil, err
	}
	return &check.Target{Inputs: signature.Schema(sig), Result: signature.Result(sig)}, nil
}
