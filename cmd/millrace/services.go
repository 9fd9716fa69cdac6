package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/millrace/millrace/cmd/internal/cli"
	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/auth"
	"github.com/millrace/millrace/engine/batches"
	"github.com/millrace/millrace/engine/catalog"
	"github.com/millrace/millrace/engine/execute"
	"github.com/millrace/millrace/engine/flow/runner"
	"github.com/millrace/millrace/engine/folder"
	"github.com/millrace/millrace/engine/jobs"
	"github.com/millrace/millrace/engine/maintain"
	"github.com/millrace/millrace/engine/metric"
	"github.com/millrace/millrace/engine/queue"
	"github.com/millrace/millrace/engine/secret"
	"github.com/millrace/millrace/engine/trigger/schedule"
	"github.com/millrace/millrace/engine/trim"
	"github.com/millrace/millrace/runtimes"
	"github.com/millrace/millrace/runtimes/build"
)

// services are the parts with goroutines of their own.
type services struct {
	gate      *auth.Auth
	values    *secret.Values
	scripts   *catalog.Catalog
	queue     *queue.Queue
	flows     *runner.Runner
	folders   *folder.Folders
	schedules *schedule.Schedules
	batches   *batches.Batches
	maintain  *maintain.Service
	trim      *trim.Service
	builder   *build.Builder
}

// startServices starts them in order of need. Whatever was started is stopped again, also after an error.
func (d *daemon) startServices(ctx context.Context, s services) error {
	for _, x := range []struct {
		start func(context.Context) error
		stop  func(context.Context)
	}{
		{s.gate.Start, func(context.Context) { s.gate.Stop() }},
		{d.ensureWorkspace(s.gate), func(context.Context) {}},
		{s.values.Start, func(context.Context) { s.values.Stop() }},
		{s.scripts.Start, func(context.Context) { s.scripts.Stop() }},
		{d.pool.Start, func(context.Context) { d.pool.Stop() }},
		{s.queue.Start, func(context.Context) { s.queue.Stop() }},
		{s.folders.Start, func(context.Context) { s.folders.Stop() }},
		{s.flows.Start, func(context.Context) { s.flows.Stop() }},
		{s.batches.Start, func(context.Context) { s.batches.Stop() }},
		{s.maintain.Start, func(context.Context) { s.maintain.Stop() }},
		{s.trim.Start, func(context.Context) { s.trim.Stop() }},
		{d.startWork(s.queue), d.stopWork(s.queue)},
		{s.schedules.Start, func(context.Context) { s.schedules.Stop() }},
	} {
		if err := x.start(ctx); err != nil {
			return err
		}
		d.onStop(x.stop)
	}
	warm, cancel := context.WithCancel(context.WithoutCancel(ctx))
	d.warm.Go(func() {
		d.prewarm(warm)
		if d.cfg.example {
			d.cachesWarm.Store(true) // its own builds fill the same caches
			return
		}
		d.warmCaches(warm, s.builder)
	})
	d.onStop(func(context.Context) {
		cancel()
		d.warm.Wait()
	})
	return nil
}

// startWork begins to take jobs and requests.
func (d *daemon) startWork(q *queue.Queue) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := d.dispatch.Start(ctx, q); err != nil {
			return err
		}
		if err := d.server.Start(context.WithoutCancel(ctx)); err != nil {
			d.dispatch.Drain(cancelled())
			return err
		}
		return nil
	}
}

// stopWork ends both at the same time: requests that wait for a running job get its result if it ends in time. Those that wait for a
// job that does not run here are not a reason to go on, unless another daemon may run it.
func (d *daemon) stopWork(q *queue.Queue) func(context.Context) {
	return func(patience context.Context) {
		var wg sync.WaitGroup
		serving, over := context.WithCancel(patience)
		wg.Go(func() {
			defer over()
			if err := d.server.Stop(patience); err != nil {
				d.log.Info().Err(err).Msg("requests were cut")
			}
		})
		wg.Go(func() {
			d.dispatch.Drain(patience)
			if alone(serving, q) {
				d.server.Drained()
			}
		})
		wg.Wait()
	}
}

// alone waits until there is no other daemon, as heartbeats count them; false: ctx ended first.
func alone(ctx context.Context, q *queue.Queue) bool {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for q.Others() > 0 {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
	return true
}

// ensureWorkspace makes the workspace named by --workspace if it is not there.
func (d *daemon) ensureWorkspace(gate *auth.Auth) func(context.Context) error {
	return func(ctx context.Context) error {
		ws := gate.Workspaces()
		if ok, err := ws.Exists(ctx, d.cfg.workspace); err != nil || ok {
			return err
		}
		admin := engine.Principal{Username: "admin", Email: "admin@localhost", Admin: true, Via: "socket"}
		return ws.Create(ctx, admin, engine.Workspace{ID: d.cfg.workspace, Name: d.cfg.workspace})
	}
}

// ahead is how many slots of a language are kept ready: while one runs a job and another is made ready for the next, a third has a
// process that has had time to settle.
const ahead = 3

// prewarm opens slots for every language that needs nothing built, so that the first jobs find them ready.
func (d *daemon) prewarm(ctx context.Context) {
	for _, e := range d.registry.All() {
		if e.Err != nil || ctx.Err() != nil {
			continue
		}
		l, err := e.Launch(e.Host, runtimes.Program{Workspace: d.cfg.workspace, Language: e.Info().Name, Network: d.nets.Default}, runtimes.Artifact{})
		if err != nil {
			continue // its programs cannot be launched before they are built
		}
		if len(l.Template.Zygote) > 0 {
			l.Template.Tenant = d.cfg.workspace
		}
		if err := d.pool.Keep(ctx, l, ahead); err != nil && ctx.Err() == nil {
			d.log.Warn().Err(err).Str("language", e.Info().Name).Msg("open a sandbox ahead")
		}
	}
}

// tags are the worker tags that this daemon takes, by where their jobs run.
type tags struct {
	process, native, dedicated []string
	home                       string // of steps that must run here; "": this daemon runs no scripts
}

// tags are those of --tags, where default stands for those of the languages that run here and of dependency jobs; native are
// those of jobs that need no sandbox, dedicated those of scripts with a process of their own.
func (d *daemon) tags() (out tags) {
	keeps := map[string]bool{}
	for _, e := range d.registry.All() {
		keeps[e.Info().DedicatedTag()] = d.cfg.dedicated > 0 // otherwise its runs are isolated, like all others
	}
	add := func(t string) {
		switch {
		case t == "": // a language whose scripts cannot be dedicated
		case t == noopTag, t == jobs.FlowTag:
			out.native = append(out.native, t)
		case keeps[t]:
			out.dedicated = append(out.dedicated, t)
		default:
			out.process = append(out.process, t)
		}
	}
	for t := range strings.SplitSeq(d.cfg.tags, ",") {
		if t = strings.TrimSpace(t); t != defaultTags {
			add(t)
			continue
		}
		add(dependencyTag)
		add(noopTag)
		add(jobs.FlowTag)
		for _, e := range d.registry.All() {
			if e.Err == nil {
				add(e.Info().Tag)
				add(e.Info().DedicatedTag())
			}
		}
	}
	for _, list := range []*[]string{&out.process, &out.native, &out.dedicated} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
	if slices.ContainsFunc(out.process, func(t string) bool { return t != dependencyTag }) {
		out.home = d.homeTag()
		out.process = append(out.process, out.home)
	}
	return out
}

// homeTag is the tag of steps that share a folder here: the same whenever this daemon is started, and no other's.
func (d *daemon) homeTag() string {
	host, err := os.Hostname()
	if err != nil {
		d.log.Warn().Err(err).Msg("the host has no name")
	}
	sum := sha256.Sum256([]byte(host + "\x00" + d.cfg.data + "\x00" + d.cfg.name))
	return engine.HomePrefix + hex.EncodeToString(sum[:6])
}

// dependencyTag is that of jobs that make scripts ready.
const dependencyTag = "dependency"

// noopTag is that of jobs that do nothing, for measurements.
const noopTag = "noop"

// bind finds out the port when --listen leaves it open: jobs and links name it, and are made before the server listens.
func (d *daemon) bind() error {
	if _, port, err := net.SplitHostPort(d.cfg.listen); err != nil || port != "0" {
		return nil //nolint:nilerr // the server says what is wrong with it
	}
	ln, err := net.Listen("tcp", d.cfg.listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	d.bound, d.cfg.listen = ln, ln.Addr().String()
	d.onStop(func(context.Context) { _ = ln.Close() }) // unless the server has
	return nil
}

// baseURL is where jobs with the host's network reach the API.
func (d *daemon) baseURL() string {
	host, port, err := net.SplitHostPort(d.cfg.listen)
	if err != nil {
		return "http://127.0.0.1:8000"
	}
	if ip := net.ParseIP(host); host == "" || (ip != nil && ip.IsUnspecified()) {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, port)
}

// publicURL is where people reach the server.
func (d *daemon) publicURL() string {
	if d.cfg.publicURL != "" {
		return d.cfg.publicURL
	}
	return d.baseURL()
}

// counted counts the outcomes of an executor.
type counted struct {
	*execute.Executor
	metrics *metric.Set
}

func (c counted) Finished(claim *engine.Claim, o *engine.Outcome) {
	c.Executor.Finished(claim, o)
	if o != nil {
		c.metrics.Finished(claim, o)
	}
}

// queued counts queued jobs for the metrics, 0 when the database does not answer.
func queued(q *queue.Queue) float64 {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	counts, err := q.TagCounts(ctx)
	if err != nil {
		return 0
	}
	var n int64
	for _, c := range counts {
		n += c.Queued
	}
	return float64(n)
}

// output lets the executor store output in the queue, which is made after it.
type output struct{ *queue.Queue }

// health says whether the daemon can take jobs.
type health struct{ d *daemon }

// Live reports that the process answers.
func (h health) Live() error { return nil }

// Ready reports whether the database answers.
func (h health) Ready(ctx context.Context) error {
	if err := h.d.db.Ping(ctx); err != nil {
		return &engine.Error{Code: engine.Unavailable, Op: "ready", Msg: "the database does not answer", Err: err}
	}
	return nil
}

// cliConfig is what the commands know of this product.
func cliConfig() cli.Config {
	return cli.Config{Registry: families(), Serve: serve, Lib: libDir, Strength: strength}
}
