package jobs

import (
	"errors"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/flow/check"
	"github.com/millrace/millrace/engine/flow/format"
)

// lockTarget is a job that resolves what a source depends on, or the scripts that are written in a flow, for somebody who keeps the locks
// elsewhere: nothing is deployed.
func (s *Jobs) lockTarget(r engine.RunRequest, j *engine.Job) error {
	j.Tag = "dependency"
	if j.Kind == engine.KindDependencies {
		_, err := s.language(r.Language)
		return err
	}
	_, err := format.ParseValue([]byte(r.Source))
	var problems format.Problems
	if errors.As(err, &problems) {
		return findings(check.Problems(problems))
	}
	if err != nil {
		return engine.Errorf(engine.Invalid, "flow.lock", "%v", err)
	}
	return nil
}
