package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

const settle = 300 * time.Millisecond // between the last job that is answered and the kill

// What leaves a queue full or a system dead is not done in turns: each system does it by itself, ours once in a run, and their values
// stand beside every peer's.

// lanes are our own systems in a run. They live through all peers, and are begun again should one have gone.
type lanes struct {
	systems []*system
	alone   map[string]map[string]sample // by work's key and lane
}

// ready are our systems as they take turns: running, described and warm.
func (l *lanes) ready(ctx context.Context, s session, all []variant) ([]*system, error) {
	for _, y := range l.systems {
		select {
		case <-y.gone:
			l.end(s)
		default:
		}
	}
	if len(l.systems) > 0 {
		return l.systems, nil
	}
	for _, name := range own {
		v, err := find(all, name)
		if err != nil {
			return nil, err
		}
		y, err := s.begin(ctx, v)
		if err != nil {
			l.end(s)
			return nil, fmt.Errorf("start %s: %w", name, err)
		}
		l.systems = append(l.systems, y)
		s.results.describe(v, y.version)
		if err := s.warmUp(ctx, y, s.size(v)); err != nil {
			return nil, err
		}
	}
	return l.systems, nil
}

func (l *lanes) end(s session) {
	for _, y := range l.systems {
		s.end(y)
	}
	l.systems = nil
}

// first lets each of our lanes do by itself what is done so, on servers that it has for that alone.
func (l *lanes) first(ctx context.Context, s session, all []variant) error {
	l.alone = map[string]map[string]sample{}
	if !s.wanted("W7") && !s.wanted("W8") && !s.wanted("W9") && !s.wanted("W5") {
		return nil
	}
	var errs []error
	for _, name := range own {
		v, err := find(all, name)
		if err != nil {
			return err
		}
		fmt.Printf("== %s, by itself\n", v.Title)
		y, err := s.begin(ctx, v)
		if err != nil {
			errs = append(errs, fmt.Errorf("start %s: %w", name, err))
			continue
		}
		s.results.describe(v, y.version)
		errs = append(errs, s.warmUp(ctx, y, s.size(v)), s.alone(ctx, y, s.size(v)))
		s.end(y)
	}
	return errors.Join(errs...)
}

// alone lets a system do all of it. The kill comes last but for what cannot be undone: a queue that is full.
func (s session) alone(ctx context.Context, y *system, z size) error {
	errs := []error{s.fanAlone(ctx, y, z), s.pinned(ctx, y, z)}
	if err := s.kill(ctx, y, z); err != nil {
		return errors.Join(append(errs, err)...)
	}
	return errors.Join(append(errs, s.backlog(ctx, y, z))...)
}

// fanLimit is what the largest fan-out may take, going by one of a tenth.
const fanLimit = time.Minute

// fanAlone is a fan-out too large for turns.
func (s session) fanAlone(ctx context.Context, y *system, z size) error {
	if !s.wanted("W5") || !y.knows("fan") || z.fanAlone == 0 {
		return nil
	}
	took, _, err := y.one(ctx, request{Work: "fan", N: z.fanAlone / 10})
	if err != nil {
		return err
	}
	if 10*took > fanLimit {
		fmt.Printf("   fan-%-10d %s: left out, a tenth took %.0f s\n", z.fanAlone, y.variant.Name, took.Seconds())
		return nil
	}
	one, err := z.repeat(request{Work: "fan", N: z.fanAlone}, 1)(ctx, y.adapter)
	if err != nil {
		return err
	}
	return s.keep(y, work{name: "W5", key: fmt.Sprintf("fan-%d", z.fanAlone), unit: "ms", title: fmt.Sprintf("fan-out to %d and join", z.fanAlone)}, one)
}

// keep puts what a system did by itself where the report finds it: of a peer with ours beside it.
func (s session) keep(y *system, w work, one sample) error {
	name := y.variant.Name
	if s.lanes == nil {
		return s.results.single(name, w, map[string]sample{name: one})
	}
	for _, lane := range own {
		if lane == name {
			if s.lanes.alone[w.key] == nil {
				s.lanes.alone[w.key] = map[string]sample{}
			}
			s.lanes.alone[w.key][name] = one
			return nil
		}
	}
	all := map[string]sample{name: one}
	for lane, its := range s.lanes.alone[w.key] {
		all[lane] = its
	}
	return s.results.single(name, w, all)
}

// kill ends a system with SIGKILL in mid-load, everything but its store, starts it again and counts what ran: nothing may be lost, and
// what ran twice is counted. The jobs themselves tell a listener of this program, so no system's own records are believed.
func (s session) kill(ctx context.Context, y *system, z size) error {
	if !s.wanted("W9") || !y.knows("load") || z.kill == 0 {
		return nil
	}
	l, err := listen(max(1, z.kill/4))
	if err != nil {
		return err
	}
	defer l.close()
	v := y.variant
	// All are accepted before the kill: what was not accepted may be lost.
	if _, err := y.ask(ctx, request{Op: "load", N: z.kill, K: l.port}); err != nil {
		return fmt.Errorf("load: %w", err)
	}
	l.await(ctx, l.open, z.recovery)
	// What was answered may be stored: a kill in that very moment would count how many jobs ended in the same millisecond.
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(settle):
	}
	begun := l.seen()
	s.slay(y)
	l.killed()
	if err := y.launch(ctx, v, s.build); err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		return fmt.Errorf("start after a kill: %w", err)
	}
	l.await(ctx, z.kill, z.recovery)
	got := l.count(z.kill)
	got.Before, got.Limit = begun, z.recovery.Seconds()
	s.results.kill(v.Name, got)
	fmt.Printf("   %-14s %s: %d jobs, %d before the kill; %d twice, %d not within %gs, the first after %.3gs, all after %.3gs\n",
		"kill", v.Name, got.Jobs, got.Before, got.Twice, got.Missing, got.Limit, got.First, got.All)
	return nil
}
