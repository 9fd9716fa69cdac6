package mock

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/millrace/millrace/sandbox"
)

// Program is what runs instead of a process; it returns the exit status.
type Program func(*Task) int

// Task is a running Program's view of its process.
type Task struct {
	Template sandbox.Template
	Spec     sandbox.Spec
	Conn     net.Conn        // descriptor 3
	Output   io.Writer       // stdout and stderr
	Killed   <-chan struct{} // closed when the process is killed; a Program returns soon after

	proc *process

	// Of a process that runs many calls: the number of the one that runs now, how many began, whether it takes no more.
	number uint64
	env    map[string]string // of the run
	runs   int
	leaves bool
}

// Host returns where a bind's target lies on the host, "" if nothing is bound there.
func (t *Task) Host(target string) string {
	for _, b := range t.Template.Binds {
		if rest, ok := strings.CutPrefix(target, b.Target); ok && (rest == "" || rest[0] == '/') {
			return b.Source + rest
		}
	}
	return ""
}

// OOM makes the exit one for want of memory.
func (t *Task) OOM() { t.proc.oom.Store(true) }

// Break makes the slot useless: Done is closed, and Wait tells an error instead of an exit.
func (t *Task) Break() { t.proc.slot.breakDown() }

// Collect is the file that Process.Collected returns.
func (t *Task) Collect(data []byte) { t.proc.collected = data }

// Isolator runs Programs in goroutines. It has no walls whatever.
type Isolator struct {
	programs map[string]Program
	opened   atomic.Int64
	started  atomic.Int64
}

var _ sandbox.Isolator = (*Isolator)(nil)

// NewIsolator returns an Isolator of programs by Argv[0]; nil means those of the language mock.
func NewIsolator(programs map[string]Program) *Isolator {
	if programs == nil {
		programs = Programs()
	}
	return &Isolator{programs: programs}
}

// Opened is how many slots were opened so far.
func (i *Isolator) Opened() int { return int(i.opened.Load()) }

// Started is how many processes were started so far.
func (i *Isolator) Started() int { return int(i.started.Load()) }

// Open returns a slot at once.
func (i *Isolator) Open(ctx context.Context, t sandbox.Template) (sandbox.Slot, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	i.opened.Add(1)
	return &slot{isolator: i, template: t, done: make(chan struct{})}, nil
}

// Strength is that of no isolation.
func (*Isolator) Strength() sandbox.Strength {
	return sandbox.Strength{Mode: "none", Lacks: []sandbox.Lack{{What: "processes", Why: "programs run as goroutines", Fix: "use it in tests only"}}}
}

// Close does nothing: slots are closed by those who opened them.
func (*Isolator) Close() error { return nil }

type slot struct {
	isolator *Isolator
	template sandbox.Template

	once sync.Once
	done chan struct{} // closed when broken or closed

	mu      sync.Mutex
	current *process // guarded by mu
}

func (s *slot) breakDown()            { s.once.Do(func() { close(s.done) }) }
func (s *slot) Done() <-chan struct{} { return s.done }

func (s *slot) broken() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

func (s *slot) Close() error {
	s.breakDown()
	s.mu.Lock()
	p := s.current
	s.mu.Unlock()
	if p != nil {
		return p.Close()
	}
	return nil
}

func (s *slot) Start(ctx context.Context, spec sandbox.Spec) (sandbox.Process, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if s.broken() {
		return nil, errors.New("mock: the slot is broken")
	}
	if s.current != nil && !s.current.waited.Load() {
		return nil, errors.New("mock: the last process has not been waited for")
	}
	s.isolator.started.Add(1)
	ours, theirs := net.Pipe()
	read, write := io.Pipe()
	p := &process{slot: s, conn: ours, output: read, release: func() { _ = theirs.Close(); _ = write.Close() }, killed: make(chan struct{}), ended: make(chan struct{})}
	s.current = p
	t := &Task{Template: s.template, Spec: spec, Conn: theirs, Output: write, Killed: p.killed, proc: p}
	go p.run(t)
	return p, nil
}

type process struct {
	slot    *slot
	conn    net.Conn
	output  *io.PipeReader
	release func() // closes the program's ends

	once      sync.Once
	killed    chan struct{} // closed by Kill
	ended     chan struct{} // closed when the fields below are final
	exit      sandbox.Exit  // written by run
	collected []byte        // written by the program

	oom    atomic.Bool
	waited atomic.Bool
}

func (p *process) run(t *Task) {
	defer close(p.ended)
	name := ""
	if len(t.Spec.Argv) > 0 {
		name = t.Spec.Argv[0]
	}
	if program := p.slot.isolator.programs[name]; program != nil {
		p.exit.Code = program(t)
	} else {
		p.exit = sandbox.Exit{Code: 127, Error: fmt.Sprintf("exec %s: no such program", name)}
	}
	p.release()
	select {
	case <-p.killed:
		p.exit = sandbox.Exit{Code: 137, Signal: 9}
	default:
	}
	if p.oom.Load() {
		p.exit = sandbox.Exit{Code: 137, Signal: 9, OOM: true}
	}
}

func (p *process) Conn() net.Conn    { return p.conn }
func (p *process) Output() io.Reader { return p.output }

func (p *process) Collected() ([]byte, bool) {
	<-p.ended
	return p.collected, p.collected != nil
}

func (p *process) Wait(ctx context.Context) (sandbox.Exit, error) {
	select {
	case <-p.ended:
	case <-ctx.Done():
		return sandbox.Exit{}, ctx.Err()
	}
	p.waited.Store(true)
	if p.slot.broken() {
		return sandbox.Exit{}, errors.New("mock: the slot broke")
	}
	return p.exit, nil
}

// Kill also frees the program from writes that nobody reads.
func (p *process) Kill() error {
	p.once.Do(func() {
		close(p.killed)
		p.release()
	})
	return nil
}

func (p *process) Close() error {
	_ = p.Kill()
	<-p.ended
	p.waited.Store(true)
	_ = p.conn.Close()
	return p.output.Close()
}
