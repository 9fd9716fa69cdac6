package jobs

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/cached"
	"github.com/millrace/millrace/engine/store"
)

// Cache knows which results are good for another run.
type Cache interface {
	CacheGet(ctx context.Context, key []byte) (uuid.UUID, error)
	CacheSet(ctx context.Context, c store.FlowCache) error
}

// cacheKey names the result of j; nil: it stands for no other run, or the caller wants this very one.
func (s *Jobs) cacheKey(r engine.RunRequest, j *engine.Job) []byte {
	if s.cfg.Cache == nil || j.CacheFor <= 0 || j.Debounce != nil || r.ID != nil || j.IdempotencyKey != "" || !j.ScheduledFor.IsZero() {
		return nil
	}
	return cached.Key(j, j.CacheAnyPath)
}

// reuse returns the job whose result is good for key.
func (s *Jobs) reuse(ctx context.Context, key []byte) (uuid.UUID, bool, error) {
	if key == nil {
		return uuid.Nil, false, nil
	}
	id, err := s.cfg.Cache.CacheGet(ctx, key)
	if store.IsNotFound(err) {
		return uuid.Nil, false, nil
	}
	return id, err == nil, err
}

// early is a flow that has answered already, as who waits for it sees it; nil: it has not.
func (s *Jobs) early(ctx context.Context, v *engine.JobView) (*engine.JobView, error) {
	if s.cfg.Answer == nil || v.Kind != engine.KindFlow && v.Kind != engine.KindFlowPreview {
		return nil, nil
	}
	answer, ok, err := s.cfg.Answer(ctx, v.ID)
	if !ok || err != nil {
		return nil, err
	}
	now, early := time.Now(), *v
	early.State, early.Result, early.FinishedAt = engine.StateSuccess, answer, &now
	return &early, nil
}
