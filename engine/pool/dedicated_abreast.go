package pool

import (
	"slices"
	"syscall"
	"time"

	"github.com/millrace/millrace/runtimes/frame"
	"github.com/millrace/millrace/sandbox"
)

// The workflows of one script go on side by side in its process: each waits most of the time, for commits, tasks, people. The process
// says that it works so (frame.Abreast), once it has loaded the script; from then on every turn that it is sent has begun, and turns end
// in any order.
//
// When one turn must stop, the process is told to drop it, and only killed if it does not say in time that it has, because a step computes or
// blocks. To let go of a turn that waits is not worth that. When the process dies,
// nobody knows for whose sake: all its turns end as suspects, whose workflows begin anew where they were, each in a process of its own,
// so that the one to blame fails alone. When it was killed because one turn held it up, the others are lost, but not suspect. A process
// that is to be replaced hands over: the next one takes the turns that come, while it goes on with those it has.

const mostAbreast = 1024 // turns of one process

// spread notes that turns go on side by side; false: it is too late for that.
func (s *shift) spread() bool {
	s.line.mu.Lock()
	defer s.line.mu.Unlock()
	if s.abreast || s.runs > 0 {
		return false
	}
	s.timer.Stop()
	s.abreast, s.live = true, make(map[uint64]*turn, len(s.sent))
	for _, t := range s.sent {
		s.begins(t)
	}
	s.sent, s.unread = nil, 0
	s.send()
	if s.leaving {
		s.leave() // it was told to before it could say how it works
	}
	return true
}

// begins adds a turn that the process has been sent. line.mu is held.
func (s *shift) begins(t *turn) {
	t.begun = time.Now()
	s.live[t.number] = t
	t.clock = startClock(t.limits.Wall, func() { t.halt(StoppedTimeout) })
	if t.left {
		s.drop(t, StoppedCanceled)
	}
}

// drop tells the process that a turn is not wanted any more; the first reason wins. line.mu is held.
func (s *shift) drop(t *turn, reason string) {
	if s.live[t.number] != t || !t.reason.CompareAndSwap(nil, reason) {
		return
	}
	s.out = frame.Append(frame.AppendNumber(s.out, t.number), frame.Drop, "")
	s.push()
	if reason != StoppedSuspended {
		time.AfterFunc(s.line.d.cfg.DropAfter, func() { s.insist(t) })
	}
}

// insist kills a process that does not drop t.
func (s *shift) insist(t *turn) {
	s.line.mu.Lock()
	defer s.line.mu.Unlock()
	if s.live[t.number] == t {
		s.held = true
		_ = s.proc.Kill()
	}
}

// halt stops the turn for a reason.
func (t *turn) halt(reason string) {
	s := t.shift
	s.line.mu.Lock()
	defer s.line.mu.Unlock()
	if s.abreast {
		s.drop(t, reason)
	} else {
		t.stop(reason)
	}
}

// Answer sends the turn's workflow an answer.
func (t *turn) Answer(json []byte) {
	s := t.shift
	s.line.mu.Lock()
	defer s.line.mu.Unlock()
	if s.live[t.number] == t {
		s.out = frame.Append(frame.AppendNumber(s.out, t.number), frame.Answer, json)
		s.push()
	}
}

// Suspend lets go of the turn's workflow for as long as it waits for something.
func (t *turn) Suspend() { t.halt(StoppedSuspended) }

// Waits stops the turn's clock, or has it go on.
func (t *turn) Waits(yes bool) { t.clock.stand(yes) }

// Shared says that others are in the process.
func (t *turn) Shared() bool { return true }

// sideBySide takes a frame that only such processes send; false: it is a mistake.
func (s *shift) sideBySide(r frame.Reply, number uint64) bool {
	switch r.Type {
	case frame.Abreast:
		return s.spread()
	case frame.Ask:
		return s.asks(number, r.Data)
	case frame.Output:
		return s.prints(number, r.Data)
	case frame.Drop:
		return s.dropped(number)
	}
	return true // a frame that means nothing here
}

// asks notes what the workflow of a turn asks for; false: it must not.
func (s *shift) asks(number uint64, ask []byte) bool {
	s.line.mu.Lock()
	defer s.line.mu.Unlock()
	t := s.live[number]
	if t == nil || t.t.OnAsk == nil {
		return t == nil && s.known(number)
	}
	t.asked = append(t.asked, ask)
	if !t.asking {
		t.asking = true
		t.talks.Add(1)
		go t.talk()
	}
	return true
}

// known says whether a turn with this number has been. What is still on its way from one that is over is no mistake. line.mu is held.
func (s *shift) known(number uint64) bool { return s.abreast && number > 0 && number <= s.last }

// talk passes on what the workflow has asked for, one after the other.
func (t *turn) talk() {
	defer t.talks.Done()
	mu := &t.shift.line.mu
	for {
		mu.Lock()
		if len(t.asked) == 0 {
			t.asking = false
			mu.Unlock()
			return
		}
		next := t.asked[0]
		t.asked = t.asked[1:]
		mu.Unlock()
		t.t.OnAsk(next, t)
	}
}

// prints passes on what a turn has printed; false: there is no such turn.
func (s *shift) prints(number uint64, text []byte) bool {
	s.line.mu.Lock()
	t, known := s.live[number], s.known(number)
	s.line.mu.Unlock()
	if t != nil {
		t.says(text)
	}
	return known
}

// dropped notes that the process has dropped a turn; false: it was not to.
func (s *shift) dropped(number uint64) bool {
	s.line.mu.Lock()
	t := s.live[number]
	if t == nil || t.stopped() == "" {
		known := s.known(number)
		s.line.mu.Unlock()
		return t == nil && known
	}
	usage := s.closes(t)
	s.line.mu.Unlock()
	t.end(t.judge(Result{}, sandbox.Exit{Usage: usage}), nil)
	return true
}

// closes takes a turn out that is over, and says what it has used. line.mu is held.
func (s *shift) closes(t *turn) sandbox.Usage {
	delete(s.live, t.number)
	t.clock.stop()
	s.runs++
	s.line.used = time.Now()
	usage := s.share()
	if s.worn(usage) {
		s.leaving = true
	}
	s.send()
	if s.leaving || s.line.closed && len(s.line.waiting) == 0 {
		s.leave()
	}
	return usage
}

// handOver tells the turns of a process that leaves, and has the next process take those that wait. line.mu is held.
func (s *shift) handOver() {
	if !s.told {
		s.told = true
		for _, t := range s.live {
			if t.t.OnLeave != nil {
				go t.t.OnLeave()
			}
		}
	}
	l := s.line
	if len(s.live) == 0 || len(l.waiting) == 0 || l.shift != s {
		return // serve does it
	}
	next := newShift(l)
	if l.d.pool.spawn(func() { l.serve(next) }) {
		l.shift = next
	}
}

// scatter ends the turns of a process that has ended. line.mu is not held.
func (s *shift) scatter(exit sandbox.Exit, trouble Result) {
	l := s.line
	l.mu.Lock()
	all := make([]*turn, 0, len(s.live))
	for _, t := range s.live {
		t.clock.stop()
		all = append(all, t)
	}
	clear(s.live)
	l.mu.Unlock()
	slices.SortFunc(all, func(a, b *turn) int { return int(a.number) - int(b.number) })
	stops := l.d.pool.ctx.Err() != nil
	for _, t := range all {
		if stops {
			t.reason.CompareAndSwap(nil, StoppedCanceled)
		}
		switch {
		case t.stopped() != "":
			t.end(t.judge(Result{}, exit), nil)
		case s.held:
			t.end(Result{Stopped: StoppedLost}, nil)
		case len(all) == 1:
			t.end(t.judge(trouble, exit), nil)
		default:
			t.end(Result{Stopped: StoppedSuspect}, nil)
		}
	}
}

// attempt writes as much of p as there is room for, and returns the rest. The one who reads what the process says must not wait for the
// process to read.
func (s *shift) attempt(p []byte) (rest []byte) {
	c, ok := s.proc.Conn().(syscall.Conn)
	if !ok {
		return p
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return nil // it is closed; the end of the process is noticed by who reads
	}
	n := 0
	_ = raw.Write(func(fd uintptr) bool {
		n, err = syscall.Write(int(fd), p)
		return true
	})
	if err == syscall.EAGAIN || err == syscall.EINTR {
		n = max(n, 0)
	} else if err != nil {
		return nil
	}
	return p[n:]
}
