package expr

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// grace is how much longer than an expression a helper may take before it is killed: it stops most of them itself, and knows
// better where they were.
const grace = 500 * time.Millisecond

// helpers are the helper processes of an Evaluator: at most so many, one expression each at a time.
type helpers struct {
	cfg    Config
	places chan struct{}

	mu     sync.Mutex
	idle   []*helper
	all    map[*helper]bool
	closed bool
}

// helper is one process.
type helper struct {
	*conn
	cmd    *exec.Cmd
	stdin  io.Closer
	stderr *said
	killed sync.Once
	ended  chan struct{} // closed when the process has ended
}

func newHelpers(cfg Config) *helpers {
	return &helpers{cfg: cfg, places: make(chan struct{}, cfg.Helpers), all: map[*helper]bool{}}
}

func (hs *helpers) run(ctx context.Context, p *Program, in input, fetch fetcher) (json.RawMessage, error) {
	select {
	case hs.places <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-hs.places }()
	h, err := hs.take()
	if err != nil {
		return nil, &Error{Reason: Engine, Expr: p.source, Msg: err.Error(), Err: err}
	}
	raw, good, err := h.run(ctx, p, in, fetch, &hs.cfg)
	hs.put(h, good)
	return raw, err
}

// take returns an idle helper or starts one.
func (hs *helpers) take() (*helper, error) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	if hs.closed {
		return nil, errors.New("expressions are no longer evaluated: the server is stopping")
	}
	if n := len(hs.idle); n > 0 {
		h := hs.idle[n-1]
		hs.idle = hs.idle[:n-1]
		return h, nil
	}
	h, err := startHelper(hs.cfg.Helper)
	if err == nil {
		hs.all[h] = true
	}
	return h, err
}

func (hs *helpers) put(h *helper, good bool) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	if good && !hs.closed {
		hs.idle = append(hs.idle, h)
		return
	}
	delete(hs.all, h)
	h.kill()
}

func (hs *helpers) close() {
	hs.mu.Lock()
	hs.closed, hs.idle = true, nil
	all := hs.all
	hs.all = map[*helper]bool{}
	hs.mu.Unlock()
	for h := range all {
		h.kill()
		<-h.ended
	}
}

func startHelper(argv []string) (*helper, error) {
	h := &helper{cmd: exec.Command(argv[0], argv[1:]...), stderr: &said{}, ended: make(chan struct{})}
	h.cmd.Env = []string{"GOTRACEBACK=none", helperEnv + "=1"}
	h.cmd.Dir = "/"
	h.cmd.Stderr = h.stderr
	stdin, err := h.cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start the expression helper: %w", err)
	}
	stdout, err := h.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start the expression helper: %w", err)
	}
	h.stdin = stdin
	h.conn = newConn(stdout, stdin)
	if err := h.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the expression helper: %w", err)
	}
	go func() {
		_ = h.cmd.Wait() // how it ended is in what it wrote
		close(h.ended)
	}()
	return h, nil
}

// helperEnv is set in the environment of helpers, which is otherwise empty: for programs that are their own helper.
const helperEnv = "MILLRACE_EXPRESSIONS"

// IsHelper tells whether this process was started as a helper.
func IsHelper() bool { return os.Getenv(helperEnv) != "" }

func (h *helper) kill() {
	h.killed.Do(func() {
		_ = h.cmd.Process.Kill() // it may just have ended
		h.stdin.Close()
	})
}

// run has the helper evaluate a program; good is false when the helper cannot be used again.
func (h *helper) run(ctx context.Context, p *Program, in input, fetch fetcher, cfg *Config) (raw json.RawMessage, good bool, err error) {
	t := talk{helper: h, program: p, left: cfg.Timeout + grace}
	defer context.AfterFunc(ctx, h.kill)()
	t.resume()
	defer t.pause()
	r := request{Source: p.source, Input: in, Millis: cfg.Timeout.Milliseconds(), Memory: cfg.Memory}
	if err := h.sendJSON(frameRun, &r); err != nil {
		return nil, false, t.died(ctx, err)
	}
	for {
		kind, body, err := h.receive()
		if err != nil {
			return nil, false, t.died(ctx, err)
		}
		switch kind {
		case frameValue:
			return body, true, nil
		case frameFailed:
			return nil, true, t.failed(body)
		case frameAsk:
			if err := t.give(body, fetch); err != nil {
				return nil, false, t.died(ctx, err)
			}
		default:
			return nil, false, t.died(ctx, fmt.Errorf("unexpected message %q", kind))
		}
	}
}

// talk is one evaluation by a helper. Its clock stands while the scope is asked.
type talk struct {
	*helper
	program *Program
	left    time.Duration
	since   time.Time
	timer   *time.Timer
	refused error // what the scope said when it failed
}

func (t *talk) resume() {
	t.since = time.Now()
	t.timer = time.AfterFunc(max(t.left, time.Millisecond), t.kill)
}

func (t *talk) pause() {
	t.timer.Stop()
	t.left -= time.Since(t.since)
}

// give answers a question of the helper.
func (t *talk) give(body []byte, fetch fetcher) error {
	var ref Ref
	if err := json.Unmarshal(body, &ref); err != nil {
		return err
	}
	t.pause()
	raw, err := fetch(ref)
	t.resume()
	g := given{Value: raw}
	if err != nil {
		t.refused = err
		g = given{Error: err.Error()}
	}
	return t.sendJSON(frameGiven, g)
}

// failed is what the helper said of an expression without a value.
func (t *talk) failed(body []byte) error {
	e := &Error{}
	if err := json.Unmarshal(body, e); err != nil {
		return &Error{Reason: Engine, Expr: t.program.source, Msg: err.Error()}
	}
	e.Expr = t.program.source
	if e.Reason == NotGiven {
		e.Err = t.refused
	}
	return e
}

// died is what to say when a helper ended, or was ended, instead of answering.
func (t *talk) died(ctx context.Context, cause error) error {
	t.pause()
	t.kill()
	<-t.ended
	if ctx.Err() != nil {
		return ctx.Err()
	}
	e := &Error{Expr: t.program.source}
	switch text := t.stderr.String(); {
	case t.left <= 0, strings.Contains(text, errTime.Error()):
		e.Reason, e.Msg = TooLong, errTime.Error()
	case strings.Contains(text, "out of memory"), strings.Contains(text, "cannot allocate"), strings.Contains(text, errMemory.Error()),
		collectorFault(text):
		e.Reason, e.Msg = TooMuch, errMemory.Error()
	case strings.Contains(text, "stack overflow"), strings.Contains(text, "stack exceeds"):
		e.Reason, e.Msg = TooMuch, "nests too deep"
	default:
		e.Reason, e.Msg = Engine, fmt.Sprintf("the expression helper ended: %v %s", cause, text)
	}
	return e
}

// collectorFault tells whether Go's own code met a nil pointer on one of its own stacks (goroutine 0). A helper has no C and
// no unsafe code: this is the garbage collector of Go 1.26, whose newSpanSPMC uses what sysAlloc gives it without asking
// whether the process's limit refused it. A nil pointer in ours, or the engine's, is a panic on another goroutine.
func collectorFault(text string) bool {
	return strings.Contains(text, "SIGSEGV") && strings.Contains(text, "goroutine 0 ")
}

// said keeps the beginning of what a helper writes to its standard error, which is where the Go runtime says why it gave up.
type said struct {
	mu   sync.Mutex
	text []byte
}

func (t *said) Write(b []byte) (int, error) {
	const most = 4 << 10
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, b[:min(len(b), most-len(t.text))]...)
	return len(b), nil
}

func (t *said) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.text))
}
