// Command dbosgo is the adapter of DBOS for Go: client and workflows in one program, as in its manual.
package main

import (
	"context"
	"log/slog"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/dbos-inc/dbos-transact-golang/dbos"

	"github.com/millrace/millrace/bench/peers/contract"
)

func main() { contract.Serve(&peer{}) }

type peer struct{ ctx dbos.Context }

func (p *peer) Start(ctx context.Context) (contract.Info, error) {
	var err error
	p.ctx, err = dbos.NewContext(ctx, dbos.Config{
		AppName:     "bench",
		DatabaseURL: strings.Replace(contract.Env("DATABASE_URL", ""), "/postgres?", "/dbos?", 1),
		Logger:      slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
		// A program that was killed and starts again is the same to DBOS: what it had begun is its own.
		ApplicationVersion: "1",
		ExecutorID:         "bench",
	})
	if err != nil {
		return contract.Info{}, err
	}
	dbos.RegisterWorkflow(p.ctx, empty)
	dbos.RegisterWorkflow(p.ctx, payload)
	dbos.RegisterWorkflow(p.ctx, steps)
	dbos.RegisterWorkflow(p.ctx, fibo)
	dbos.RegisterWorkflow(p.ctx, fan)
	dbos.RegisterWorkflow(p.ctx, mark)
	if err := dbos.Launch(p.ctx); err != nil {
		return contract.Info{}, err
	}
	if ms := contract.EnvInt("QUEUE_POLL_MS", 0); ms > 0 {
		if queue, err = dbos.RegisterQueue(p.ctx, "jobs", dbos.WithQueueBasePollingInterval(time.Duration(ms)*time.Millisecond)); err != nil {
			return contract.Info{}, err
		}
	}
	return contract.Info{Version: version(), Works: []string{"empty", "payload", "steps", "fibo", "fan", "many", "load"}}, nil
}

func version() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if m.Path == "github.com/dbos-inc/dbos-transact-golang" {
				return m.Version
			}
		}
	}
	return ""
}

func (p *peer) Deploy(context.Context) error { return nil } // the program has the workflows

func run[P, R any](p *peer, workflow dbos.Workflow[P, R], input P) (R, error) {
	h, err := dbos.RunWorkflow(p.ctx, workflow, input, onQueue()...)
	if err != nil {
		var none R
		return none, err
	}
	return h.GetResult(waiting())
}

func (p *peer) One(_ context.Context, r contract.Request) (any, [][3]float64, error) {
	switch r.Work {
	case "payload":
		value, err := run(p, payload, r.Text)
		return value, nil, err
	case "fan":
		value, err := run(p, fan, r.N)
		return value, nil, err
	case "fibo":
		return p.fibo(r)
	}
	n, err := r.Number()
	if err != nil {
		return nil, nil, err
	}
	workflow := empty
	if r.Work == "steps" {
		workflow = steps
	}
	value, err := run(p, workflow, n)
	return value, nil, err
}

// fibo takes values and times apart. The next step is asked for when the one before is stored.
func (p *peer) fibo(r contract.Request) (any, [][3]float64, error) {
	results, err := run(p, fibo, fiboInput{r.N, r.K})
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

// Many starts workflow after workflow: there is no bulk call.
func (p *peer) Many(_ context.Context, r contract.Request) (sum int, times [3]float64, err error) {
	times[0] = contract.Now()
	handles := make([]dbos.WorkflowHandle[int], r.N)
	for i := range handles {
		if handles[i], err = dbos.RunWorkflow(p.ctx, empty, i, onQueue()...); err != nil {
			return 0, times, err
		}
	}
	times[1] = contract.Now()
	for _, h := range handles {
		value, err := h.GetResult(waiting())
		if err != nil {
			return 0, times, err
		}
		sum += value
	}
	times[2] = contract.Now()
	return sum, times, nil
}

func (p *peer) Backlog(context.Context, contract.Request) error { return contract.ErrUnsupported }

func (p *peer) Load(_ context.Context, r contract.Request) error {
	for i := range r.N {
		if _, err := dbos.RunWorkflow(p.ctx, mark, markInput{i, r.K}, onQueue()...); err != nil {
			return err
		}
	}
	return nil
}

func (p *peer) Stop(context.Context) error { return dbos.Shutdown(p.ctx, 5*time.Second) }
