// Package agent is a worker process for the fault harness: the product's store, queue and dispatcher, with an executor that
// does nothing but take its time, and clients that push. Everything that it is told it writes into its ledger at once.
//
//	stdin   "quiet": push no more; end of file: leave in order
//	stdout  "ready", then "quiet" once no push is under way
package agent

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/millrace/millrace/cmd/internal/chaos/ledger"
	"github.com/millrace/millrace/engine/dispatch"
	"github.com/millrace/millrace/engine/queue"
	"github.com/millrace/millrace/engine/store"
)

// Tag is what agents push and take.
const Tag = "chaos"

// Config says what an agent does. It travels as JSON on the command line.
type Config struct {
	URL       string        // of the database
	Ledger    string        // file
	Name      string        // shown in logs
	Clients   int           // that push, each its next job once the last one is acknowledged
	Rate      int           // pushes a second, of all clients together
	Slots     int           // jobs at the same time
	Slow      int           // of a hundred jobs, how many take 50 to 400 ms; the others take none
	Bulk      int           // of a thousand pushes, how many are of bulkJobs at once, which leaves them queued
	Twice     bool          // sends every push, every outcome and every notification twice
	Lease     time.Duration // and so on as in queue.Config
	Heartbeat time.Duration
	Poll      time.Duration
	RetryFor  time.Duration
	Seed      uint64 // of the choice between single and bulk pushes
}

// agent is one life of the process.
type agent struct {
	cfg     Config
	log     zerolog.Logger
	ledger  *ledger.Writer
	db      *store.DB
	queue   *queue.Queue
	jobs    *dispatch.Dispatcher
	quiet   atomic.Bool
	failure chan error // the ledger cannot be written: nothing that follows could be judged
}

// Run is the life of an agent, until in ends.
func Run(config string, in io.Reader, out, logs io.Writer) error {
	var cfg Config
	if err := json.Unmarshal([]byte(config), &cfg); err != nil {
		return fmt.Errorf("agent: %w", err)
	}
	a := &agent{cfg: cfg, failure: make(chan error, 1)}
	a.log = zerolog.New(logs).With().Timestamp().Str("agent", cfg.Name).Logger()
	var err error
	if a.ledger, err = ledger.Open(cfg.Ledger); err != nil {
		return err
	}
	defer a.ledger.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if err := a.start(ctx); err != nil {
		return err
	}
	defer a.db.Close()
	if _, err := fmt.Fprintln(out, "ready"); err != nil {
		return err
	}
	var clients sync.WaitGroup
	a.push(ctx, &clients)
	if cfg.Twice {
		if err := a.echo(ctx); err != nil {
			return err
		}
	}
	told := make(chan struct{})
	go func() {
		defer close(told)
		a.obey(in, out, &clients)
	}()
	select {
	case <-told:
	case err := <-a.failure:
		return err
	}
	cancel()
	clients.Wait()
	patience, stop := context.WithTimeout(context.Background(), 10*time.Second)
	defer stop()
	a.jobs.Drain(patience)
	a.queue.Stop()
	return nil
}

// start registers as a worker and begins to take jobs.
func (a *agent) start(ctx context.Context) error {
	var err error
	if a.db, err = store.Open(ctx, store.Config{URL: a.cfg.URL, Log: a.log}); err != nil {
		return err
	}
	if a.jobs, err = dispatch.New(dispatch.Config{Executor: a, ProcessSlots: a.cfg.Slots, ProcessTags: []string{Tag}, Log: a.log}); err != nil {
		return err
	}
	// A job may be lost as often as it takes: here it is the harness that kills, not the job.
	a.queue, err = queue.New(queue.Config{
		DB: a.db, Log: a.log, Tags: []string{Tag}, Capacity: a.cfg.Slots, Name: a.cfg.Name, Slots: a.jobs, OnCancel: a.jobs.Cancel,
		Heartbeat: a.cfg.Heartbeat, Lease: a.cfg.Lease, Poll: a.cfg.Poll, RetryFor: a.cfg.RetryFor, MaxLost: 10000,
	})
	if err != nil {
		return err
	}
	if err := a.queue.Start(ctx); err != nil {
		return err
	}
	a.note(ledger.Record{Kind: ledger.Worker, Worker: a.queue.Worker(), At: ledger.Now()})
	return a.jobs.Start(ctx, witness{a})
}

// obey does what the harness says until it says no more.
func (a *agent) obey(in io.Reader, out io.Writer, clients *sync.WaitGroup) {
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		if lines.Text() == "quiet" {
			a.quiet.Store(true)
			clients.Wait()
			fmt.Fprintln(out, "quiet")
		}
	}
}

// note writes a record. The job or client that it is about goes on only afterwards.
func (a *agent) note(r ledger.Record) {
	if err := a.ledger.Add(r); err != nil {
		select {
		case a.failure <- err:
		default:
		}
	}
}
