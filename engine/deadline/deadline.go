// Package deadline gives one context to many who are to be done by about the same time. A timer for each of ten thousand jobs a second
// costs more than what it guards.
package deadline

import (
	"context"
	"sync"
	"time"
)

// parts is how exact a deadline is: it comes late by at most this part of its time.
const parts = 32

// Shared is a time limit. The zero value is not ready; call New. It is safe for concurrent use.
type Shared struct {
	limit time.Duration

	mu     sync.Mutex
	parent context.Context    // of ctx; guarded by mu
	ctx    context.Context    // the last that was made; guarded by mu
	made   time.Time          // when that was; guarded by mu
	end    context.CancelFunc // of ctx, which also ends by itself; guarded by mu
}

// New returns a limit of d.
func New(d time.Duration) *Shared { return &Shared{limit: d} }

// Context returns a context that ends with parent, or when the limit is over from now: not before, and at most a 32nd later.
func (s *Shared) Context(parent context.Context) context.Context {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx == nil || s.parent != parent || now.Sub(s.made) > s.limit/parts {
		s.parent, s.made = parent, now
		s.ctx, s.end = context.WithTimeout(parent, s.limit+s.limit/parts)
	}
	return s.ctx
}
