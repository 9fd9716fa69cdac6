// Package bus wakes whoever waits for a job of this process: a signal says "something about this job changed", never what.
// Signals merge: a slow listener finds at most one waiting. The last completed jobs are remembered, so that who waits for a
// job of this process needs no query for its result.
package bus

import (
	"sync"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
)

const shards = 64

// Bus is safe for concurrent use. The zero value is not ready; call New.
type Bus struct {
	shard [shards]shard
}

type shard struct {
	mu   sync.Mutex
	subs map[uuid.UUID][]sub           // guarded by mu
	done map[uuid.UUID]*engine.JobView // the last of recent; guarded by mu
	ring [recent]uuid.UUID             // keys of done, oldest at next; guarded by mu
	next int                           // guarded by mu
	held map[uuid.UUID]*engine.JobView // too large to be remembered, while somebody watches; guarded by mu
}

// sub is one who watches a job.
type sub struct {
	c   chan struct{}
	all bool // also while it only goes on
}

const (
	recent    = 64       // completed jobs remembered in a shard
	recentMax = 64 << 10 // bytes of arguments and result of a remembered job
)

// New returns an empty bus.
func New() *Bus {
	b := &Bus{}
	for i := range b.shard {
		b.shard[i].subs = map[uuid.UUID][]sub{}
		b.shard[i].done = map[uuid.UUID]*engine.JobView{}
		b.shard[i].held = map[uuid.UUID]*engine.JobView{}
	}
	return b
}

func (b *Bus) of(id uuid.UUID) *shard { return &b.shard[id[15]%shards] }

// Watch returns a channel that receives a signal after every Publish and Progress of id, and a function that ends the subscription.
func (b *Bus) Watch(id uuid.UUID) (<-chan struct{}, func()) { return b.subscribe(id, true) }

// Await does the same for those to whom nothing matters but the end, or the answer: they hear nothing of Progress.
func (b *Bus) Await(id uuid.UUID) (<-chan struct{}, func()) { return b.subscribe(id, false) }

func (b *Bus) subscribe(id uuid.UUID, all bool) (<-chan struct{}, func()) {
	c := make(chan struct{}, 1)
	s := b.of(id)
	s.mu.Lock()
	s.subs[id] = append(s.subs[id], sub{c, all})
	s.mu.Unlock()
	var once sync.Once
	return c, func() { once.Do(func() { s.drop(id, c) }) }
}

// Watched tells whether anybody watches id now.
func (b *Bus) Watched(id uuid.UUID) bool {
	s := b.of(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.subs[id]) > 0
}

func (s *shard) drop(id uuid.UUID, c chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.subs[id]
	for i, x := range list {
		if x.c == c {
			list = append(list[:i:i], list[i+1:]...)
			break
		}
	}
	if len(list) == 0 {
		delete(s.subs, id)
		delete(s.held, id)
		return
	}
	s.subs[id] = list
}

// Publish signals everybody who watches id; it never blocks.
func (b *Bus) Publish(id uuid.UUID) {
	s := b.of(id)
	s.mu.Lock()
	s.signal(id, true)
	s.mu.Unlock()
}

// Progress signals those who watch how id goes on. A flow does so at every step, and who waits for its end would look for it each time.
func (b *Bus) Progress(id uuid.UUID) {
	s := b.of(id)
	s.mu.Lock()
	s.signal(id, false)
	s.mu.Unlock()
}

// signal signals those who watch id, and, if it matters to them, those who await it. mu is held.
func (s *shard) signal(id uuid.UUID, matters bool) {
	for _, to := range s.subs[id] {
		if !matters && !to.all {
			continue
		}
		select {
		case to.c <- struct{}{}:
		default:
		}
	}
}

// PublishDone remembers a completed job whose outcome is durable, a large one for as long as somebody watches it, and signals everybody who
// does. v must not be changed afterwards.
func (b *Bus) PublishDone(v *engine.JobView) {
	s := b.of(v.ID)
	s.mu.Lock()
	if len(v.Args)+len(v.Result) <= recentMax {
		delete(s.done, s.ring[s.next])
		s.ring[s.next] = v.ID
		s.next = (s.next + 1) % recent
		s.done[v.ID] = v
	} else if len(s.subs[v.ID]) > 0 { // reading a megabyte back takes longer than many a job
		s.held[v.ID] = v
	}
	s.signal(v.ID, true)
	s.mu.Unlock()
}

// Done returns a completed job if it is remembered. It must not be changed.
func (b *Bus) Done(id uuid.UUID) (*engine.JobView, bool) {
	s := b.of(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if v, ok := s.done[id]; ok {
		return v, true
	}
	v, ok := s.held[id]
	return v, ok
}
