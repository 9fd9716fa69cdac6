package jobs

import (
	"context"
	"errors"
	"strings"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/flow/check"
	"github.com/millrace/millrace/engine/flow/format"
	"github.com/millrace/millrace/engine/flow/runner"
)

// FlowTag is that of flows themselves: they begin inside a daemon, and their steps have tags of their own.
const FlowTag = "flow"

// flowTarget checks a flow that was sent with the request.
func (s *Jobs) flowTarget(ctx context.Context, r engine.RunRequest, j *engine.Job) error {
	if j.Tag == "" {
		j.Tag = FlowTag
	}
	v, err := format.ParseValue([]byte(r.Source))
	var problems format.Problems
	if errors.As(err, &problems) {
		return findings(check.Problems(problems))
	}
	if err != nil {
		return engine.Errorf(engine.Invalid, "flow.run", "%v", err)
	}
	v.FillIDs()
	found, err := check.Flow(ctx, &format.Flow{Value: *v}, s.around(r.Workspace, r.Path))
	if err != nil {
		return err
	}
	text, err := v.MarshalJSON()
	if err != nil {
		return err
	}
	j.Source = string(text)
	if r.Event != nil && v.PreprocessorModule == nil {
		return engine.Errorf(engine.Invalid, "flow.run", "the flow has no preprocessor_module that an event could be for")
	}
	if err := preprocessed(r, j); err != nil {
		return err
	}
	s.LimitFlow(j, v)
	return findings(found)
}

func (s *Jobs) namedScript(ctx context.Context, ws, path, hash string) (*engine.Script, error) {
	if hash == "" {
		return s.cfg.Scripts.Latest(ctx, ws, path)
	}
	h, err := engine.ParseHash(hash)
	if err != nil {
		return nil, err
	}
	return s.cfg.Scripts.ByHash(ctx, ws, h)
}

// findings makes one error of what is wrong with a flow; warnings are none.
func findings(list []check.Finding) error { return check.Refusal("flow.run", "", list) }

// Step says what the job of a flow's step runs. The job runs as its flow does, so it needs the right to run what it names.
func (s *Jobs) Step(ctx context.Context, j *engine.Job, st runner.StepOf) error {
	r := engine.RunRequest{Workspace: j.Workspace}
	devices, language := false, ""
	switch b := st.Module.Value.(type) {
	case *format.RawScript:
		r.Source, r.Language, j.Tag = b.Content, b.Language, flowTag(st, b.Tag)
		j.Source, j.Language, language = b.Content, b.Language, b.Language
		if b.Lock != "" {
			j.Lock = &b.Lock
		}
	case *format.Script:
		script, err := s.namedScript(ctx, j.Workspace, b.Path, b.Hash)
		if err != nil {
			return err
		}
		r.Path, r.Hash, j.Tag = b.Path, script.Hash, b.TagOverride
		devices, language = script.Options.GPU > 0, script.Language
		switch {
		case devices: // it goes where they are
		case b.TagOverride == "":
			j.Tag = flowTag(st, script.Tag)
		default:
			j.Tag = flowTag(st, b.TagOverride)
		}
	default:
		return engine.Errorf(engine.Invalid, "flow.step", "modules of the kind %s are no jobs", b.Kind())
	}
	owner := engine.Principal{Username: strings.TrimPrefix(j.PermissionedAs, "u/"), Email: j.Email, Workspace: j.Workspace, Via: "job"}
	if err := s.cfg.Gate.Can(owner, "run", j.Workspace, r.Path); err != nil {
		return err
	}
	if err := s.target(ctx, r, j); err != nil {
		return err
	}
	s.limitStep(j, st)
	if st.Squash && st.Home == "" && !devices {
		s.squash(j, language)
	}
	if st.Home != "" && !devices {
		j.Tag = st.Home
	}
	if j.Network == "" && j.Kind != engine.KindScript {
		j.Network = s.cfg.Network
	}
	return nil
}

// squash has a step run where processes are kept, unless its tag says that it runs elsewhere.
func (s *Jobs) squash(j *engine.Job, language string) {
	entry, ok := s.cfg.Registry.Get(language)
	if !ok {
		return // whoever runs it says so
	}
	if info := entry.Info(); j.Tag == info.Tag && info.DedicatedTag() != "" {
		j.Tag = info.DedicatedTag()
	}
}
