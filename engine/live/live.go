// Package live holds the output of running jobs between the moment it is written and the moment it is stored, so that a
// reader of a running job sees every byte at once without waiting for the database.
//
// A Log is a bounded text with a stored prefix: [0, stored) is in the database, [stored, end) is here. Offsets count bytes
// from the start of the job.
package live

import (
	"sync"

	"github.com/google/uuid"
)

// Logs finds the logs of running jobs.
type Logs struct {
	mu   sync.RWMutex
	open map[uuid.UUID]*Job // guarded by mu
}

// Job is the output of one running attempt.
type Job struct {
	Log    Text
	Stream Text
}

// New returns an empty set.
func New() *Logs { return &Logs{open: map[uuid.UUID]*Job{}} }

// Open starts the output of a job; Close must follow.
func (l *Logs) Open(id uuid.UUID) *Job {
	j := &Job{}
	l.mu.Lock()
	l.open[id] = j
	l.mu.Unlock()
	return j
}

// Close forgets the job; its output is stored by then.
func (l *Logs) Close(id uuid.UUID) {
	l.mu.Lock()
	delete(l.open, id)
	l.mu.Unlock()
}

// Get returns the output of a running job of this process.
func (l *Logs) Get(id uuid.UUID) (*Job, bool) {
	l.mu.RLock()
	j, ok := l.open[id]
	l.mu.RUnlock()
	return j, ok
}

// Text is an append-only text whose stored prefix has been let go.
type Text struct {
	mu     sync.Mutex
	stored int64  // bytes already in the database; guarded by mu
	tail   []byte // what follows; guarded by mu
}

// Append adds p.
func (t *Text) Append(p []byte) {
	t.mu.Lock()
	t.tail = append(t.tail, p...)
	t.mu.Unlock()
}

// Pending returns a copy of what is not stored and its offset.
func (t *Text) Pending() (offset int64, p []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.tail) == 0 {
		return t.stored, nil
	}
	return t.stored, append([]byte(nil), t.tail...)
}

// Stored says that the database now holds everything before offset.
func (t *Text) Stored(offset int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := offset - t.stored; n > 0 {
		if n > int64(len(t.tail)) {
			n = int64(len(t.tail))
		}
		t.tail = append(t.tail[:0], t.tail[n:]...)
		t.stored += n
	}
}

// From returns the text from offset on as far as it is here, and where it begins: the caller reads [offset, begin) from the
// database.
func (t *Text) From(offset int64) (begin int64, p []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	begin = max(offset, t.stored)
	if i := begin - t.stored; i < int64(len(t.tail)) {
		p = append(p, t.tail[i:]...)
	}
	return begin, p
}

// Len is the length of the whole text.
func (t *Text) Len() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.stored + int64(len(t.tail))
}
