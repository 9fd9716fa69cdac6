package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"github.com/millrace/millrace/cmd/internal/cli"
	"github.com/millrace/millrace/cmd/internal/example"
	"github.com/millrace/millrace/web/client"
)

// serve runs the daemon until a signal; its result is the exit status.
func serve(args []string, stdout, stderr io.Writer) int {
	c, err := parseConfig(args, os.Getenv, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "millrace serve: %v\n", err)
		return 2
	}
	if os.Geteuid() == 0 {
		_, _ = fmt.Fprintf(stderr, "millrace serve: %v\n", asUnprivileged(c, args))
		return 1
	}
	log := newLogger(c, stderr)
	if err := run(c, log, stdout); err != nil {
		log.Error().Err(err).Msg("millrace stopped")
		return 1
	}
	return 0
}

func newLogger(c config, w io.Writer) zerolog.Logger {
	zerolog.TimeFieldFormat = "2006-01-02T15:04:05.000Z07:00"
	if c.log == "console" {
		w = zerolog.ConsoleWriter{Out: w, TimeFormat: "15:04:05.000", NoColor: !cli.IsTerminal(w)}
	}
	level := zerolog.InfoLevel
	if l, err := zerolog.ParseLevel(os.Getenv("MILLRACE_LOG_LEVEL")); err == nil && l != zerolog.NoLevel {
		level = l
	}
	return zerolog.New(w).Level(level).With().Timestamp().Logger()
}

// run starts every part, waits for a signal, and stops them in the opposite order.
func run(c config, log zerolog.Logger, stdout io.Writer) error {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400) // the live heap is small beside what a job allocates in passing
	}
	begin := time.Now()
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	started := make(chan error, 1)
	d := newDaemon(c, log)
	go func() { started <- d.start(ctx) }()
	select {
	case err := <-started:
		if err != nil {
			d.stop(cancelled())
			return err
		}
	case <-signals:
		cancel()
		if err := <-started; err != nil {
			log.Info().Err(err).Msg("stopped while starting")
		}
		d.stop(cancelled())
		return nil
	}
	log.Info().Str("url", d.url()).Str("socket", d.socket()).Dur("took_ms", time.Since(begin)).Msg("millrace is ready")
	exampleDone := make(chan struct{})
	go func() {
		defer close(exampleDone)
		if c.example {
			runExample(ctx, d, log, stdout)
		}
	}()
	var failed error
	select {
	case s := <-signals:
		log.Info().Stringer("signal", s).Dur("patience_ms", c.drain).Msg("stopping; a second signal stops at once")
	case err := <-d.failed:
		failed = err
		log.Error().Err(err).Msg("a part of the daemon failed; stopping")
	}
	cancel()
	<-exampleDone
	patience, stop := context.WithTimeout(context.Background(), c.drain)
	defer stop()
	go func() {
		select {
		case <-signals:
			stop()
		case <-patience.Done():
		}
	}()
	d.stop(patience)
	return failed
}

// cancelled is a context without patience.
func cancelled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// runExample shows what the daemon does, through its own API.
func runExample(ctx context.Context, d *daemon, log zerolog.Logger, stdout io.Writer) {
	c, err := client.New(client.Config{Socket: d.socket(), Workspace: d.cfg.workspace})
	if err == nil {
		err = example.Run(ctx, c, d.url(), stdout)
	}
	switch {
	case ctx.Err() != nil:
		return
	case err != nil:
		log.Error().Err(err).Msg("the example failed")
	}
	_, _ = fmt.Fprintf(stdout, "\nMillrace is running at %s (Ctrl-C stops it)\n", d.url())
}
