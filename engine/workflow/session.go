package workflow

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store"
)

// Session is what a workflow has with this host from one claim to its end, mostly with one process. Ask is called by one goroutine; all else is safe for concurrent use.
type Session struct {
	host  *Host
	claim *engine.Claim
	ctx   context.Context // ends with the session
	end   context.CancelFunc

	mu      sync.Mutex
	process Process          // guarded by mu; nil: it has asked for nothing yet
	next    int32            // number of the next checkpoint; guarded by mu
	waits   map[string]*wait // what was not answered yet, by key; guarded by mu
	running int              // functions of steps at work in the process; guarded by mu
	away    bool             // the place is others'; guarded by mu
	timer   *time.Timer      // ends a process that waits; guarded by mu
	pauses  int              // so many times the timer was set anew; guarded by mu
	suspend bool             // the process was ended because it waits; guarded by mu
	hurry   bool             // the process is wanted for nothing else any more; guarded by mu
	replay  bool             // it is not the first process of the claim; written by Restart
	stores  sync.WaitGroup   // checkpoints on their way into the database; begun with mu held
	err     error            // why the workflow cannot go on; guarded by mu
	closed  bool             // guarded by mu
}

// wait is a checkpoint that is not over.
type wait struct {
	mark  *store.Checkpoint
	due   time.Time   // of a sleep or an approval
	timer *time.Timer // likewise; nil: it is not stored yet
}

// Open begins a session. The process need not be a workflow: it is one once it asks for something.
func (h *Host) Open(c *engine.Claim) *Session {
	s := &Session{host: h, claim: c, waits: map[string]*wait{}}
	s.ctx, s.end = context.WithCancel(context.Background())
	return s
}

// Ask does what the process wants. It returns when the next wish can be heard.
func (s *Session) Ask(b []byte, p Process) {
	a, err := parse(b)
	s.mu.Lock()
	s.process = p
	if err == nil {
		s.running = a.Running
	}
	s.mu.Unlock()
	switch {
	case err != nil:
	case a.Op == "open":
		err = s.open()
	case a.Op == "step":
		err = s.step(a)
	case a.Op == "task":
		err = s.task(a)
	case a.Op == "sleep":
		err = s.sleep(a)
	case a.Op == "approval":
		err = s.approval(a)
	}
	s.mu.Lock()
	s.turn()
	s.mu.Unlock()
	if err != nil {
		s.fail(err)
	}
}

// open tells the process what it has asked for in earlier starts.
func (s *Session) open() error {
	if s.Replays() {
		list, err := s.host.cfg.Store.Checkpoints(s.ctx, s.claim.Job.ID)
		if err != nil {
			return err
		}
		for i := range list {
			s.recall(&list[i])
		}
	}
	s.process.Answer([]byte(`{"opened":true}`))
	return nil
}

// recall tells of one checkpoint, and waits for it when it is not over.
func (s *Session) recall(c *store.Checkpoint) {
	s.mu.Lock()
	s.next = max(s.next, c.N+1)
	s.mu.Unlock()
	c.Worker, c.Attempt = s.claim.Worker, s.claim.Attempt
	got := answer{Key: c.Key, Kind: c.Kind}
	switch {
	case c.OK != nil:
		got.Done, got.OK, got.Value = true, *c.OK, c.Value
	case c.Kind == "sleep" && c.Wait <= 0:
		got.Done, got.OK = true, true
	case c.Result == engine.StateSuccess:
		got.Done, got.OK, got.Value, got.Job = true, true, c.Output, c.Child.String()
	}
	s.process.Answer(encode(got))
	if got.Done {
		return
	}
	w := &wait{mark: c}
	if c.Kind == "approval" {
		w.due = time.Now().Add(c.Wait)
	}
	s.mu.Lock()
	s.waits[c.Key] = w
	s.mu.Unlock()
	if c.Kind == "sleep" {
		s.sleeps(w, c.Wait)
		return
	}
	if c.Kind == "approval" {
		go s.decide(s.ctx, w, c.Wait)
		return
	}
	go s.follow(s.ctx, w)
}

func encode(a answer) []byte {
	if len(a.Value) == 0 {
		a.Value = json.RawMessage("null")
	}
	b, err := json.Marshal(a)
	if err != nil { // a value that is no JSON, which the queue has refused
		a.Value = json.RawMessage("null")
		b, _ = json.Marshal(a)
	}
	return b
}

// mark makes a checkpoint of a.
func (s *Session) mark(a *ask) *store.Checkpoint {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &store.Checkpoint{
		FlowAttempt: store.FlowAttempt{ID: s.claim.Job.ID, Worker: s.claim.Worker, Attempt: s.claim.Attempt},
		N:           s.next, Key: a.Key, Kind: a.Op, Name: a.Name,
	}
	s.next++
	return c
}

func (s *Session) step(a *ask) error {
	c := s.mark(a)
	c.OK, c.Value = &a.OK, a.Value
	if err := s.host.cfg.Queue.Checkpoint(s.ctx, c); err != nil {
		return err
	}
	s.process.Answer(encode(answer{Key: c.Key, Kind: c.Kind, Done: true, OK: true, Stored: true}))
	return nil
}

func (s *Session) sleep(a *ask) error {
	c := s.mark(a)
	if !(a.Seconds > 0) {
		a.Seconds = 0
	}
	c.Wait = max(time.Duration(min(a.Seconds, 1e9)*float64(time.Second)), time.Microsecond)
	w := s.waitFor(c)
	ctx := s.ctx
	go func() {
		if s.store(func() error { return s.host.cfg.Queue.Checkpoint(ctx, c) }) {
			s.sleeps(w, c.Wait)
		}
	}()
	return nil
}

// waitFor notes that the process waits for c, and announces that c will be stored: its place is free for a task that c is.
func (s *Session) waitFor(c *store.Checkpoint) *wait {
	w := &wait{mark: c}
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.Wait > 0 {
		w.due = time.Now().Add(c.Wait)
	}
	s.waits[c.Key] = w
	s.stores.Add(1)
	s.turn()
	return w
}

// sleeps answers when the time has come.
func (s *Session) sleeps(w *wait, d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.due = time.Now().Add(d)
	if !s.closed && s.waits[w.mark.Key] == w {
		w.timer = time.AfterFunc(d, func() { s.answered(w, answer{OK: true}) })
	}
	s.turn()
}

// answered tells the process the end of what it waits for.
func (s *Session) answered(w *wait, got answer) {
	s.mu.Lock()
	if s.waits[w.mark.Key] != w || s.suspend || s.closed {
		s.mu.Unlock()
		return
	}
	delete(s.waits, w.mark.Key)
	s.turn()
	s.mu.Unlock()
	got.Key, got.Kind, got.Done = w.mark.Key, w.mark.Kind, true
	s.process.Answer(encode(got))
}

// fail ends the process of a workflow that cannot go on; the first reason counts.
func (s *Session) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil && !s.closed && !s.suspend {
		s.err = err
		s.process.Suspend()
	}
}

// Outcome is what is known when the process has ended: what it waits for, if it was ended for that, or why it could not go on.
func (s *Session) Outcome() (*engine.Suspension, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil || !s.suspend {
		return nil, s.err
	}
	return s.suspension(), nil
}

// Close ends the session; with abandon, nobody will ask for the tasks any more, and they are canceled.
func (s *Session) Close(abandon bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.end()
	s.stay()
	for _, w := range s.waits {
		if w.timer != nil {
			w.timer.Stop()
		}
		if abandon && w.mark.Kind == "task" {
			go s.drop(w.mark)
		}
	}
}

func (s *Session) drop(c *store.Checkpoint) {
	if c.Child == nil || *c.Child == uuid.Nil {
		return
	}
	err := s.host.cfg.Queue.Cancel(context.Background(), s.claim.Job.Workspace, *c.Child, "workflow", "its workflow has ended")
	if err != nil && engine.CodeOf(err) != engine.Conflict && engine.CodeOf(err) != engine.NotFound {
		s.host.cfg.Log.Warn().Err(err).Stringer("job", *c.Child).Msg("cancel a task whose workflow has ended")
	}
}
