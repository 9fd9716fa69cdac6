package nsjail

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/millrace/millrace/sandbox"
	"github.com/millrace/millrace/sandbox/rootfs"
)

// Slot implements sandbox.Slot: a root and a pair of users, and at most one nsjail.
type Slot struct {
	isolator *Isolator
	template sandbox.Template
	number   int
	root     string
	mounts   []rootfs.Mount
	done     chan struct{} // closed once by broke, or by Close
	doneOnce sync.Once

	mu      sync.Mutex
	starts  bool     // a Start is under way; guarded by mu
	current *process // written by Start; guarded by mu
	closed  bool     // written by Close; guarded by mu
}

var _ sandbox.Slot = (*Slot)(nil)

// prepare makes the slot's root, and gives what a build writes to its builder.
func (s *Slot) prepare(filter string) error {
	s.root = filepath.Join(s.isolator.config.State, "slots", strconv.Itoa(s.number))
	if err := os.Mkdir(s.root, 0o755); err != nil {
		return err
	}
	var binds []rootfs.Mount
	for _, b := range s.template.Binds {
		if b.Writable && !s.template.Build {
			return fmt.Errorf("bind %s: only build templates have writable binds", b.Target)
		}
		if b.Writable && s.isolator.root {
			_, job := s.users()
			if err := os.Chown(b.Source, job, job); err != nil {
				return fmt.Errorf("bind %s: %w", b.Target, err)
			}
		}
		binds = append(binds, rootfs.Mount{Source: b.Source, Target: b.Target, Writable: b.Writable})
	}
	var err error
	s.mounts, err = s.isolator.base.Skeleton(s.root, s.template.Network, filter, binds)
	return err
}

// users are the host users of a slot's forker and of its jobs. Builders share a pair, so that what they build has one owner.
func (s *Slot) users() (forker, job int) {
	if !s.isolator.root {
		return os.Geteuid(), os.Geteuid()
	}
	at := 0
	if !s.template.Build {
		at = 1 + s.number%(maxSlots-1)
	}
	return uidBase + 2*at, uidBase + 2*at + 1
}

// Start implements sandbox.Slot.
func (s *Slot) Start(ctx context.Context, spec sandbox.Spec) (sandbox.Process, error) {
	if err := s.begin(); err != nil {
		return nil, fmt.Errorf("start process: %w", err)
	}
	p, err := s.start(ctx, spec)
	s.mu.Lock()
	s.starts = false
	closed := s.closed
	if err == nil {
		s.current = p
	}
	s.mu.Unlock()
	switch {
	case err != nil:
		return nil, err
	case closed:
		return nil, errors.Join(errors.New("start process: slot is closed"), p.Close())
	}
	return p, nil
}

// begin takes the slot for one Start.
func (s *Slot) begin() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.done:
		return errors.New("slot is broken or closed")
	default:
	}
	switch {
	case s.closed:
		return errors.New("slot is closed")
	case s.starts || s.current != nil && !s.current.ended():
		return errors.New("slot is busy")
	}
	s.starts = true
	return nil
}

// Done implements sandbox.Slot.
func (s *Slot) Done() <-chan struct{} { return s.done }

// broke says that somebody has ended the forker of a process: nobody knows what became of that.
func (s *Slot) broke() { s.doneOnce.Do(func() { close(s.done) }) }

// Close implements sandbox.Slot.
func (s *Slot) Close() error {
	s.mu.Lock()
	p, first := s.current, !s.closed
	s.closed = true
	s.mu.Unlock()
	if !first {
		return nil
	}
	if p != nil {
		p.jail.end()
	}
	s.isolator.mu.Lock()
	delete(s.isolator.slots, s)
	s.isolator.mu.Unlock()
	s.broke()
	if err := os.RemoveAll(s.root); err != nil {
		return fmt.Errorf("close slot: %w", err)
	}
	return nil
}
