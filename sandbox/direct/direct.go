// Package direct runs processes without walls: for --isolation=none, where the operator asked for it, and for tests. A process
// is an ordinary child in a process group of its own, with a private work folder that is removed after it.
//
// Nothing is mounted, so paths are translated instead: in Argv, Env, Zygote and ZygoteEnv (not in the contents of Files) every
// path that starts with the Target of a Bind becomes one below its Source, and /work becomes the work folder (the longest match
// wins). A path is recognised at the start of a string and after one of = : , ; ( " ' and white space.
//
// A zygote cannot fork here: for every process Template.Zygote is started afresh with --once appended and MILLRACE_DIRECT=1 in
// its environment. It must not serve; it runs one job on descriptor 3 and exits.
//
// Limits are not enforced (the caller's Wall and Output are), and a descendant that leaves the process group outlives its job.
package direct

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/millrace/millrace/sandbox"
)

// Isolator implements sandbox.Isolator.
type Isolator struct {
	dir string
}

// New returns an isolator whose work folders are made below dir; "" is the system's folder for temporary files.
func New(dir string) *Isolator { return &Isolator{dir: dir} }

// Strength implements sandbox.Isolator.
func (*Isolator) Strength() sandbox.Strength {
	const why, fix = "isolation is switched off", "start the daemon with --isolation=full"
	s := sandbox.Strength{Mode: "none"}
	for _, what := range []string{sandbox.LackWalls, sandbox.LackMemory, sandbox.LackPids, sandbox.LackCPU} {
		s.Lacks = append(s.Lacks, sandbox.Lack{What: what, Why: why, Fix: fix})
	}
	return s
}

// Open implements sandbox.Isolator.
func (i *Isolator) Open(_ context.Context, t sandbox.Template) (sandbox.Slot, error) {
	for _, b := range t.Binds {
		if _, err := os.Stat(b.Source); err != nil {
			return nil, fmt.Errorf("open slot: bind %s: %w", b.Target, err)
		}
	}
	if t.Shared != "" {
		if _, err := os.Stat(sharedPath(i.dir, t.Shared)); err != nil {
			return nil, fmt.Errorf("open slot: %w", err)
		}
	}
	return &slot{dir: i.dir, template: t, done: make(chan struct{})}, nil
}

// Close implements sandbox.Isolator.
func (*Isolator) Close() error { return nil }

type slot struct {
	dir      string
	template sandbox.Template
	done     chan struct{} // closed by Close

	mu      sync.Mutex
	current *process // written by Start
	closed  bool     // written by Close
}

// Start implements sandbox.Slot.
func (s *slot) Start(ctx context.Context, spec sandbox.Spec) (sandbox.Process, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("start process: %w", err)
	}
	if s.closed {
		return nil, errors.New("start process: slot is closed")
	}
	if s.current != nil && !s.current.ended() {
		return nil, errors.New("start process: slot is busy")
	}
	p, err := start(s.dir, s.template, spec)
	if err != nil {
		return nil, fmt.Errorf("start process: %w", err)
	}
	s.current = p
	return p, nil
}

// Done implements sandbox.Slot.
func (s *slot) Done() <-chan struct{} { return s.done }

// Close implements sandbox.Slot.
func (s *slot) Close() error {
	s.mu.Lock()
	p, first := s.current, !s.closed
	s.closed = true
	s.mu.Unlock()
	if p != nil {
		_ = p.Kill()
		<-p.done
	}
	if first {
		close(s.done)
	}
	return nil
}
