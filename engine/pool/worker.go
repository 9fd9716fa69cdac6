package pool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/runtimes"
	"github.com/millrace/millrace/runtimes/frame"
	"github.com/millrace/millrace/sandbox"
)

// Worker is a slot in the hands of one job.
type Worker struct {
	pool   *Pool
	entry  *entry
	launch runtimes.Launch
	ending *started // a process that has answered but not ended
	leave  func()   // what left does; nil: nothing
}

// Task is one run.
type Task struct {
	Program runtimes.Program
	Call    runtimes.Call
	Limits  sandbox.Limits  // zero fields: defaults
	Binder  runtimes.Binder // nil when the call goes by frames
	Learn   bool            // ask which modules the run imports
	// Compiled is what an earlier run compiled; Compile: ask for it.
	Compiled []byte
	Compile  bool
	Replay   bool // a workflow that was begun before, and asks what it did then
	// Priority has a dedicated run pass those of a lower one that have not been sent to the process.
	Priority int
	Visit    *Visit // nil: nothing is known of what it contacts
	// OnOutput and OnStream get output and result-stream chunks as they come; the slice is valid during the call.
	OnOutput func([]byte)
	OnStream func([]byte)
	// OnAsk gets what a workflow asks for, one after the other; the slice is its own. nil: asking is a mistake.
	OnAsk func(ask []byte, of Process)
	// OnLeave is called when the process that a workflow shares with others will end, once it can; nil: nobody cares.
	OnLeave func()
}

// Process is the running process of a task, for whoever answers it. It is safe for concurrent use, also when it has ended.
type Process interface {
	Answer(json []byte)
	// Suspend stops the run; its Result says StoppedSuspended.
	Suspend()
	// Waits says whether the run only waits now, which does not count as its time.
	Waits(yes bool)
	// Shared says whether the process serves other runs, too, so that to keep this one costs little.
	Shared() bool
}

// Result is how a run ended.
type Result struct {
	Value   json.RawMessage   // nil when Failure is set
	Failure *runtimes.Failure // what went wrong
	Usage   sandbox.Usage
	Imports json.RawMessage // which modules it says it imported, for Learn
	// Compiled is what it compiled, for Compile; nil: it did not say.
	Compiled []byte
	Stopped  string          // why the run was stopped from outside, one of the Stopped constants; "" otherwise
	Limit    engine.LimitHit // the limit that it met, whether or not it failed; "": none
}

// The reasons in Result.Stopped.
const (
	StoppedTimeout   = "timeout"
	StoppedOutput    = "output"
	StoppedCanceled  = "canceled"
	StoppedSuspended = "suspended" // it waits for something, and begins anew then
	// A workflow's process has ended under it: for another's sake, or nobody knows whose; it can begin anew.
	StoppedLost    = "lost"
	StoppedSuspect = "suspect"
)

// Release gives the slot back; a process that was not run is kept for the next job. A process that has answered but not ended
// is waited for, and soon killed, in the background.
func (w *Worker) Release() {
	if w.entry == nil {
		return
	}
	e, l := w.entry, w.launch
	w.entry = nil
	if w.ending == nil {
		w.left()
		w.pool.release(e, l)
		return
	}
	w.pool.coming(e.class, 1)
	w.pool.work.Go(func() {
		w.pool.end(w.ending)
		w.left()
		w.pool.release(e, l)
		w.pool.coming(e.class, -1)
	})
}

// run is the state of one Run.
type run struct {
	w      *Worker
	t      Task
	s      *started
	proc   sandbox.Process // s.proc, which s.close forgets
	limits sandbox.Limits
	reason atomic.Value // string: why it was stopped
	tail   tail         // the end of the output
	says   sync.Mutex   // one answer at a time
	clock  *clock       // stops it when its time is over
}

// Answer sends an answer to the process. One that does not read any more has ended, or will be stopped for something else.
func (r *run) Answer(json []byte) {
	r.says.Lock()
	defer r.says.Unlock()
	_, _ = r.proc.Conn().Write(frame.Append(make([]byte, 0, len(json)+frame.HeaderSize), frame.Answer, json))
}

// Suspend stops the process for as long as it waits for something.
func (r *run) Suspend() { r.stop(StoppedSuspended) }

// Waits stops the clock, or has it go on.
func (r *run) Waits(yes bool) { r.clock.stand(yes) }

// Shared says that nobody else is in the process.
func (r *run) Shared() bool { return false }

// stop kills the process for a reason; the first reason wins.
func (r *run) stop(reason string) {
	r.reason.CompareAndSwap(nil, reason)
	_ = r.proc.Kill()
}

func (r *run) stopped() string {
	s, _ := r.reason.Load().(string)
	return s
}

// Run runs t to its end. An error means that the slot failed the job, not that the job failed: it can be tried elsewhere.
// A cancelled ctx kills the process and is reported as StoppedCanceled.
func (w *Worker) Run(ctx context.Context, t Task) (Result, error) {
	r := &run{w: w, t: t, limits: t.Limits.WithDefaults()}
	w.visit(t.Visit)
	if err := r.begin(ctx); err != nil {
		return Result{}, err
	}
	defer func() {
		if w.ending == nil {
			w.pool.quit(r.s)
		}
	}()
	r.proc = r.s.proc
	request, err := r.request()
	if err != nil {
		return Result{Failure: &runtimes.Failure{Name: "ArgumentError", Message: err.Error()}}, nil
	}
	r.clock = startClock(r.limits.Wall, func() { r.stop(StoppedTimeout) })
	defer r.clock.stop()
	unwatch := context.AfterFunc(ctx, func() { r.stop(StoppedCanceled) })
	defer unwatch()

	out := r.followOutput()
	if len(request) > 0 {
		if len(request) <= 16<<10 {
			_, _ = r.proc.Conn().Write(request)
		} else {
			go func() { _, _ = r.proc.Conn().Write(request) }() // ends when the process reads it, or with the connection
		}
	}
	reply := r.readReplies()
	exit, ended := r.early(ctx, reply)
	if s, ok := r.proc.(sandbox.Settler); ok && ended && r.stopped() == "" {
		out.settled(s) // nobody needs to wait for the kernel to take the process apart
		if r.stopped() == "" {
			w.ending = r.s
			return r.judge(reply, exit), nil
		}
	}
	out.begin()
	exit, err = r.proc.Wait(context.WithoutCancel(ctx))
	out.wait()
	if err != nil && r.stopped() == "" && reply.Value == nil && reply.Failure == nil {
		return Result{}, fmt.Errorf("the sandbox broke while the job ran: %w", err)
	}
	return r.judge(reply, exit), nil
}

// early tells whether a process has said how it ended before it has, and what it said.
func (r *run) early(ctx context.Context, reply Result) (sandbox.Exit, bool) {
	if reply.Value != nil || reply.Failure != nil {
		if s, ok := r.proc.(sandbox.Settler); ok {
			return sandbox.Exit{Usage: s.UsageNow()}, true
		}
	} else if t, ok := r.proc.(sandbox.Teller); ok && r.w.launch.Result == runtimes.ResultOutput {
		return t.Told(ctx)
	}
	return sandbox.Exit{}, false
}

// begin uses the process that was started ahead if it fits, or starts one.
func (r *run) begin(ctx context.Context) error {
	e, l := r.w.entry, r.w.launch
	if err := r.ahead(ctx); err != nil || r.s != nil && r.s.held == nil {
		return err
	}
	spec, err := r.spec()
	if err != nil {
		e.next = r.s // who asked for the impossible does not use up a process
		return err
	}
	defer func() {
		if spec.Exec != nil {
			_ = spec.Exec.Close()
		}
	}()
	if r.s != nil {
		err = r.s.become(ctx, spec, l.Warm)
	} else {
		r.s = newStarted()
		err = r.s.start(ctx, e.slot, spec, l.Warm)
	}
	e.walls = r.limits
	if err != nil {
		r.w.pool.quit(r.s)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("start process: %w", err)
	}
	return nil
}

// ahead waits for the process that was started ahead, and takes it if it has the walls that this run wants.
func (r *run) ahead(ctx context.Context) error {
	e := r.w.entry
	if e.next == nil {
		return nil
	}
	select {
	case <-e.ready:
	case <-ctx.Done():
		return ctx.Err()
	}
	next := e.next
	e.next = nil
	if next.proc != nil && next.err == nil && sameWalls(r.limits, next.limits) {
		r.s = next
		return nil
	}
	r.w.pool.quit(next)
	return nil
}

// spec is the process of this run; the caller closes its Exec.
func (r *run) spec() (sandbox.Spec, error) {
	spec := r.w.launch.Spec
	if r.t.Binder != nil {
		bound, err := r.t.Binder.Bind(r.w.launch, r.t.Program, r.t.Call)
		if err != nil {
			return spec, err
		}
		spec = bound
	}
	spec.Limits = r.limits
	if r.w.launch.Exec != "" {
		f, err := os.Open(r.w.launch.Exec)
		if err != nil {
			return spec, fmt.Errorf("open program: %w", err)
		}
		spec.Exec = f
	}
	return spec, nil
}

// sameWalls reports whether a process started with b serves a job that wants a; time and output are watched from here.
func sameWalls(a, b sandbox.Limits) bool {
	a.Wall, a.Output = b.Wall, b.Output
	return a == b
}

func (r *run) request() ([]byte, error) {
	if r.t.Binder != nil {
		return nil, nil
	}
	q := frame.Request{
		Source: r.w.launch.Source, Path: r.t.Program.Path, Entry: r.w.launch.Entry, Env: r.t.Call.Env, Args: r.t.Call.Args,
		Learn: r.t.Learn, Replay: r.t.Replay, Compile: r.t.Compile, Compiled: r.t.Compiled,
	}
	return q.AppendTo(make([]byte, 0, len(q.Source)+len(q.Compiled)+len(q.Args)+1024))
}

// outputBuffer is how much output is read at once.
const outputBuffer = 16 << 10

var buffers = sync.Pool{New: func() any { return new([outputBuffer]byte) }}

// readOutput passes output on until every holder of the pipe is gone, and stops a process that says too much.
func (r *run) readOutput() {
	pooled := buffers.Get().(*[outputBuffer]byte)
	defer buffers.Put(pooled)
	buf := pooled[:]
	var total int64
	for {
		n, err := r.proc.Output().Read(buf)
		if n > 0 {
			p := buf[:n]
			if over := total + int64(n) - r.limits.Output; over > 0 {
				p = p[:max(0, int64(n)-over)]
				r.stop(StoppedOutput)
			}
			total += int64(n)
			if len(p) > 0 {
				r.tail.add(p)
				if r.t.OnOutput != nil {
					r.t.OnOutput(p)
				}
			}
		}
		if err != nil {
			return
		}
	}
}

// readReplies reads frames until the result, the failure, or the end.
func (r *run) readReplies() (res Result) {
	var imports json.RawMessage
	var compiled []byte
	defer func() { res.Compiled = compiled }()
	for first := true; ; first = false {
		reply, err := r.s.frames.Reply()
		switch {
		case err == nil && reply.Type == frame.Compiled:
			if first && r.t.Compile { // what comes later may be the script's own
				compiled = reply.Data
			}
		case err == nil && reply.Type == frame.Chunk:
			if r.t.OnStream != nil {
				r.t.OnStream(reply.Data)
			}
		case err == nil && reply.Type == frame.Ask && r.t.OnAsk != nil:
			r.t.OnAsk(reply.Data, r)
		case err == nil && reply.Type == frame.Result:
			return Result{Value: reply.Data, Imports: imports}
		case err == nil && reply.Type == frame.Modules && r.t.Learn:
			imports = reply.Data
		case err == nil && reply.Type == frame.Failure:
			return Result{Failure: reply.Failure}
		case errors.Is(err, frame.ErrTooLarge):
			r.stop(StoppedOutput)
			return Result{Failure: &runtimes.Failure{Name: "ResultTooLarge", Message: "the result is larger than 64 MiB"}}
		case errors.Is(err, frame.ErrType):
			r.stop(StoppedOutput)
			return Result{Failure: &runtimes.Failure{Name: "ProtocolError", Message: "the job wrote to descriptor 3, which is reserved"}}
		case err != nil: // the end, or a connection broken by a kill: Wait knows more
			return Result{}
		}
	}
}
