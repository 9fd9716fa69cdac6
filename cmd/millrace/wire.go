package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/millrace/millrace/cmd/internal/cli"
	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/auth"
	"github.com/millrace/millrace/engine/batches"
	"github.com/millrace/millrace/engine/bus"
	"github.com/millrace/millrace/engine/catalog"
	"github.com/millrace/millrace/engine/deploy"
	"github.com/millrace/millrace/engine/dispatch"
	"github.com/millrace/millrace/engine/execute"
	"github.com/millrace/millrace/engine/flow/control"
	"github.com/millrace/millrace/engine/flow/runner"
	"github.com/millrace/millrace/engine/folder"
	"github.com/millrace/millrace/engine/jobs"
	"github.com/millrace/millrace/engine/live"
	"github.com/millrace/millrace/engine/maintain"
	"github.com/millrace/millrace/engine/metric"
	"github.com/millrace/millrace/engine/pool"
	"github.com/millrace/millrace/engine/prepare"
	"github.com/millrace/millrace/engine/queue"
	"github.com/millrace/millrace/engine/store"
	"github.com/millrace/millrace/engine/store/pgserver"
	"github.com/millrace/millrace/engine/trigger/schedule"
	"github.com/millrace/millrace/engine/trim"
	"github.com/millrace/millrace/engine/workflow"
	"github.com/millrace/millrace/runtimes"
	"github.com/millrace/millrace/runtimes/build"
	"github.com/millrace/millrace/sandbox"
	"github.com/millrace/millrace/web"
)

// daemon is the only place where all parts meet. start makes them in order of need, stop undoes that in the opposite order.
type daemon struct {
	cfg    config
	log    zerolog.Logger
	failed chan error // a part gave up while running

	registry *runtimes.Registry
	isolator sandbox.Isolator
	pg       *pgserver.Server // nil with --database-url
	db       *store.DB
	bound    net.Listener // of --listen with port 0
	server   *web.Server
	guests   atomic.Pointer[web.Server] // server, for calls from inside of slots
	nets     execute.Networks
	jobs     *jobs.Jobs
	dispatch *dispatch.Dispatcher
	pool     *pool.Pool

	stops []func(context.Context) // in order of start
	warm  sync.WaitGroup
	// cachesWarm: what makes first builds fast is there, or will not come.
	cachesWarm atomic.Bool
	metrics    *metric.Set
}

func newDaemon(c config, log zerolog.Logger) *daemon {
	return &daemon{cfg: c, log: log, failed: make(chan error, 4), registry: families()}
}

func (d *daemon) url() string    { return "http://" + d.server.Addr() }
func (d *daemon) socket() string { return filepath.Join(d.cfg.data, "run", "millrace.sock") }

// onStop registers what stop must do.
func (d *daemon) onStop(f func(context.Context)) { d.stops = append(d.stops, f) }

// stop stops every part that was started; patience is how long running jobs may go on.
func (d *daemon) stop(patience context.Context) {
	for i := len(d.stops) - 1; i >= 0; i-- {
		d.stops[i](patience)
	}
	if d.db != nil {
		d.db.Close()
	}
	if d.pg != nil {
		d.pg.Stop()
	}
}

// start brings the daemon up: database and sandbox side by side, then the engine, then the front.
func (d *daemon) start(ctx context.Context) error {
	for _, dir := range []string{d.cfg.data, filepath.Join(d.cfg.data, "run"), filepath.Join(d.cfg.data, "cache")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("make data folder: %w", err)
		}
	}
	lib, err := libDir()
	if err != nil {
		return err
	}
	var dbErr, boxErr error
	var wg sync.WaitGroup
	wg.Go(func() { dbErr = d.startDatabase(ctx) })
	wg.Go(func() { boxErr = d.startSandbox(ctx, lib) })
	wg.Wait()
	if err := errors.Join(dbErr, boxErr); err != nil {
		return err
	}
	return d.startEngine(ctx)
}

// startDatabase uses the given server or brings up a private one.
func (d *daemon) startDatabase(ctx context.Context) error {
	url := d.cfg.databaseURL
	if url == "" {
		pg, err := pgserver.New(pgserver.Config{Dir: filepath.Join(d.cfg.data, "postgres"), Log: d.log.With().Str("part", "postgres").Logger()})
		if err != nil {
			return err
		}
		if err := pg.Start(ctx); err != nil {
			return err
		}
		d.pg = pg
		go func() {
			<-pg.Done()
			if err := pg.Err(); err != nil {
				d.failed <- fmt.Errorf("private database: %w", err)
			}
		}()
		url = pg.ConnString()
	}
	db, err := store.Open(ctx, store.Config{URL: url, Log: d.log.With().Str("part", "store").Logger()})
	if err != nil {
		return err
	}
	d.db = db
	return nil
}

// detect looks for the tools of every language, all at the same time.
func (d *daemon) detect(ctx context.Context, lib string) {
	var wg sync.WaitGroup
	for _, e := range d.registry.All() {
		wg.Go(func() { e.Host, e.Err = e.Detect(ctx, lib) })
	}
	wg.Wait()
	for _, e := range d.registry.All() {
		if e.Err != nil {
			d.log.Warn().Str("language", e.Info().Name).Err(e.Err).Msg("language unavailable")
		}
	}
}

// startEngine wires queue, dispatch, pool and the facades, and opens the front.
func (d *daemon) startEngine(ctx context.Context) error {
	if err := d.bind(); err != nil {
		return err
	}
	slots := d.cfg.processSlots()
	part := func(name string) zerolog.Logger { return d.log.With().Str("part", name).Logger() }
	signals, logs := bus.New(), live.New()

	gate, err := auth.New(auth.Config{DB: d.db, Log: part("auth")})
	if err != nil {
		return err
	}
	values, err := d.values(gate, part("secret"))
	if err != nil {
		return err
	}
	scripts, err := catalog.New(catalog.Config{DB: d.db, Registry: d.registry, MaxLimits: d.cfg.maxLimits, Log: part("catalog")})
	if err != nil {
		return err
	}
	builder, err := build.New(build.Config{Isolator: d.isolator, CacheDir: filepath.Join(d.cfg.data, "cache"), Remove: d.remover(), Log: part("build")})
	if err != nil {
		return err
	}
	if d.pool, err = pool.New(pool.Config{
		Isolator: d.isolator, MaxSlots: 2*slots + 4 + d.cfg.dedicated, Dedicated: pool.Dedicated{Max: d.cfg.dedicated}, Log: part("pool"),
	}); err != nil {
		return err
	}
	contacts, err := d.startContacts(ctx)
	if err != nil {
		return err
	}
	d.nets = d.networks()
	d.nets.Contacts = contacts
	out := &output{}
	d.metrics = metric.New(cli.Version, metric.Gauges{
		Slots:         func() int { n, _ := d.dispatch.Stats(); return n },
		FreeSlots:     func() int { _, n := d.dispatch.Stats(); return n },
		OpenSandboxes: func() int { return d.pool.Stats().Open },
		WarmOnes:      func() int { return d.pool.Stats().Warm },
		Queued:        func() float64 { return queued(out.Queue) },
		CachesWarm:    d.cachesWarm.Load,
	})
	devices, gated := d.gpus(part("gpu"))
	workflows := workflow.Config{Store: d.db, Bus: signals, Kept: slots + 2, Log: part("workflow")}
	var host *workflow.Host // once there is a queue
	flows, suspended := &flows{}, &struct{ *queue.Queue }{}
	folders := folder.New(folder.Config{Pool: d.pool, Store: d.db, Size: d.cfg.limits.WithDefaults().WorkSize, Log: part("folder")})
	executor := execute.New(execute.Config{
		Folders: folders, FolderOf: flows.folder, Squash: flows.squash,
		Workflows: func(c *engine.Claim) *workflow.Session { return host.Open(c) },
		Scripts:   scripts, Flows: scripts.Flows(), Values: values, Logs: out, Requests: out, Live: logs, Bus: signals, Prepare: prepare.New(d.registry, builder), Pool: d.pool,
		Env: execute.Env(d.baseURL(), gate.JobToken), Defaults: d.cfg.limits, MaxLimits: d.cfg.maxLimits, GPUs: devices, Networks: d.nets,
		Log: part("execute"),
	})
	taken := d.tags()
	if d.dispatch, err = dispatch.New(dispatch.Config{
		Executor: counted{executor, d.metrics}, ProcessSlots: slots, ProcessTags: taken.process, NativeTags: taken.native,
		DedicatedTags: taken.dedicated, Gated: gated, Flows: flows, Workflows: suspended, Log: part("dispatch"),
	}); err != nil {
		return err
	}
	q, err := queue.New(queue.Config{
		DB: d.db, Log: part("queue"), Slots: d.dispatch, OnCancel: d.dispatch.Cancel,
		Version: cli.Version, Tags: d.dispatch.Tags(), Capacity: slots, Name: d.cfg.name, Lease: d.cfg.lease, Heartbeat: d.cfg.lease / 6,
		MaxQueued: d.cfg.queueLimit, Flows: flows,
	})
	if err != nil {
		return err
	}
	out.Queue, suspended.Queue = q, q
	upkeep, err := maintain.New(maintain.Config{DB: d.db, Keep: time.Duration(d.cfg.retention) * 24 * time.Hour, Log: part("maintain")})
	if err != nil {
		return err
	}
	spare, err := trim.New(trim.Config{LastEnd: d.lastWork})
	if err != nil {
		return err
	}
	d.jobs = jobs.New(jobs.Config{
		Queue: intake{q, flows}, Scripts: scripts, Flows: scripts.Flows(), Gate: gate, Registry: d.registry, Bus: signals, Live: logs, Network: string(d.nets.Default), Contacts: contacts, Steps: d.db,
		Others: q.Others, GPUs: devices, Cache: d.db, Answer: flows.answer, Log: part("jobs"),
	})
	workflows.Queue, workflows.Targets = q, d.jobs
	host = workflow.New(workflows)
	flows.Runner = runner.New(runner.Config{
		Queue: q, Store: d.db, Catalog: d.jobs, Values: values, Expr: d.expressions(), Ended: ended(signals, q, part("flow")), Answered: signals.Publish, Changed: signals.Progress,
		Home: taken.home, Left: folders.Over, Log: part("flow"),
	})
	steering := control.New(control.Config{Store: d.db, Runner: flows.Runner, Workflows: q, Catalog: d.jobs, Jobs: d.jobs, Gate: gate, Base: d.publicURL()})
	deployed := deploy.New(scripts, gate, d.jobs, d.registry)
	deployed.Check = d.jobs.CheckDevices
	many, err := batches.New(batches.Config{DB: d.db, Queue: q, Jobs: d.jobs, Scripts: scripts, Flows: scripts.Flows(), Gate: gate, Log: part("batches")})
	if err != nil {
		return err
	}
	schedules, err := schedule.New(schedule.Config{DB: d.db, Jobs: d.jobs, Scripts: scripts, Flows: scripts.Flows(), Gate: gate, Bus: signals, Log: part("schedule")})
	if err != nil {
		return err
	}
	d.server, err = web.New(web.Config{
		Listen: d.cfg.listen, Bound: d.bound, Socket: d.socket(), Version: cli.Version, Auth: gate, Jobs: d.jobs, FlowRuns: steering,
		Scripts: deployed, Flows: deploy.NewFlows(scripts.Flows(), gate, d.jobs, d.jobs, d.registry), Schedules: schedules, Batches: many, Values: values,
		Tokens: gate.Tokens(), Workspaces: gate.Workspaces(), People: gate.People(), Endings: d.endings(), Health: health{d}, Metrics: d.metrics.Write, Log: part("web"),
	})
	if err != nil {
		return err
	}
	d.guests.Store(d.server)
	return d.startServices(ctx, services{gate: gate, values: values, scripts: scripts, queue: q, flows: flows.Runner, folders: folders, schedules: schedules, batches: many, maintain: upkeep, trim: spare, builder: builder})
}
