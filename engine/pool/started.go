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
	s.proc = proc
	s.frames = readers.Get().(*frame.Reader)
	s.frames.Reset(proc.Conn())
	if !warm {
		return nil
	}
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

// close kills the process if there is one and waits until the slot is free again.
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

// startNext starts the process that will run the slot's next job.
func (p *Pool) startNext(e *entry, l runtimes.Launch) {
	defer close(e.ready)
	spec := l.Spec
	spec.Limits = spec.Limits.WithDefaults()
	if err := e.next.start(p.ctx, e.slot, spec, l.Warm); err != nil && p.ctx.Err() == nil {
		p.cfg.Log.Debug().Err(err).Str("template", l.Template.Name).Msg("start a process ahead")
	}
}
