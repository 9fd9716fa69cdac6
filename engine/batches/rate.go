package batches

import (
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
)

// rates remembers what was seen of batches when somebody looked, to tell how fast they go.
type rates struct {
	mu   sync.Mutex
	seen map[uuid.UUID]*pace // guarded by mu
}

// pace is what was seen of one batch lately, oldest first.
type pace struct {
	looks []look
}

type look struct {
	at   time.Time
	done int64
}

const (
	lately   = 10 * time.Second       // what a rate is taken over
	lookGap  = 500 * time.Millisecond // looks closer together than this tell nothing new
	maxPaces = 1000                   // batches that are remembered
)

// of returns the completed jobs a second over the last looks, or, at a first look, since the batch began.
func (r *rates) of(b *engine.Batch, now time.Time) float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if b.FinishedAt != nil {
		delete(r.seen, b.ID)
		return over(b.Done, b.FinishedAt.Sub(b.CreatedAt))
	}
	p := r.seen[b.ID]
	if p == nil {
		r.make(now)
		p = &pace{}
		r.seen[b.ID] = p
	}
	for len(p.looks) > 1 && now.Sub(p.looks[1].at) > lately {
		p.looks = p.looks[1:]
	}
	if n := len(p.looks); n > 0 && now.Sub(p.looks[n-1].at) > 3*lately {
		p.looks = nil // nobody looked for long
	}
	if n := len(p.looks); n == 0 || now.Sub(p.looks[n-1].at) >= lookGap {
		p.looks = append(p.looks, look{now, b.Done})
	}
	if first := p.looks[0]; now.Sub(first.at) >= lookGap {
		return over(b.Done-first.done, now.Sub(first.at))
	}
	return over(b.Done, now.Sub(b.CreatedAt))
}

// make makes room for one more. Called with mu held.
func (r *rates) make(now time.Time) {
	for id, p := range r.seen {
		if len(r.seen) < maxPaces {
			return
		}
		if n := len(p.looks); n == 0 || now.Sub(p.looks[n-1].at) > lately {
			delete(r.seen, id)
		}
	}
	if len(r.seen) >= maxPaces {
		clear(r.seen)
	}
}

func over(n int64, d time.Duration) float64 {
	if n <= 0 || d <= 0 {
		return 0
	}
	return float64(n) / d.Seconds()
}
