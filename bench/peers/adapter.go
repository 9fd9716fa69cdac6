package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// request and answer are contract.Request and contract.Answer as the driver sees them; the adapters are modules of their own.
type request struct {
	ID     int    `json:"id"`
	Op     string `json:"op"`
	Work   string `json:"work,omitempty"`
	Arg    any    `json:"arg,omitempty"`
	N      int    `json:"n,omitempty"`
	K      int    `json:"k,omitempty"`
	Urgent bool   `json:"urgent,omitempty"`
	Spans  bool   `json:"spans,omitempty"`
}

type answer struct {
	ID    int             `json:"id"`
	Value json.RawMessage `json:"value"`
	Spans [][3]float64    `json:"spans"`
	Error string          `json:"error"`
}

// adapter is a running adapter process. It is safe for concurrent use.
type adapter struct {
	variant variant
	version string
	works   []string

	group   *group
	in      io.WriteCloser
	lock    sync.Mutex
	next    int
	waiting map[int]chan answer
	gone    chan struct{} // closed when it answers no more
	log     string
}

const (
	startLimit = 4 * time.Minute // some make their databases
	stopLimit  = 30 * time.Second
)

// startAdapter starts the process; the peer itself is started by the op.
func startAdapter(v variant, build, folder string, env []string) (*adapter, error) {
	log, err := os.Create(filepath.Join(folder, "adapter.log"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }() // the child has its own
	args := slices.Clone(v.config.Command)
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "$INSTALL", v.installed(build))
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = v.folder
	cmd.Env = append(os.Environ(), env...)
	cmd.Env = append(cmd.Env, "INSTALL="+v.installed(build), "PYTHONDONTWRITEBYTECODE=1")
	for k, val := range v.Env {
		cmd.Env = append(cmd.Env, k+"="+val)
	}
	cmd.Stderr = log
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	// Not cmd.StdoutPipe, which Wait closes while the last answers are being read.
	out, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdout = w
	g, err := startGroup(cmd)
	_ = w.Close() // the child has its own
	if err != nil {
		return nil, errors.Join(err, out.Close())
	}
	a := &adapter{variant: v, group: g, in: in, waiting: map[int]chan answer{}, gone: make(chan struct{}), log: log.Name()}
	go a.read(out)
	return a, nil
}

func (a *adapter) read(out *os.File) {
	defer func() { _ = out.Close() }() // read to its end
	defer close(a.gone)
	r := bufio.NewReaderSize(out, 1<<20)
	for {
		line, err := r.ReadBytes('\n')
		if err != nil {
			return
		}
		var got answer
		if json.Unmarshal(line, &got) != nil {
			continue // a library that prints to standard output in spite of all
		}
		a.lock.Lock()
		c := a.waiting[got.ID]
		delete(a.waiting, got.ID)
		a.lock.Unlock()
		if c != nil {
			c <- got
		}
	}
}

// ask sends a request and waits for its answer.
func (a *adapter) ask(ctx context.Context, r request) (answer, error) {
	c := make(chan answer, 1)
	a.lock.Lock()
	a.next++
	r.ID = a.next
	a.waiting[r.ID] = c
	b, err := json.Marshal(r)
	if err == nil {
		_, err = a.in.Write(append(b, '\n'))
	}
	a.lock.Unlock()
	if err != nil {
		return answer{}, fmt.Errorf("ask %s: %w", a.variant.Name, err)
	}
	select {
	case got := <-c:
		if got.Error != "" {
			return got, fmt.Errorf("%s: %s %s: %s", a.variant.Name, r.Op, r.Work, got.Error)
		}
		return got, nil
	case <-a.gone:
		b, _ := os.ReadFile(a.log)
		return answer{}, fmt.Errorf("%s: the adapter is gone; its log ends with:\n%s", a.variant.Name, b[max(0, len(b)-3000):])
	case <-ctx.Done():
		return answer{}, fmt.Errorf("%s: %s %s: %w", a.variant.Name, r.Op, r.Work, context.Cause(ctx))
	}
}

// begin starts and deploys the peer.
func (a *adapter) begin(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	got, err := a.ask(ctx, request{Op: "start"})
	if err != nil {
		return err
	}
	var info struct {
		Version string   `json:"version"`
		Works   []string `json:"works"`
	}
	if err := json.Unmarshal(got.Value, &info); err != nil || len(info.Works) == 0 {
		return fmt.Errorf("%s: start answered %.200s", a.variant.Name, got.Value)
	}
	a.version, a.works = info.Version, info.Works
	_, err = a.ask(ctx, request{Op: "deploy"})
	return err
}

// end stops the peer and whatever it started.
func (a *adapter) end() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopLimit)
	defer cancel()
	_, err := a.ask(ctx, request{Op: "stop"})
	_ = a.in.Close() // which tells the adapter to end
	a.group.end(syscall.SIGTERM, 5*time.Second)
	return err
}

func (a *adapter) knows(work string) bool { return slices.Contains(a.works, work) }

// one runs one and checks the result. It returns how long that took, as seen from here.
func (a *adapter) one(ctx context.Context, r request) (time.Duration, [][3]float64, error) {
	r.Op = "one"
	want, err := r.want()
	if err != nil {
		return 0, nil, err
	}
	start := time.Now()
	got, err := a.ask(ctx, r)
	took := time.Since(start)
	if err != nil {
		return took, nil, err
	}
	if string(got.Value) != want {
		return took, nil, fmt.Errorf("%s: %s answered %.100s, want %.100s", a.variant.Name, r.Work, got.Value, want)
	}
	return took, got.Spans, nil
}

// want is the right result as JSON.
func (r request) want() (string, error) {
	switch r.Work {
	case "empty":
		return strconv.Itoa(r.Arg.(int) + 1), nil
	case "steps":
		return strconv.Itoa(r.Arg.(int) + 3), nil
	case "fan":
		return strconv.Itoa(r.N * (r.N + 1) / 2), nil
	case "payload":
		return strconv.Itoa(r.N), nil // the adapter compares the text
	case "fibo":
		list := make([]int, r.N)
		for i := range list {
			list[i] = fibonacci(r.K)
		}
		b, err := json.Marshal(list)
		return string(b), err
	}
	return "", fmt.Errorf("no work is named %q", r.Work)
}

func fibonacci(n int) int {
	a, b := 0, 1
	for range n {
		a, b = b, a+b
	}
	return a
}

// many runs n jobs and checks the sum of their results. enqueue and total count from the adapter's first call.
func (a *adapter) many(ctx context.Context, n int) (enqueue, total time.Duration, err error) {
	got, err := a.ask(ctx, request{Op: "many", Work: "empty", N: n})
	if err != nil {
		return 0, 0, err
	}
	if want := strconv.Itoa(n * (n + 1) / 2); string(got.Value) != want || len(got.Spans) != 1 {
		return 0, 0, fmt.Errorf("%s: %d jobs summed up to %s, want %s", a.variant.Name, n, got.Value, want)
	}
	t := got.Spans[0]
	micro := func(f float64) time.Duration { return time.Duration(f * float64(time.Microsecond)) }
	return micro(t[1] - t[0]), micro(t[2] - t[0]), nil
}
