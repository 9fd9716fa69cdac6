package batches

import (
	"context"

	"github.com/millrace/millrace/engine"
)

// Relimit gives jobs that have a limit one of their own arguments.
func (scripts) Relimit(_ context.Context, j *engine.Job) error {
	if j.Limit != nil {
		l := *j.Limit
		l.Key = string(j.Args)
		j.Limit = &l
	}
	return nil
}
