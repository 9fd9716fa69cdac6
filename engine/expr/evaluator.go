package expr

import (
	"context"
	"encoding/json"
	"sync"
	"time"
)

// Config of an Evaluator.
type Config struct {
	// Timeout is how long an expression may run, without the time that its scope takes. Zero: 20 s.
	Timeout time.Duration
	// Memory is how many bytes an expression may take, its input and result not counted. Zero: 64 MB.
	Memory int64
	// Helper is the command of the process that runs expressions that are not tame: it calls Serve with its standard input and
	// output. Nil: they run in this process, where a hostile one cannot be stopped; that is for tests and tools that run what
	// their user wrote.
	Helper []string
	// Helpers is how many such processes run at once, started when first needed. Zero: 2.
	Helpers int
	// Programs is how many compiled expressions are kept. Zero: 4,096.
	Programs int
}

func (c *Config) defaults() {
	if c.Timeout <= 0 {
		c.Timeout = 20 * time.Second
	}
	if c.Memory <= 0 {
		c.Memory = 64 << 20
	}
	if c.Helpers <= 0 {
		c.Helpers = 2
	}
	if c.Programs <= 0 {
		c.Programs = 4096
	}
}

// tameInput is how much a tame expression may read and still run in this process.
const tameInput = 1 << 20

// Evaluator answers expressions. It is safe for concurrent use; Close ends its helper processes.
type Evaluator struct {
	cfg      Config
	programs cache
	machines sync.Pool // of *machine, for tame expressions, which leave nothing behind
	helpers  *helpers  // nil: everything runs here
}

// New makes an Evaluator. It starts nothing.
func New(cfg Config) *Evaluator {
	cfg.defaults()
	e := &Evaluator{cfg: cfg, programs: cache{most: cfg.Programs}}
	if len(cfg.Helper) > 0 {
		e.helpers = newHelpers(cfg)
	}
	return e
}

// Close ends the helper processes. Evaluations that are running fail.
func (e *Evaluator) Close() {
	if e.helpers != nil {
		e.helpers.close()
	}
}

// Compile returns the compiled form of an expression, from memory if it was compiled lately.
func (e *Evaluator) Compile(source string) (*Program, error) { return e.programs.get(source) }

// Eval returns the JSON of an expression's value. The error is an *Error, or ctx's.
func (e *Evaluator) Eval(ctx context.Context, source string, scope Scope) (json.RawMessage, error) {
	p, err := e.programs.get(source)
	if err != nil {
		return nil, err
	}
	return e.Run(ctx, p, scope)
}

// Bool tells whether the value of an expression is true, in JavaScript's sense: not false, null, 0, "" or missing.
func (e *Evaluator) Bool(ctx context.Context, source string, scope Scope) (bool, error) {
	raw, err := e.Eval(ctx, source, scope)
	if err != nil {
		return false, err
	}
	return Truthy(raw), nil
}

// Truthy is JavaScript's Boolean() of a JSON value.
func Truthy(raw json.RawMessage) bool {
	i := skipSpace(raw, 0)
	if i >= len(raw) {
		return false
	}
	switch raw[i] {
	case 'n', 'f':
		return false
	case '"':
		return i+1 < len(raw) && raw[i+1] != '"'
	case '{', '[', 't':
		return true
	}
	var f float64
	return json.Unmarshal(raw[i:], &f) != nil || f != 0
}

// Run evaluates a compiled expression.
func (e *Evaluator) Run(ctx context.Context, p *Program, scope Scope) (json.RawMessage, error) {
	o := &once{scope: scope, ctx: ctx}
	if p.plain != nil {
		raw, handled, err := p.plain.value(ctx, o)
		if err != nil {
			return nil, notGiven(p, err)
		}
		if handled {
			return raw, nil
		}
		if p, err = e.programs.engine(p.source); err != nil {
			return nil, err
		}
	}
	in, size, err := p.gather(o)
	if err != nil {
		return nil, notGiven(p, err)
	}
	if e.helpers != nil && (!p.tame || size > tameInput) {
		return e.helpers.run(ctx, p, in, o.fetch)
	}
	return e.here(ctx, p, in, o.fetch)
}

func notGiven(p *Program, err error) error {
	return &Error{Reason: NotGiven, Expr: p.source, Msg: err.Error(), Err: err}
}

// here runs a program in this process.
func (e *Evaluator) here(ctx context.Context, p *Program, in input, fetch fetcher) (json.RawMessage, error) {
	m, err := e.machine(p.tame)
	if err != nil {
		return nil, err
	}
	var w watch
	w.start(ctx, m, e.cfg.Timeout)
	raw, err := m.run(p, in, w.outside(fetch))
	stopped := w.stop()
	if p.tame && !stopped {
		e.machines.Put(m)
	}
	if ctx.Err() != nil && err != nil {
		return nil, ctx.Err()
	}
	return raw, err
}

// machine returns one that was used for tame expressions only, or a fresh one.
func (e *Evaluator) machine(tame bool) (*machine, error) {
	if tame {
		if m, ok := e.machines.Get().(*machine); ok {
			return m, nil
		}
	}
	return newMachine()
}

// watch interrupts a machine that runs too long. The clock stands while the scope is asked.
type watch struct {
	timer *time.Timer
	left  time.Duration
	since time.Time
	end   func() bool // of the watch on the context
}

func (w *watch) start(ctx context.Context, m *machine, limit time.Duration) {
	w.left, w.since = limit, time.Now()
	w.timer = time.AfterFunc(limit, func() { m.interrupt(errTime) })
	if ctx.Done() != nil {
		w.end = context.AfterFunc(ctx, func() { m.interrupt(ctx.Err()) })
	}
}

// stop ends the watch; true when it may have interrupted the machine, which then is not used again: the interrupt may come late.
func (w *watch) stop() bool {
	fired := !w.timer.Stop()
	if w.end != nil && !w.end() {
		fired = true
	}
	return fired
}

func (w *watch) outside(fetch fetcher) fetcher {
	return func(ref Ref) (json.RawMessage, error) {
		w.left -= time.Since(w.since)
		if w.timer.Stop() {
			defer func() {
				w.since = time.Now()
				w.timer.Reset(max(w.left, time.Millisecond))
			}()
		}
		return fetch(ref)
	}
}
