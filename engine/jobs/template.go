package jobs

import (
	"context"

	"github.com/millrace/millrace/engine"
)

// Template makes the job that r asks for, checked and with its code found, and does not push it: batches copy it for each row.
func (s *Jobs) Template(ctx context.Context, p engine.Principal, r engine.RunRequest) (*engine.Job, error) {
	return s.build(ctx, p, r)
}
