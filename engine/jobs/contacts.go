package jobs

import (
	"context"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
)

// Contacts is what the runs of a job asked for on the network. A run's part is there when its last process has ended.
func (s *Jobs) Contacts(ctx context.Context, p engine.Principal, ws string, id uuid.UUID) ([]engine.Contact, error) {
	v, err := s.Get(ctx, p, ws, id, false) // says who may know, and whether there is such a job
	if err != nil || s.cfg.Contacts == nil {
		return nil, err
	}
	ended := v.State != engine.StateQueued && v.State != engine.StateRunning
	return s.cfg.Contacts.Of(ctx, id, ended)
}
