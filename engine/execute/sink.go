package execute

import (
	"context"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/live"
)

// A sink takes a job's output: readers see it at once (live), the database gets it in chunks.
const (
	flushEvery = 500 * time.Millisecond
	flushBytes = 256 << 10
)

type sink struct {
	x   *Executor
	id  uuid.UUID
	job *live.Job

	mu      sync.Mutex
	pending int         // bytes since the last flush; guarded by mu
	timer   *time.Timer // runs flush; nil when nothing is pending; guarded by mu
	closed  bool        // guarded by mu
	flushMu sync.Mutex  // one flush at a time

	logText, streamText cleaner // each is used by the one goroutine that reads its source
}

func (x *Executor) openSink(id uuid.UUID) *sink {
	return &sink{x: x, id: id, job: x.cfg.Live.Open(id)}
}

// Write makes the sink an io.Writer for recipes.
func (s *sink) Write(p []byte) (int, error) {
	s.output(p)
	return len(p), nil
}

func (s *sink) output(p []byte) {
	s.job.Log.Append(s.logText.add(nil, p))
	s.added(len(p))
}

func (s *sink) stream(p []byte) {
	s.job.Stream.Append(s.streamText.add(nil, p))
	s.added(len(p))
}

// added schedules a flush and wakes readers.
func (s *sink) added(n int) {
	s.mu.Lock()
	s.pending += n
	full := s.pending >= flushBytes
	if s.timer == nil && !s.closed {
		s.timer = time.AfterFunc(flushEvery, s.flush)
	}
	s.mu.Unlock()
	if full {
		s.flush()
	}
	s.x.cfg.Bus.Progress(s.id)
}

// flush stores what is pending. On an error the text stays and the next flush tries again.
func (s *sink) flush() {
	s.flushMu.Lock()
	defer s.flushMu.Unlock()
	s.mu.Lock()
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
	s.pending = 0
	s.mu.Unlock()
	s.store(&s.job.Log, s.x.cfg.Logs.AppendLog)
	s.store(&s.job.Stream, s.x.cfg.Logs.AppendStream)
}

func (s *sink) store(t *live.Text, write func(context.Context, uuid.UUID, int64, string) error) {
	offset, p := t.Pending()
	if len(p) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := write(ctx, s.id, offset, string(p)); err != nil {
		s.x.cfg.Log.Warn().Err(err).Stringer("job", s.id).Msg("store log chunk; will try again")
		return
	}
	t.Stored(offset + int64(len(p)))
}

// close returns the part of the log that is not stored, for the transaction that finishes the job, and stores the rest of the
// stream. The live log stays open until Finished.
func (s *sink) close() (offset int64, text string) {
	s.job.Log.Append(s.logText.end(nil))
	s.job.Stream.Append(s.streamText.end(nil))
	s.mu.Lock()
	s.closed = true
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
	s.mu.Unlock()
	s.flushMu.Lock()
	defer s.flushMu.Unlock()
	s.store(&s.job.Stream, s.x.cfg.Logs.AppendStream)
	if offset, p := s.job.Log.Pending(); len(p) < flushBytes {
		return offset, string(p)
	}
	s.store(&s.job.Log, s.x.cfg.Logs.AppendLog)
	offset, p := s.job.Log.Pending()
	return offset, string(p)
}

// Finished forgets the live output of an attempt that is over, remembers its outcome for who waits, and wakes them.
func (x *Executor) Finished(c *engine.Claim, o *engine.Outcome) {
	x.cfg.Live.Close(c.Job.ID)
	if o == nil {
		x.cfg.Bus.Publish(c.Job.ID)
		return
	}
	now := time.Now()
	x.cfg.Bus.PublishDone(&engine.JobView{
		Job: *c.Job, State: o.State, Worker: o.Worker, Attempt: o.Attempt, StartedAt: &c.Started, FinishedAt: &now,
		Result: o.Result, CanceledBy: o.CanceledBy, Reason: o.Reason, CPU: o.CPU, MemoryPeak: o.MemoryPeak, Usage: o.Usage,
	})
}
