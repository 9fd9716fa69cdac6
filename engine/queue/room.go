package queue

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store"
)

// room bounds how many jobs wait. For each bounded set of jobs (all of the database, those of one tag) it knows a number that
// the waiting ones do not exceed: what a look counted, plus what was pushed since. While that is below the bound a push costs
// nothing; otherwise it looks again, and that count decides. Pushes of other processes are seen at looks only.
type room struct {
	mu     sync.Mutex
	levels map[string]*level // by tag, "" is all; guarded by mu
}

const (
	lookKeeps  = 10 * time.Second // a look is good for so long, and while there are other processes:
	lookShared = time.Second
	// A look at many jobs that takes long is not repeated before looks are a tenth of the time: until then its answer stands.
	lookMany  = 10_000
	lookCheap = 5 * time.Millisecond
	lookPause = 10
	levelIdle = time.Minute // a tag's level that nobody asked for so long is forgotten
	roomHint  = "try again when some have run, or raise the bound"
)

// level is guarded by room.mu.
type level struct {
	taken   int64 // seats ever taken, less those given back
	settled int64 // of those, the ones whose jobs are stored

	looked time.Time // when the last good look began; zero: never
	next   time.Time // no look before
	count  int64     // what it counted
	most   int64     // it counted no further
	before int64     // settled when it began
	asked  time.Time // when it was asked for last

	look *look // in flight; nil: none
}

// look is one count that everybody who wants it at the same time shares.
type look struct {
	done chan struct{}
	err  error // set before done is closed
}

// upper is what the waiting jobs do not exceed; false: it is not known for this bound.
func (l *level) upper(bound int64, fresh time.Duration) (int64, bool) {
	if l.looked.IsZero() || time.Since(l.looked) > fresh || (l.count >= l.most && bound > l.most) {
		return 0, false
	}
	return l.count + l.taken - l.before, true
}

// seats are the places that jobs have in the levels that count them.
type seats struct {
	room *room
	jobs [][2]*level // nil: no level
}

// settle says which jobs are stored and wait; the seats of the others are free again.
func (s *seats) settle(waits func(i int) bool) {
	if s == nil {
		return
	}
	s.room.mu.Lock()
	defer s.room.mu.Unlock()
	for i, levels := range s.jobs {
		for _, l := range levels {
			switch {
			case l == nil:
			case waits(i):
				l.settled++
			default:
				l.taken--
			}
		}
	}
}

func nobody(int) bool { return false }

// seat takes seats for jobs that may have to wait, or says that there are none. nil: nothing bounds them.
func (q *Queue) seat(ctx context.Context, jobs ...*engine.Job) (*seats, error) {
	q.room.mu.Lock()
	bounded := q.cfg.MaxQueued > 0 || len(q.room.levels) > 0
	q.room.mu.Unlock()
	if !bounded {
		for _, j := range jobs {
			bounded = bounded || j.QueueLimit > 0
		}
		if !bounded {
			return nil, nil
		}
	}
	s := &seats{room: &q.room}
	for _, j := range jobs {
		all, err := q.sit(ctx, "", q.cfg.MaxQueued)
		if err == nil {
			s.jobs = append(s.jobs, [2]*level{all, nil})
			s.jobs[len(s.jobs)-1][1], err = q.sit(ctx, j.Tag, j.QueueLimit)
		}
		if err != nil {
			s.settle(nobody)
			return nil, err
		}
	}
	return s, nil
}

// sit takes a seat in a level; bound 0: whatever it holds, and only if the level is kept at all.
func (q *Queue) sit(ctx context.Context, tag string, bound int64) (*level, error) {
	r := &q.room
	fresh := lookKeeps
	if q.others.Load() > 0 {
		fresh = lookShared
	}
	for looked := false; ; looked = true {
		r.mu.Lock()
		l := r.level(tag, bound > 0)
		if l == nil || bound <= 0 {
			if l != nil {
				l.taken++
			}
			r.mu.Unlock()
			return l, nil
		}
		n, known := l.upper(bound, fresh)
		if known && n < bound {
			l.taken++
			r.mu.Unlock()
			return l, nil
		}
		if known && (looked || time.Now().Before(l.next)) {
			r.mu.Unlock()
			return nil, full(tag, n, bound)
		}
		k := l.look
		if k == nil {
			k = &look{done: make(chan struct{})}
			l.look = k
			go q.count(tag, l, bound)
		}
		r.mu.Unlock()
		select {
		case <-k.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if k.err != nil {
			return nil, wrap(k.err)
		}
	}
}

// level returns the level of a tag and forgets idle ones. Called with mu held.
func (r *room) level(tag string, wanted bool) *level {
	l := r.levels[tag]
	if !wanted {
		return l
	}
	now := time.Now()
	if l == nil {
		for old, x := range r.levels {
			if x.look == nil && now.Sub(x.asked) > levelIdle {
				delete(r.levels, old)
			}
		}
		l = &level{}
		r.levels[tag] = l
	}
	l.asked = now
	return l
}

// count looks how many jobs wait.
func (q *Queue) count(tag string, l *level, most int64) {
	ctx, cancel := context.WithTimeout(context.Background(), q.cfg.FlushTime)
	defer cancel()
	q.room.mu.Lock()
	k, before, began := l.look, l.settled, time.Now()
	q.room.mu.Unlock()
	var n int64
	k.err = q.patiently(ctx, func() (err error) {
		n, err = q.cfg.DB.RoomTaken(ctx, tag, most)
		return err
	})
	q.room.mu.Lock()
	defer q.room.mu.Unlock()
	if k.err == nil {
		l.looked, l.count, l.most, l.before, l.next = began, n, most, before, time.Time{}
		if took := time.Since(began); n >= lookMany && took > lookCheap {
			l.next = time.Now().Add(min(lookPause*took, lookShared))
		}
	}
	l.look = nil
	close(k.done)
}

// full is the refusal of a push.
func full(tag string, n, bound int64) error {
	what, hint := "jobs", roomHint
	if tag != "" {
		what, hint = "jobs with the tag "+tag, "try again when some have run, or raise queue_limit"
	}
	return &engine.Error{Code: engine.TooMany, Op: "job.push", Msg: fmt.Sprintf("the queue is full: %d %s wait, %d may", min(n, bound), what, bound), Hint: hint}
}

// waiting says that an insert left its job in the queue.
func waiting(i *store.JobInsert) bool {
	if !i.Inserted {
		return false
	}
	if i.Gate == 0 {
		return i.Worker == 0
	}
	return i.Admitted == nil || !i.Admitted.Running
}
