package expr

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"golang.org/x/sys/unix"
)

// Limits of a helper process besides those of an expression.
const (
	helperStack = 64 << 20 // of Go: recursion in the engine ends the process here
	helperRoom  = 192 << 20
	sampling    = 5 * time.Millisecond
)

// Serve is a helper process: it runs the expressions that an Evaluator sends, one after the other, each on an engine of its
// own, until in ends. It bounds the memory of its whole process, so it must be the only thing in it.
func Serve(in io.Reader, out io.Writer) error {
	debug.SetMaxStack(helperStack)
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("1000"), 0) // if somebody has to go, then this one
	c := newConn(in, out)
	programs := cache{most: 1024}
	var limit int64
	for {
		kind, body, err := c.receive()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("serve expressions: %w", err)
		}
		var r request
		if kind != frameRun {
			return fmt.Errorf("serve expressions: unexpected message %q", kind)
		}
		if err := json.Unmarshal(body, &r); err != nil {
			return fmt.Errorf("serve expressions: %w", err)
		}
		if wanted := r.Memory + helperRoom + 8*int64(len(body)); wanted > limit {
			limit = wanted
			if err := boundMemory(limit); err != nil {
				return err
			}
		}
		if err := answer(c, &programs, &r, len(body)); err != nil {
			return fmt.Errorf("serve expressions: %w", err)
		}
	}
}

// collectAt is how much may be allocated between two collections, in percent of what is in use.
const collectAt = 25

// boundMemory makes the process end when it takes more than that: what one call of the engine allocates at once cannot be
// seen coming.
func boundMemory(most int64) error {
	debug.SetMemoryLimit(most * 3 / 4)
	// What is allocated while a collection runs counts as used until the next. With the usual hundred percent a loop that makes nothing
	// but garbage was ahead of the collector by three times its bound now and then, and ended for memory that it never held.
	debug.SetGCPercent(collectAt)
	if !bounded {
		return nil
	}
	var now unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_DATA, &now); err != nil {
		return fmt.Errorf("serve expressions: bound memory: %w", err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_DATA, &unix.Rlimit{Cur: min(uint64(most), now.Max), Max: now.Max}); err != nil {
		return fmt.Errorf("serve expressions: bound memory: %w", err)
	}
	return nil
}

// answer runs one expression.
func answer(c *conn, programs *cache, r *request, size int) error {
	raw, err := evaluate(c, programs, r, size)
	if err == nil && int64(len(raw)) > r.Memory+int64(size) {
		err = &Error{Reason: TooMuch, Expr: r.Source, Msg: fmt.Sprintf("gives %d MB, which is too large", len(raw)>>20)}
	}
	if err == nil {
		return c.send(frameValue, raw)
	}
	var e *Error
	if !errors.As(err, &e) {
		e = &Error{Reason: Engine, Expr: r.Source, Msg: err.Error()}
	}
	short := *e
	short.Expr, short.Err = "", nil
	return c.sendJSON(frameFailed, short)
}

func evaluate(c *conn, programs *cache, r *request, size int) (json.RawMessage, error) {
	p, err := programs.engine(r.Source)
	if err != nil {
		return nil, err
	}
	m, err := newMachine()
	if err != nil {
		return nil, err
	}
	var w watch
	w.start(context.Background(), m, time.Duration(r.Millis)*time.Millisecond)
	done := make(chan struct{})
	go watchMemory(m, uint64(r.Memory)+8*uint64(size), done)
	raw, err := m.run(p, r.Input, w.outside(func(ref Ref) (json.RawMessage, error) { return ask(c, ref) }))
	close(done)
	w.stop()
	return raw, err
}

func ask(c *conn, ref Ref) (json.RawMessage, error) {
	if err := c.sendJSON(frameAsk, ref); err != nil {
		return nil, err
	}
	kind, body, err := c.receive()
	if err != nil {
		return nil, err
	}
	var g given
	if kind != frameGiven {
		return nil, fmt.Errorf("unexpected message %q", kind)
	}
	if err := json.Unmarshal(body, &g); err != nil {
		return nil, err
	}
	if g.Error != "" {
		return nil, errors.New(g.Error)
	}
	return g.Value, nil
}

// watchMemory interrupts an expression that collects more than it may, with a message that says so; what it does not see in time
// meets the limit of the process. It also ends the process when an interrupt has no effect, which the evaluator does sooner,
// if it still lives.
func watchMemory(m *machine, most uint64, done <-chan struct{}) {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	// What the last collection found in use: what was allocated since it, while this goroutine waited for a processor, may be garbage too.
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	before := sample[0].Value.Uint64()
	tick := time.NewTicker(sampling)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-tick.C:
		}
		if s := m.struck.Load(); s != nil {
			if time.Since(s.at) > 4*grace {
				fmt.Fprintln(os.Stderr, s.why) // which is what the evaluator then says
				_ = unix.Kill(unix.Getpid(), unix.SIGKILL)
			}
			continue
		}
		if metrics.Read(sample); sample[0].Value.Uint64() <= before+most {
			continue
		}
		runtime.GC() // garbage that a busy machine was slow to collect is not what the expression takes
		if metrics.Read(live); live[0].Value.Uint64() > before+most {
			m.interrupt(errMemory)
		}
	}
}
