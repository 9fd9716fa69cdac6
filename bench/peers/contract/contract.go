// Package contract is the Go side of what the driver and a peer's adapter say to each other: one JSON object a line, requests on
// standard input, answers on standard output in any order, the peer's own chatter on standard error. contract.py and contract.mjs
// are the same for the other languages. It has no dependencies, so that no peer's versions meet another's.
package contract

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Request is what the driver asks for.
type Request struct {
	ID   int             `json:"id"`
	Op   string          `json:"op"`   // start, deploy, one, many, backlog, load, stop
	Work string          `json:"work"` // empty, fibo, steps, fan, payload
	Arg  json.RawMessage `json:"arg"`  // empty, steps: a number
	N    int             `json:"n"`    // steps of fibo, branches of fan, characters of payload, jobs of many, backlog and load
	K    int             `json:"k"`    // fibo(k); of load the port where the driver hears which jobs ran
	// Urgent puts a job before those of the backlog.
	Urgent bool `json:"urgent"`
	// Spans asks for the times of the steps; such a run is not itself timed, because some peers must look them up.
	Spans bool `json:"spans"`
	// Text is the argument of payload, and must be its result. It is made here and compared here, and only its length goes to the driver:
	// the way between driver and adapter would take longer than most peers do.
	Text string `json:"-"`
}

// Answer is what came of it. Spans holds for each step when it was created, started and ended, in microseconds of the wall clock.
type Answer struct {
	ID    int          `json:"id"`
	Value any          `json:"value"`
	Spans [][3]float64 `json:"spans,omitempty"`
	Error string       `json:"error,omitempty"`
}

// Peer is what an adapter implements. Methods are called concurrently between Deploy and Stop.
type Peer interface {
	// Start starts servers and workers, and returns when they take work: its version and the works it knows.
	Start(ctx context.Context) (Info, error)
	Deploy(ctx context.Context) error
	// One runs one and returns once its result is there and durable.
	One(ctx context.Context, r Request) (any, [][3]float64, error)
	// Many enqueues r.N jobs by the peer's bulk call and waits until all are completed. It returns the sum of their results, which
	// is N(N+1)/2 since job i gets the argument i, and when it began, when all were enqueued and when all were completed.
	Many(ctx context.Context, r Request) (sum int, times [3]float64, err error)
	// Backlog enqueues r.N jobs of which few can have run when it returns.
	Backlog(ctx context.Context, r Request) error
	// Load enqueues r.N jobs and returns when all are accepted. Job i connects to port r.K of this host, writes i and a line feed, and
	// waits for a byte or the end of the connection: so the driver knows what ran, whatever the peer remembers. Load must not wait for
	// the jobs, some of which hang. Then everything but the store is killed, and Start and Deploy follow in a new process with the
	// same environment.
	Load(ctx context.Context, r Request) error
	Stop(ctx context.Context) error
}

// Info is the answer to start.
type Info struct {
	Version string   `json:"version"`
	Works   []string `json:"works"` // as in Request.Work, and "many", "backlog", "load"
}

// ErrUnsupported is returned for what a peer has no notion of.
var ErrUnsupported = errors.New("unsupported")

// Serve answers requests until standard input ends.
func Serve(p Peer) {
	ctx := context.Background()
	out := bufio.NewWriter(os.Stdout)
	var lock sync.Mutex
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	var wg sync.WaitGroup
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			break
		}
		wg.Go(func() {
			var r Request
			a := Answer{}
			err := json.Unmarshal(line, &r)
			if err == nil {
				a, err = handle(ctx, p, r)
			}
			if err != nil {
				a.Error = err.Error()
			}
			a.ID = r.ID
			b, err := json.Marshal(a)
			if err != nil {
				b = fmt.Appendf(nil, `{"id":%d,"error":%q}`, r.ID, err)
			}
			lock.Lock()
			defer lock.Unlock()
			_, _ = out.Write(append(b, '\n')) // a driver that is gone ends standard input too
			_ = out.Flush()
		})
	}
	wg.Wait()
}

func handle(ctx context.Context, p Peer, r Request) (a Answer, err error) {
	switch r.Op {
	case "start":
		a.Value, err = p.Start(ctx)
	case "deploy":
		err = p.Deploy(ctx)
	case "one":
		if r.Work == "payload" {
			r.Text = text(r.N, r.ID)
		}
		a.Value, a.Spans, err = p.One(ctx, r)
		if r.Work == "payload" && err == nil {
			if a.Value != r.Text {
				return a, fmt.Errorf("payload: the result is not the %d characters of the argument", r.N)
			}
			a.Value = r.N
		}
	case "many":
		var times [3]float64
		a.Value, times, err = p.Many(ctx, r)
		a.Spans = [][3]float64{times}
	case "backlog":
		err = p.Backlog(ctx, r)
	case "load":
		err = p.Load(ctx, r)
	case "stop":
		err = p.Stop(ctx)
	default:
		err = fmt.Errorf("%w: op %q", ErrUnsupported, r.Op)
	}
	return a, err
}

var texts sync.Map // by length

// text returns n characters, at least 16, that compress about as well as the values of users do: hexadecimal hashes of 0, 1, 2 ... The first are the
// request's id, so that no system has had the same before.
func text(n, id int) string {
	name := fmt.Sprintf("%016x", id)
	if s, ok := texts.Load(n); ok {
		return name + s.(string)[len(name):]
	}
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		_, _ = fmt.Fprintf(&b, "%x", sha256.Sum256([]byte(strconv.Itoa(i)))) // a builder never fails
	}
	s := b.String()[:n]
	texts.Store(n, s)
	return name + s[len(name):]
}

// Tell says to the driver that job i ran.
func Tell(i, port int) error {
	c, err := net.Dial("tcp", "127.0.0.1:"+strconv.Itoa(port))
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }() // what it said was answered
	if _, err := fmt.Fprintln(c, i); err != nil {
		return err
	}
	if _, err = c.Read(make([]byte, 1)); errors.Is(err, io.EOF) {
		return nil // the driver's answer
	}
	return err
}

// Number reads the argument of empty and steps.
func (r Request) Number() (int, error) { return strconv.Atoi(string(r.Arg)) }

// Now is the wall clock in microseconds.
func Now() float64 { return float64(time.Now().UnixNano()) / 1000 }

// Fibo is the work of a step, the slow way on purpose.
func Fibo(n int) int {
	if n < 2 {
		return n
	}
	return Fibo(n-1) + Fibo(n-2)
}

// Env returns a setting from the peer's config.json, or what is used without.
func Env(name, without string) string {
	if v, ok := os.LookupEnv(name); ok {
		return v
	}
	return without
}

// EnvInt is Env for numbers.
func EnvInt(name string, without int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return without
}
