// Command river is the adapter of River: client and workers in one program, as in its manual.
package main

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"

	"github.com/millrace/millrace/bench/peers/contract"
)

func main() { contract.Serve(&peer{}) }

type peer struct {
	pool    *pgxpool.Pool
	client  *river.Client[pgx.Tx]
	results *results
	cancel  func()
	next    int
	lock    sync.Mutex
}

// result is what a worker computed; it counts once River has said that the job's completion is stored.
type result struct {
	run   string
	value any
	spans [][3]float64
}

type results struct {
	lock    sync.Mutex
	byJob   map[int64]result
	waiting map[string]chan result // by run
}

func (r *results) put(job int64, run string, value any, spans [][3]float64) {
	r.lock.Lock()
	defer r.lock.Unlock()
	r.byJob[job] = result{run, value, spans}
}

func (r *results) wait(run string, n int) chan result {
	r.lock.Lock()
	defer r.lock.Unlock()
	c := make(chan result, n)
	r.waiting[run] = c
	return c
}

func (r *results) completed(job int64) {
	r.lock.Lock()
	defer r.lock.Unlock()
	got, ok := r.byJob[job]
	if !ok {
		return // a step that is not the last
	}
	delete(r.byJob, job)
	if c := r.waiting[got.run]; c != nil {
		c <- got
	}
}

func (r *results) forget(run string) {
	r.lock.Lock()
	defer r.lock.Unlock()
	delete(r.waiting, run)
}

func (p *peer) Start(ctx context.Context) (contract.Info, error) {
	config, err := pgxpool.ParseConfig(contract.Env("DATABASE_URL", ""))
	if err != nil {
		return contract.Info{}, err
	}
	config.MaxConns = 32
	if p.pool, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return contract.Info{}, err
	}
	migrator, err := rivermigrate.New(riverpgxv5.New(p.pool), nil)
	if err != nil {
		return contract.Info{}, err
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return contract.Info{}, err
	}
	p.results = &results{byJob: map[int64]result{}, waiting: map[string]chan result{}}
	workers := river.NewWorkers()
	river.AddWorker(workers, &emptyWorker{results: p.results})
	river.AddWorker(workers, &payloadWorker{results: p.results})
	river.AddWorker(workers, &markWorker{})
	river.AddWorker(workers, &stepWorker{results: p.results, begin: p.pool.Begin})
	p.client, err = river.NewClient(riverpgxv5.New(p.pool), &river.Config{
		Queues:            map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: contract.EnvInt("MAX_WORKERS", 100)}},
		FetchCooldown:     time.Duration(contract.EnvInt("FETCH_COOLDOWN_MS", 100)) * time.Millisecond,
		FetchPollInterval: time.Duration(contract.EnvInt("FETCH_POLL_MS", 1000)) * time.Millisecond,
		Workers:           workers,
	})
	if err != nil {
		return contract.Info{}, err
	}
	events, cancel := p.client.SubscribeConfig(&river.SubscribeConfig{ChanSize: 200_000, Kinds: []river.EventKind{river.EventKindJobCompleted}})
	p.cancel = cancel
	go func() {
		for e := range events {
			p.results.completed(e.Job.ID)
		}
	}()
	info := contract.Info{Works: []string{"empty", "fibo", "steps", "payload", "many", "backlog", "load"}}
	if build, ok := debug.ReadBuildInfo(); ok {
		for _, d := range build.Deps {
			if d.Path == "github.com/riverqueue/river" {
				info.Version = d.Version
			}
		}
	}
	return info, p.client.Start(ctx)
}

func (p *peer) Deploy(context.Context) error { return nil }

func (p *peer) run() string {
	p.lock.Lock()
	defer p.lock.Unlock()
	p.next++
	return fmt.Sprint(p.next)
}

func (p *peer) One(ctx context.Context, r contract.Request) (any, [][3]float64, error) {
	run := p.run()
	opts := &river.InsertOpts{Priority: 2}
	if r.Urgent {
		opts.Priority = 1
	}
	var args river.JobArgs
	switch r.Work {
	case "empty":
		n, err := r.Number()
		if err != nil {
			return nil, nil, err
		}
		args = emptyArgs{n, run}
	case "steps":
		n, err := r.Number()
		if err != nil {
			return nil, nil, err
		}
		args = stepArgs{Run: run, Left: 2, Values: []int{n}, Created: contract.Now()}
	case "fibo":
		args = stepArgs{Run: run, Left: r.N - 1, K: r.K, Created: contract.Now()}
	case "payload":
		args = payloadArgs{r.Text, run}
	default:
		return nil, nil, fmt.Errorf("%w: %s", contract.ErrUnsupported, r.Work)
	}
	c := p.results.wait(run, 1)
	defer p.results.forget(run)
	if _, err := p.client.Insert(ctx, args, opts); err != nil {
		return nil, nil, err
	}
	got := <-c
	return got.value, got.spans, nil
}

const insertChunk = 10_000

func (p *peer) insert(ctx context.Context, run string, n int) error {
	for from := 0; from < n; from += insertChunk {
		var list []river.InsertManyParams
		for i := from; i < min(n, from+insertChunk); i++ {
			list = append(list, river.InsertManyParams{Args: emptyArgs{i, run}, InsertOpts: &river.InsertOpts{Priority: 3}})
		}
		if _, err := p.client.InsertManyFast(ctx, list); err != nil {
			return err
		}
	}
	return nil
}

func (p *peer) Many(ctx context.Context, r contract.Request) (sum int, times [3]float64, err error) {
	run := p.run()
	c := p.results.wait(run, r.N)
	defer p.results.forget(run)
	times[0] = contract.Now()
	if err := p.insert(ctx, run, r.N); err != nil {
		return 0, times, err
	}
	times[1] = contract.Now()
	for range r.N {
		got := <-c
		sum += got.value.(int)
	}
	times[2] = contract.Now()
	return sum, times, nil
}

func (p *peer) Backlog(ctx context.Context, r contract.Request) error {
	return p.insert(ctx, "backlog", r.N)
}

func (p *peer) Load(ctx context.Context, r contract.Request) error {
	var list []river.InsertManyParams
	for i := range r.N {
		list = append(list, river.InsertManyParams{Args: markArgs{i, r.K}})
	}
	_, err := p.client.InsertManyFast(ctx, list)
	return err
}

func (p *peer) Stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	err := p.client.StopAndCancel(ctx)
	p.cancel()
	p.pool.Close()
	return err
}
