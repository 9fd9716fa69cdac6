package pool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/millrace/millrace/runtimes"
	"github.com/millrace/millrace/runtimes/frame"
	"github.com/millrace/millrace/sandbox"
)

// How far a process is sent runs ahead of the one that it is at: on a busy host each wake-up of it takes milliseconds, in which it
// could have done so many.
const (
	aheadRuns  = 64
	aheadBytes = 64 << 10 // less than a socket holds, so that sending does not wait for a process that is at work
)

var noExit sandbox.Exit

// shift is the life of one process of a line.
type shift struct {
	line    *line
	worker  *Worker
	started *started
	proc    sandbox.Process // started.proc, which its close forgets
	began   time.Time
	timer   *time.Timer // the wall time of the first turn
	tie     *tie

	// Guarded by line.mu.
	open    bool    // takes turns
	leaving bool    // takes no more, and ends when it has answered those it has
	gone    bool    // it has said that it begins none any more
	sent    []*turn // the first of them runs
	unread  int     // bytes of sent
	last    uint64  // number of the turn sent last
	env     runtimes.Env
	out     []byte // to be written
	writing bool   // somebody does
	runs    int

	// Likewise, of workflows; see dedicated_abreast.go.
	abreast bool             // turns go on side by side
	live    map[uint64]*turn // by number
	held    bool             // it is killed because one turn held up the others
	told    bool             // its turns know that it leaves

	// Of the process up to the last answer; only the goroutine that reads answers.
	used time.Duration // processor time
	peak int64         // of memory
	each time.Duration // processor time of one turn, of workflows
	seen sandbox.Usage // what was counted when it was looked up last
}

func newShift(l *line) *shift { return &shift{line: l} }

// work starts the process, serves turns until it ends, and says what became of the one that it was at. An error: it could not be
// started.
func (s *shift) work() error {
	p := s.line.d.pool
	w, err := p.Acquire(p.ctx, s.line.launch)
	if err != nil {
		return fmt.Errorf("open a sandbox: %w", err)
	}
	defer w.Release()
	limits := s.line.key.limits.WithDefaults()
	boot := &run{w: w, limits: limits}
	if err := boot.begin(p.ctx); err != nil {
		return err
	}
	s.worker, s.started, s.proc, s.began = w, boot.s, boot.s.proc, time.Now()
	defer s.started.close()
	proc := s.proc
	s.tie = newTie(proc.Conn())
	s.started.frames.Reset(s.tie) // a process that waits has said nothing but that
	unwatch := context.AfterFunc(p.ctx, func() { _ = proc.Kill() })
	defer unwatch()
	s.timer = time.AfterFunc(limits.Wall, s.overdue)
	defer s.timer.Stop()

	var reading sync.WaitGroup
	reading.Go(func() { s.readOutput(proc) })
	trouble := s.greet()
	if trouble == nil {
		trouble = s.readAnswers()
	}
	s.tie.end()
	s.end(proc, trouble, &reading)
	return nil
}

// greet tells the process what it will run, and sends what waits.
func (s *shift) greet() *runtimes.Failure {
	l := s.line
	l.mu.Lock()
	defer l.mu.Unlock()
	q := frame.Request{Source: l.launch.Source, Entry: l.launch.Entry, Share: true}
	if len(l.waiting) > 0 {
		q.Path = l.waiting[0].t.Program.Path
	}
	var err error
	if s.out, err = q.AppendTo(s.out); err != nil {
		return &runtimes.Failure{Name: "ArgumentError", Message: err.Error()}
	}
	s.open = true
	s.send()
	if l.closed && len(l.waiting) == 0 {
		s.leave() // whoever wanted it has gone meanwhile
	}
	return nil
}

// send sends turns while the process is not too far behind. line.mu is held; it is let go while something is written.
func (s *shift) send() {
	l := s.line
	for s.open && !s.leaving && len(l.waiting) > 0 && s.takes(l.waiting[0]) {
		t := l.waiting[0]
		l.waiting[0] = nil
		if l.waiting = l.waiting[1:]; len(l.waiting) == 0 {
			l.waiting = nil
		}
		q := frame.Run{Number: s.last + 1, Before: s.env, Env: t.t.Call.Env, Args: t.t.Call.Args, Replay: t.t.Replay}
		before := len(s.out)
		out, err := q.AppendTo(s.out)
		if err != nil {
			t.end(Result{Failure: &runtimes.Failure{Name: "ArgumentError", Message: err.Error()}}, nil)
			continue
		}
		s.out, s.last, s.env = out, q.Number, t.t.Call.Env
		t.w, t.proc, t.shift, t.number, t.size = s.worker, s.proc, s, q.Number, len(out)-before
		if s.abreast {
			s.begins(t)
			continue
		}
		s.sent = append(s.sent, t)
		s.unread += t.size
		if len(s.sent) == 1 {
			s.first()
		}
	}
	s.push()
}

// takes says whether the process is not so far behind that t must wait. line.mu is held.
func (s *shift) takes(t *turn) bool {
	if s.abreast {
		return len(s.live) < mostAbreast
	}
	return len(s.sent) == 0 || len(s.sent) < aheadRuns && s.unread < aheadBytes && len(t.t.Call.Args) <= aheadBytes-s.unread
}

// push sees to it that what there is gets written. line.mu is held; it is let go meanwhile.
func (s *shift) push() {
	if !s.open || s.writing || len(s.out) == 0 {
		return
	}
	s.writing = true
	if len(s.out) > aheadBytes {
		go s.write(nil, false) // it waits until the process has read it
		return
	}
	abreast := s.abreast
	s.line.mu.Unlock()
	runtime.Gosched() // those that a commit has woken together have something for the process, too: one write, one wake-up of it
	s.write(nil, abreast)
	s.line.mu.Lock()
}

// write writes rest, then what there is, until there is nothing. With haste it waits for nobody: somebody else does.
func (s *shift) write(rest []byte, haste bool) {
	l := s.line
	if len(rest) > 0 {
		_, _ = s.proc.Conn().Write(rest) // an error is met again below
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(s.out) > 0 {
		out := s.out
		s.out = nil
		l.mu.Unlock()
		var err error
		if haste {
			if rest := s.attempt(out); len(rest) > 0 {
				go s.write(rest, false)
				l.mu.Lock()
				return
			}
		} else {
			_, err = s.proc.Conn().Write(out)
		}
		l.mu.Lock()
		if err != nil {
			s.out = nil // the end of the process is noticed by who reads
		} else if s.out == nil && cap(out) <= aheadBytes {
			s.out = out[:0]
		}
	}
	s.writing = false
}

// first begins the first turn. line.mu is held.
func (s *shift) first() {
	t := s.sent[0]
	if t.left {
		t.stop(StoppedCanceled) // it takes the process with it: what was sent cannot be taken back
		return
	}
	t.begun = time.Now()
	s.timer.Reset(t.limits.Wall)
}

// overdue stops the first turn if its time is over.
func (s *shift) overdue() {
	s.line.mu.Lock()
	defer s.line.mu.Unlock()
	if len(s.sent) > 0 && time.Since(s.sent[0].begun) >= s.sent[0].limits.Wall {
		s.sent[0].stop(StoppedTimeout)
	}
}

// leave lets the process end when it has answered. line.mu is held.
func (s *shift) leave() {
	s.leaving = true
	if s.abreast {
		s.handOver()
	}
	if !s.open || len(s.sent) > 0 || len(s.live) > 0 {
		return
	}
	s.open = false
	if c, ok := s.proc.Conn().(interface{ CloseWrite() error }); ok && c.CloseWrite() == nil {
		return // it sees the end of its input, does what it does at exit, and is not waited for long
	}
	_ = s.proc.Kill()
}

// head is the turn that runs; nil when none does. Of several it is any: output that says not whose it is goes to one of them.
func (s *shift) head() *turn {
	s.line.mu.Lock()
	defer s.line.mu.Unlock()
	for _, t := range s.live {
		return t
	}
	if len(s.sent) == 0 {
		return nil
	}
	return s.sent[0]
}

// readAnswers reads frames until the process ends or breaks the protocol, which is then the failure of the run that it is at.
func (s *shift) readAnswers() *runtimes.Failure {
	var number uint64
	for {
		reply, err := s.started.frames.Reply()
		switch {
		case errors.Is(err, frame.ErrTooLarge):
			return &runtimes.Failure{Name: "ResultTooLarge", Message: "the result is larger than 64 MiB"}
		case errors.Is(err, frame.ErrType):
			return errProtocol
		case err != nil:
			return nil
		}
		switch reply.Type {
		case frame.Number:
			number = reply.Number
		case frame.Chunk:
			if t := s.head(); t != nil && t.t.OnStream != nil {
				t.t.OnStream(reply.Data)
			}
		case frame.Result, frame.Failure:
			if !s.answered(number, Result{Value: json.RawMessage(reply.Data), Failure: reply.Failure}) {
				return errProtocol
			}
			number = 0
		case frame.Leave:
			if f := s.goes(); f != nil || !s.abreast {
				return f
			}
		default:
			if !s.sideBySide(reply, number) {
				return errProtocol
			}
			number = 0
		}
	}
}

// goes notes that the process begins no further run. One that says so before it has answered any would do so for ever.
func (s *shift) goes() *runtimes.Failure {
	s.line.mu.Lock()
	defer s.line.mu.Unlock()
	if s.runs == 0 {
		return errProtocol
	}
	if s.abreast {
		s.leave() // it goes on with those it has
		return nil
	}
	s.gone, s.leaving = true, true
	return nil
}

var errProtocol = &runtimes.Failure{Name: "ProtocolError", Message: "the job wrote to descriptor 3, which is reserved"}

// answered ends the first turn and begins the next; false: it is not the one that was answered.
func (s *shift) answered(number uint64, res Result) bool {
	s.line.mu.Lock()
	if t := s.live[number]; t != nil {
		usage := s.closes(t)
		s.line.mu.Unlock()
		t.end(t.judge(res, sandbox.Exit{Usage: usage}), nil)
		return true
	}
	if len(s.sent) == 0 || s.sent[0].number != number {
		s.line.mu.Unlock()
		return false
	}
	t := s.sent[0]
	copy(s.sent, s.sent[1:])
	s.sent[len(s.sent)-1] = nil
	s.sent = s.sent[:len(s.sent)-1]
	s.unread -= t.size
	s.runs++
	s.line.used = time.Now()
	usage := s.usage(s.line.used.Sub(t.begun))
	if s.worn(usage) {
		s.leaving = true
	}
	if len(s.sent) > 0 {
		s.first()
	}
	s.send()
	if s.leaving || s.line.closed && len(s.line.waiting) == 0 {
		s.leave()
	}
	s.line.mu.Unlock()
	t.end(t.judge(res, sandbox.Exit{Usage: usage}), nil)
	return true
}

// end waits for the end of the process and says what became of the turn that it was at; the others wait again.
func (s *shift) end(proc sandbox.Process, trouble *runtimes.Failure, reading *sync.WaitGroup) {
	l := s.line
	l.mu.Lock()
	s.open = false
	gentle := s.leaving && trouble == nil
	l.mu.Unlock()
	if gentle {
		kill := time.AfterFunc(endSoon, func() { _ = proc.Kill() })
		defer kill.Stop()
	} else {
		_ = proc.Kill()
	}
	exit, err := proc.Wait(context.Background())
	reading.Wait()
	exit.Usage = sandbox.Usage{CPUUser: max(0, exit.Usage.CPUUser+exit.Usage.CPUSystem-s.used), MemoryPeak: exit.Usage.MemoryPeak}
	if s.abreast {
		s.scatter(exit, Result{Failure: trouble})
		return
	}
	failed := s.giveBack()
	switch {
	case failed == nil:
	case err != nil && trouble == nil && failed.stopped() == "":
		failed.end(Result{}, fmt.Errorf("the sandbox broke while the job ran: %w", err))
	default:
		failed.end(failed.judge(Result{Failure: trouble}, exit), nil)
	}
}

// giveBack puts the turns that had not begun back into the line, before all others, and returns the one that had.
func (s *shift) giveBack() (begun *turn) {
	l := s.line
	l.mu.Lock()
	defer l.mu.Unlock()
	lost := s.sent
	s.sent = nil
	if len(lost) > 0 && !s.gone {
		begun, lost = lost[0], lost[1:]
		if l.d.pool.ctx.Err() != nil {
			begun.reason.CompareAndSwap(nil, StoppedCanceled)
		}
	}
	again := make([]*turn, 0, len(lost)+len(l.waiting))
	for _, t := range lost {
		if !t.left {
			again = append(again, t)
		}
	}
	l.waiting = append(again, l.waiting...)
	return begun
}
