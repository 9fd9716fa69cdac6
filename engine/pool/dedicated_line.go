package pool

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/millrace/millrace/runtimes"
)

// turn is one run of a dedicated script.
type turn struct {
	run           // its Worker and process are set when it is sent
	number uint64 // set when it is sent
	size   int    // of its request
	total  int64  // bytes of output; only the goroutine that reads it
	begun  time.Time
	left   bool   // nobody waits for it any more: it must not run; guarded by line.mu
	shift  *shift // set when it is sent

	// Of a workflow, see dedicated_abreast.go.
	asked  [][]byte // what it asks for and nobody has passed on; guarded by line.mu
	asking bool     // somebody does; guarded by line.mu
	talks  sync.WaitGroup

	result Result // written before done is closed, like err
	err    error
	done   chan struct{}
}

func newTurn(t Task) *turn {
	return &turn{run: run{t: t, limits: t.Limits.WithDefaults()}, done: make(chan struct{})}
}

// end tells who waits. Nobody touches the turn afterwards.
func (t *turn) end(res Result, err error) {
	t.result, t.err = res, err
	close(t.done)
}

// line is the runs of one Share.
type line struct {
	d      *dedicated
	key    lineKey
	launch runtimes.Launch

	mu      sync.Mutex
	waiting []*turn   // not sent to a process; guarded by mu
	shift   *shift    // the process, perhaps being started; nil: none; guarded by mu
	used    time.Time // when the last turn ended; guarded by mu
	closed  bool      // takes no turns any more; guarded by mu
}

// join adds a turn and sees to it that somebody serves it; false: the line has been closed, look for another.
func (l *line) join(t *turn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	at := len(l.waiting)
	for at > 0 && l.waiting[at-1].t.Priority < t.t.Priority {
		at--
	}
	l.waiting = slices.Insert(l.waiting, at, t)
	if l.shift == nil {
		l.shift = newShift(l)
		first := l.shift
		if !l.d.pool.spawn(func() { l.serve(first) }) {
			l.shift, l.waiting, l.closed = nil, nil, true
			t.end(Result{}, errStopped)
		}
		return true
	}
	l.shift.send()
	if l.shift.abreast && l.shift.leaving {
		l.shift.handOver()
	}
	return true
}

// await returns what came of t, or takes it out of the line when ctx ends.
func (l *line) await(ctx context.Context, t *turn) (Result, bool, error) {
	defer t.talks.Wait()
	select {
	case <-t.done:
		return t.result, true, t.err
	case <-ctx.Done():
	}
	if l.leave(t) {
		return Result{Stopped: StoppedCanceled, Failure: t.failure(StoppedCanceled, noExit)}, true, nil
	}
	<-t.done
	return t.result, true, t.err
}

// leave takes a turn that has not begun out of the line, and stops one that has; false: wait for its end.
func (l *line) leave(t *turn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := slices.Index(l.waiting, t); i >= 0 {
		l.waiting = slices.Delete(l.waiting, i, i+1)
		return true
	}
	s := t.shift
	if s == nil {
		return false // it has just ended
	}
	if s.abreast {
		s.drop(t, StoppedCanceled)
		return false
	}
	switch i := slices.Index(s.sent, t); {
	case i > 0:
		t.left = true // the process is stopped before it would begin
		return true
	case i == 0:
		t.stop(StoppedCanceled)
	}
	return false
}

// serve has one process after the other work, s first, until nobody waits or another has taken over.
func (l *line) serve(s *shift) {
	for {
		err := s.work()
		l.mu.Lock()
		if l.shift != s {
			l.mu.Unlock()
			return
		}
		if err != nil || l.d.pool.ctx.Err() != nil {
			failed := l.waiting
			l.waiting = nil
			if err == nil {
				err = errStopped
			}
			for _, t := range failed {
				t.end(Result{}, err)
			}
		}
		if len(l.waiting) == 0 {
			l.shift, l.closed = nil, true
			l.mu.Unlock()
			l.d.forget(l)
			return
		}
		s = newShift(l)
		l.shift = s
		l.mu.Unlock()
	}
}

// forget removes a line that has no process any more.
func (d *dedicated) forget(l *line) {
	d.mu.Lock()
	if d.lines[l.key] == l {
		delete(d.lines, l.key)
	}
	d.mu.Unlock()
}

// retire ends the process as soon as it has nothing left to do. Turns that come from now on belong to another line.
func (l *line) retire() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.shift != nil && len(l.waiting) == 0 {
		l.shift.leave()
	}
}

// load is how many turns the line has.
func (l *line) load() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.waiting)
	if l.shift != nil {
		n += len(l.shift.sent) + len(l.shift.live)
	}
	return n
}

// idle says since when the line has had nothing to do.
func (l *line) idle() (since time.Time, idle bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.shift
	return l.used, s != nil && s.open && len(s.sent) == 0 && len(s.live) == 0 && len(l.waiting) == 0
}
