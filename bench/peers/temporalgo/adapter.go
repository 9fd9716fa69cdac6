// Command temporalgo is the adapter of Temporal for Go. The worker is a process of its own, this program with the argument "worker"; with
// LOCAL it is in the client's process, which eager start needs. Results come by the client's long poll.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/millrace/millrace/bench/peers/contract"
)

const (
	queue      = "bench"
	atATime    = 200 // calls of many and load
	startLimit = 90 * time.Second
	tryAgain   = 100 * time.Millisecond
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "worker" {
		c, err := dial(contract.Env("TEMPORAL", ""))
		if err == nil {
			err = newWorker(c).Run(worker.InterruptCh())
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	contract.Serve(&peer{})
}

func dial(address string) (client.Client, error) {
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	return client.Dial(client.Options{HostPort: address, Logger: log.NewStructuredLogger(logger)})
}

func newWorker(c client.Client) worker.Worker {
	w := worker.New(c, queue, worker.Options{})
	for _, f := range []any{empty, payload, steps, fibo, fan, mark} {
		w.RegisterWorkflow(f)
	}
	for _, f := range []any{addOne, fiboStep, tell} {
		w.RegisterActivity(f)
	}
	return w
}

type peer struct {
	client   client.Client
	children []*exec.Cmd
	worker   worker.Worker // when it is in this process
}

// child is a process of the peer; it ends with this one.
func (p *peer) child(logName string, env []string, name string, args ...string) error {
	file, err := os.OpenFile(filepath.Join(contract.Env("DATA", ""), logName), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // the child has its own
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr, cmd.Env = file, file, append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		return err
	}
	p.children = append(p.children, cmd)
	return nil
}

// patiently asks again while the server is starting.
func patiently(what func() error) error {
	for limit := time.Now().Add(startLimit); ; <-time.After(tryAgain) {
		err := what()
		if err == nil || time.Now().After(limit) {
			return err
		}
	}
}

func (p *peer) Start(ctx context.Context) (contract.Info, error) {
	server := filepath.Join(contract.Env("INSTALL", ""), "..", "temporal-server")
	if err := p.child("server.log", nil, "bash", filepath.Join(server, "run.sh")); err != nil {
		return contract.Info{}, err
	}
	var address string
	err := patiently(func() (err error) {
		ports, err := os.ReadFile(filepath.Join(contract.Env("DATA", ""), "ports"))
		if err != nil {
			return err
		}
		first, _, _ := strings.Cut(string(ports), "\n")
		address = "127.0.0.1:" + first
		p.client, err = dial(address)
		return err
	})
	if err == nil {
		err = patiently(func() error { return p.register(ctx) })
	}
	if err != nil {
		return contract.Info{}, err
	}
	if local {
		p.worker = newWorker(p.client)
		err = patiently(p.worker.Start)
	} else {
		err = p.child("worker.log", []string{"TEMPORAL=" + address}, os.Args[0], "worker")
	}
	if err != nil {
		return contract.Info{}, err
	}
	err = patiently(func() error {
		ctx, cancel := context.WithTimeout(ctx, startLimit)
		defer cancel()
		_, err := execute[int](ctx, p, empty, 1)
		return err
	})
	if err != nil {
		return contract.Info{}, err
	}
	info, err := p.client.WorkflowService().GetSystemInfo(ctx, &workflowservice.GetSystemInfoRequest{})
	return contract.Info{Version: info.GetServerVersion() + ", SDK " + temporal.SDKVersion,
		Works: []string{"empty", "payload", "steps", "fibo", "fan", "many", "load"}}, err
}

// register makes the namespace. All parts of the server know it only after a while.
func (p *peer) register(ctx context.Context) error {
	_, err := p.client.WorkflowService().RegisterNamespace(ctx, &workflowservice.RegisterNamespaceRequest{
		Namespace: client.DefaultNamespace, WorkflowExecutionRetentionPeriod: durationpb.New(24 * time.Hour)})
	var exists *serviceerror.NamespaceAlreadyExists
	if errors.As(err, &exists) {
		return nil
	}
	return err
}

func (p *peer) Deploy(context.Context) error { return nil } // the worker has the workflows

func (p *peer) begin(ctx context.Context, workflow any, args ...any) (client.WorkflowRun, error) {
	return p.client.ExecuteWorkflow(ctx, client.StartWorkflowOptions{TaskQueue: queue, EnableEagerStart: local}, workflow, args...)
}

func execute[T any](ctx context.Context, p *peer, workflow any, args ...any) (value T, err error) {
	run, err := p.begin(ctx, workflow, args...)
	if err == nil {
		err = run.Get(ctx, &value)
	}
	return value, err
}

func (p *peer) One(ctx context.Context, r contract.Request) (any, [][3]float64, error) {
	switch r.Work {
	case "payload":
		value, err := execute[string](ctx, p, payload, r.Text)
		return value, nil, err
	case "fan":
		value, err := execute[int](ctx, p, fan, 0, r.N)
		return value, nil, err
	case "fibo":
		return p.fibo(ctx, r)
	}
	n, err := r.Number()
	if err != nil {
		return nil, nil, err
	}
	workflow := any(empty)
	if r.Work == "steps" {
		workflow = steps
	}
	value, err := execute[int](ctx, p, workflow, n)
	return value, nil, err
}

// fibo takes values and times apart. The next step is asked for once the one before has ended.
func (p *peer) fibo(ctx context.Context, r contract.Request) (any, [][3]float64, error) {
	results, err := execute[[]fiboResult](ctx, p, fibo, r.N, r.K)
	var values []int
	var spans [][3]float64
	for i, s := range results {
		created := s.Began
		if i > 0 {
			created = results[i-1].Ended
		}
		values, spans = append(values, s.Value), append(spans, [3]float64{created, s.Began, s.Ended})
	}
	return values, spans, err
}

// each calls what(0) to what(n-1), so many at a time.
func each(n int, what func(i int) error) error {
	var wg sync.WaitGroup
	errs := make([]error, n)
	gate := make(chan struct{}, atATime)
	for i := range n {
		gate <- struct{}{}
		wg.Go(func() {
			errs[i] = what(i)
			<-gate
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Many starts workflow after workflow: there is no bulk call.
func (p *peer) Many(ctx context.Context, r contract.Request) (sum int, times [3]float64, err error) {
	times[0] = contract.Now()
	runs, values := make([]client.WorkflowRun, r.N), make([]int, r.N)
	err = each(r.N, func(i int) (err error) {
		runs[i], err = p.begin(ctx, empty, i)
		return err
	})
	times[1] = contract.Now()
	if err == nil {
		err = each(r.N, func(i int) error { return runs[i].Get(ctx, &values[i]) })
	}
	times[2] = contract.Now()
	for _, v := range values {
		sum += v
	}
	return sum, times, err
}

func (p *peer) Backlog(context.Context, contract.Request) error { return contract.ErrUnsupported }

func (p *peer) Load(ctx context.Context, r contract.Request) error {
	return each(r.N, func(i int) error {
		_, err := p.begin(ctx, mark, i, r.K)
		return err
	})
}

func (p *peer) Stop(context.Context) error {
	if p.worker != nil {
		p.worker.Stop()
	}
	for _, c := range p.children {
		_ = c.Process.Signal(syscall.SIGTERM) // it may be gone already
	}
	return nil
}
