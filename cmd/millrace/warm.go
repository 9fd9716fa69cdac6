package main

import (
	"context"
	"io"
	"time"

	"github.com/millrace/millrace/runtimes"
	"github.com/millrace/millrace/runtimes/build"
)

// quietSpan is how long nothing must have run before the compilers take both cores for a while.
const quietSpan = 20 * time.Second

// warmCaches runs the recipes that make first builds fast, each once in the life of a data folder and not beside jobs: whoever has work
// from the first second on should not pay for a compiler that nobody has asked for.
func (d *daemon) warmCaches(ctx context.Context, b *build.Builder) {
	defer d.cachesWarm.Store(true) // or as warm as they will get
	for _, e := range d.registry.All() {
		if e.Err != nil || e.Warmer == nil {
			continue
		}
		r := e.Warmer.WarmRecipe(e.Host)
		if r == nil {
			continue
		}
		if _, ok := b.Built(r.Key); ok {
			continue
		}
		if awaitQuiet(ctx, quietSpan, d.lastWork) != nil {
			return
		}
		d.warmCache(ctx, b, e.Info().Name, r)
	}
}

func (d *daemon) warmCache(ctx context.Context, b *build.Builder, language string, r *runtimes.Recipe) {
	if _, err := b.Run(ctx, d.cfg.workspace, r, io.Discard); err != nil && ctx.Err() == nil {
		d.log.Warn().Err(err).Str("language", language).Msg("warm caches; first builds will be slow")
	}
}

// lastWork is when a job last ran: now, while one does.
func (d *daemon) lastWork() time.Time {
	if slots, free := d.dispatch.Stats(); free < slots {
		return time.Now()
	}
	return d.metrics.LastEnd()
}

// awaitQuiet returns once span is over since both now and last, or with the error of ctx.
func awaitQuiet(ctx context.Context, span time.Duration, last func() time.Time) error {
	wait := time.NewTimer(span)
	defer wait.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-wait.C:
		}
		left := span - time.Since(last())
		if left <= 0 {
			return nil
		}
		wait.Reset(left)
	}
}
