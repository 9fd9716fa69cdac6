package pool

import (
	"context"
	"sync"
	"time"

	"github.com/millrace/millrace/runtimes"
	"github.com/millrace/millrace/runtimes/frame"
	"github.com/millrace/millrace/sandbox"
)

// started is a process with its frame reader, perhaps still booting.
type started struct {
	proc   sandbox.Process // nil until started, or when starting failed
	held   sandbox.Held    // proc, while it waits to be told what to become
	limits sandbox.Limits  // what it was started with
	frames *frame.Reader
	err    error // why it could not be started or did not become ready
}

func newStarted() *started { return &started{} }

var readers = sync.Pool{New: func() any { return frame.NewReader(nil) }}

// start runs spec in slot and, for a warm process, waits for its ready frame.
func (s *started) start(ctx context.Context, slot sandbox.Slot, spec sandbox.Spec, warm bool) error {
	proc, err := slot.Start(ctx, spec)
	if err != nil {
		s.err = err
		return err
	}
	s.took(proc, spec.Limits)
	return s.boot(ctx, warm)
}

func (s *started) took(proc sandbox.Process, l sandbox.Limits) {
	s.proc, s.limits = proc, l
	s.frames = readers.Get().(*frame.Reader)
	s.frames.Reset(proc.Conn())
}

// hold starts a process that is told later what it is to become.
func (s *started) hold(ctx context.Context, slot sandbox.Holder, l sandbox.Limits) error {
	held, err := slot.Hold(ctx, l)
	if err != nil {
		s.err = err
		return err
	}
	s.took(held, l)
	s.held = held
	return nil
}

// become tells a held process what it is.
func (s *started) become(ctx context.Context, spec sandbox.Spec, warm bool) error {
	held := s.held
	s.held = nil
	if err := held.Become(spec); err != nil {
		return err
	}
	return s.boot(ctx, warm)
}

// boot waits for the ready frame of a warm process.
func (s *started) boot(ctx context.Context, warm bool) error {
	if !warm {
		return nil
	}
	proc := s.proc
	stop := context.AfterFunc(ctx, func() { _ = proc.Kill() }) // proc, not s.proc: close may come first
	defer stop()
	for {
		r, err := s.frames.Reply()
		if err != nil {
			s.err = err
			return err
		}
		if r.Type == frame.Ready {
			return nil
		}
	}
}

// quit ends the process if there is one and waits until the slot is free again.
func (p *Pool) quit(s *started) {
	if s.proc == nil {
		return
	}
	_ = s.proc.Kill()
	_, _ = s.proc.Wait(p.ctx) // a broken slot is noticed at its release
	s.close()
}

// close kills the process if there is one, and waits for nothing.
func (s *started) close() {
	if s.proc == nil {
		return
	}
	_ = s.proc.Close()
	s.proc = nil
	if s.frames != nil {
		s.frames.Reset(nil)
		readers.Put(s.frames)
		s.frames = nil
	}
}

// endSoon is how long a process that has answered may take to end by itself.
const endSoon = 250 * time.Millisecond

// end waits for the end of a process that has answered, and enforces it.
func (p *Pool) end(s *started) {
	proc := s.proc
	kill := time.AfterFunc(endSoon, func() { _ = proc.Kill() })
	_, _ = proc.Wait(p.ctx) // how it ended matters to nobody any more; a broken slot is noticed at its release
	kill.Stop()
	s.close()
}

// startNext starts the process that will run the slot's next job, or one that can become it, with the limits that the last had.
func (p *Pool) startNext(e *entry, l runtimes.Launch, limits sandbox.Limits) {
	defer close(e.ready)
	var err error
	if startsAhead(l) {
		spec := l.Spec
		spec.Limits = limits
		begun := time.Now()
		if err = e.next.start(p.ctx, e.slot, spec, l.Warm); err == nil && l.Warm {
			p.mu.Lock()
			e.class.booted(p.since(begun))
			p.mu.Unlock()
		}
	} else {
		err = e.next.hold(p.ctx, e.slot.(sandbox.Holder), limits)
	}
	if err != nil && p.ctx.Err() == nil {
		p.cfg.Log.Debug().Err(err).Str("template", l.Template.Name).Msg("start a process ahead")
	}
}
