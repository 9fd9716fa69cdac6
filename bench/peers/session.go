package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// session compares one variant of a peer with both lanes of ours: all run at the same time, each on servers of its own, and take turns.
type session struct {
	options
	results *results
	lanes   *lanes // nil when only the peer is looked at
	mark    string // in the environment of everything that was started
}

// system is one of those that take turns.
type system struct {
	*adapter
	store  *store
	folder string
	mark   string
	env    []string
}

// measure does every work of a peer. One that fails does not keep the others from being done.
func (s session) measure(ctx context.Context, all []variant, v variant) error {
	var systems []*system
	if s.lanes != nil {
		var err error
		if systems, err = s.lanes.ready(ctx, s, all); err != nil {
			return err
		}
	}
	peer, err := s.begin(ctx, v)
	if err != nil {
		return fmt.Errorf("start %s: %w", v.Name, err)
	}
	defer s.end(peer)
	s.results.describe(v, peer.version)
	systems = append(slices.Clone(systems), peer)
	z := s.size(v)
	ctx, cancel := context.WithTimeoutCause(ctx, z.limit, fmt.Errorf("%s was not done after %v", v.Name, z.limit))
	defer cancel()
	todo := []func() error{func() error { return s.warmUp(ctx, peer, z) }}
	for _, w := range z.works() {
		if s.wanted(w.name) && peer.knows(w.needs) {
			todo = append(todo, func() error { return s.turns(ctx, systems, v, w, z) })
		}
	}
	if !s.scale {
		if !s.quick || !v.Slow {
			todo = append(todo, func() error { return s.timelines(ctx, systems, v) })
		}
		todo = append(todo, func() error { return s.idle(ctx, systems, z) }, func() error { return s.alone(ctx, peer, z) })
	}
	var errs []error
	for _, do := range todo {
		errs = append(errs, do())
		if ctx.Err() != nil {
			break // what is left would fail for the same reason
		}
	}
	return errors.Join(errs...)
}

// size is how much a peer is measured.
func (s session) size(v variant) size {
	z := sizeOf(s.quick, v.Slow)
	if !v.tuned && !s.quick && !slices.Contains(own, v.Name) {
		z = z.brief(v.Slow)
	}
	switch {
	case s.smoke:
		z = smoke(v.Slow)
	case s.scale:
		z = scaling(s.quick, v.Slow)
		z.prefix = slotPrefix(s.slots)
	case s.rounds > 0:
		z.rounds = s.rounds
	}
	if most := v.config.Payload; most > 0 {
		z.payloads = slices.DeleteFunc(slices.Clone(z.payloads), func(n int) bool { return n > most })
	}
	return z
}

func (s session) wanted(name string) bool { return s.works == nil || slices.Contains(s.works, name) }

// begin installs and starts a system in a new folder.
func (s session) begin(ctx context.Context, v variant) (*system, error) {
	if err := os.MkdirAll(filepath.Join(s.build, "run"), 0o755); err != nil {
		return nil, err
	}
	if err := v.install(ctx, s.build); err != nil {
		return nil, err
	}
	// Below the build folder and not in /tmp, which may be a file system in memory, where flushing costs nothing.
	folder, err := os.MkdirTemp(filepath.Join(s.build, "run"), v.Name+"-")
	if err != nil {
		return nil, err
	}
	y := &system{folder: folder, mark: "PEERS_SYSTEM=" + filepath.Base(folder)}
	data := filepath.Join(folder, "data")
	if err := errors.Join(os.Chmod(folder, 0o755), os.Mkdir(data, 0o755)); err != nil {
		return nil, err
	}
	if y.store, err = s.startStore(ctx, v, folder, y.mark); err != nil {
		return nil, err
	}
	y.env = append([]string{s.mark, y.mark, "DATA=" + data, fmt.Sprintf("SLOTS=%d", s.slots),
		"MILLRACE=" + filepath.Join(s.build, "..", "bin", "millrace")}, y.store.env...)
	if err := y.launch(ctx, v, s.build); err != nil {
		if y.adapter != nil {
			s.end(y)
		} else {
			y.store.stop()
		}
		return nil, err
	}
	return y, nil
}

// launch starts the adapter and the peer behind it, for the first time or again.
func (y *system) launch(ctx context.Context, v variant, build string) error {
	var err error
	if y.adapter, err = startAdapter(v, build, y.folder, y.env); err != nil {
		return err
	}
	if err := y.begin(ctx); err != nil {
		log, _ := os.ReadFile(y.log)
		return fmt.Errorf("%w\n%s", err, log[max(0, len(log)-3000):])
	}
	return nil
}

func (s session) end(y *system) {
	if err := y.end(); err != nil {
		fmt.Fprintln(os.Stderr, "peers: stop:", err)
	}
	y.store.stop()
	endMarked(y.mark)
	if err := os.RemoveAll(y.folder); err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err) // it lies in a folder that git ignores
	}
}

// warmUp keeps a system busy for a while before anything counts.
func (s session) warmUp(ctx context.Context, y *system, z size) error {
	for i, end := 0, time.Now().Add(z.warm); time.Now().Before(end); i++ {
		if _, _, err := y.one(ctx, request{Work: "empty", Arg: i}); err != nil {
			return fmt.Errorf("warm-up: %w", err)
		}
	}
	return nil
}

// turns lets the systems do a work in the order A B C, C B A, A B C ...
func (s session) turns(ctx context.Context, systems []*system, v variant, w work, z size) error {
	rounds := z.rounds
	if s.rounds == 0 && (w.once || s.quick && w.name == "W5") {
		rounds = 1
	}
	got := make([][]sample, len(systems))
	for round := range rounds {
		for i := range systems {
			if round%2 == 1 {
				i = len(systems) - 1 - i
			}
			before := selfCPU()
			start := time.Now()
			one, err := w.run(ctx, systems[i].adapter)
			if errors.Is(err, errTooLong) {
				continue
			}
			if err != nil {
				return fmt.Errorf("%s: %w", w.key, err)
			}
			one.cpu = float64(selfCPU()-before) / float64(time.Since(start))
			got[i] = append(got[i], one)
		}
	}
	if !slices.ContainsFunc(got, func(its []sample) bool { return len(its) > 0 }) {
		return nil // too long for all
	}
	c, err := newComparison(v.Name, w, systems, got)
	if err != nil {
		return err
	}
	return s.results.put(c)
}

// timelines takes a flow of 40 steps apart. These runs are not timed otherwise.
func (s session) timelines(ctx context.Context, systems []*system, v variant) error {
	if !s.wanted("W2") || !systems[len(systems)-1].knows("fibo") {
		return nil
	}
	for _, y := range systems {
		_, spans, err := y.one(ctx, request{Work: "fibo", N: shortFlow, K: 10, Spans: true})
		if err != nil {
			return fmt.Errorf("timeline: %w", err)
		}
		s.results.timeline(y.variant.Name, spans)
	}
	return nil
}

// idle measures what each takes when nothing happens: all processes, its store's and its adapter's with them.
func (s session) idle(ctx context.Context, systems []*system, z size) error {
	if !s.wanted("W10") {
		return nil
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(z.idle / 2): // what is being tidied up after the last work
	}
	before := make([]time.Duration, len(systems))
	for i, y := range systems {
		before[i], _ = usage(family(y.mark))
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(z.idle):
	}
	for i, y := range systems {
		pids := family(y.mark)
		cpu, mb := usage(pids)
		s.results.idle(y.variant.Name, 100*float64(cpu-before[i])/float64(z.idle), mb, len(pids))
	}
	return nil
}
