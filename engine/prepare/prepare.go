// Package prepare turns a program into something the pool can launch: it resolves dependencies when there is no lock, builds
// what the language builds, and remembers the answer by content, so that only the first run of a program pays.
package prepare

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/runtimes"
)

// builder runs recipes; runtimes/build has it.
type builder interface {
	Run(ctx context.Context, workspace string, r *runtimes.Recipe, log io.Writer) (runtimes.Artifact, error)
}

// Prepared is a program ready to launch.
type Prepared struct {
	Entry   *runtimes.Entry
	Program runtimes.Program // with its lock
	Launch  runtimes.Launch
	Key     string // of what it was made from
}

// Allowing is p with an allow-list of what may be contacted.
func (p *Prepared) Allowing(list []string) *Prepared {
	c := *p
	c.Launch.Template.Allow = list
	return &c
}

// Preparer is safe for concurrent use.
type Preparer struct {
	registry *runtimes.Registry
	build    builder

	mu    sync.RWMutex
	known map[known]*Prepared // guarded by mu
}

// known is what a program was prepared from. The whole of it is the key: to hash it well would cost each run more than to compare it.
type known struct {
	runtimes.Program
	locked bool // its lock was given
}

const maxKnown = 4096

// New returns a Preparer.
func New(registry *runtimes.Registry, b builder) *Preparer {
	return &Preparer{registry: registry, build: b, known: map[known]*Prepared{}}
}

// Forget drops what is remembered, after built artifacts were removed from disk.
func (p *Preparer) Forget() {
	p.mu.Lock()
	clear(p.known)
	p.mu.Unlock()
}

// Entry returns the language of a program if it can run here. The error is a *runtimes.Failure.
func (p *Preparer) Entry(language string) (*runtimes.Entry, error) {
	e, ok := p.registry.Get(language)
	if !ok {
		return nil, &runtimes.Failure{Name: "UnknownLanguage", Message: fmt.Sprintf("%q is not a language of this server; it has %s", language, p.names())}
	}
	if e.Err != nil {
		return nil, &runtimes.Failure{Name: "LanguageUnavailable", Message: e.Err.Error()}
	}
	return e, nil
}

func (p *Preparer) names() string {
	var names []string
	for _, e := range p.registry.All() {
		names = append(names, e.Info().Name)
	}
	return strings.Join(names, ", ")
}

// Prepare makes prog ready. lock is its known lock, nil when there is none yet. Steps that do work write what they do to log.
// Mistakes of the user are *runtimes.Failure.
func (p *Preparer) Prepare(ctx context.Context, prog runtimes.Program, lock *string, log io.Writer) (*Prepared, error) {
	if lock != nil {
		prog.Lock = *lock
	}
	from := known{prog, lock != nil}
	p.mu.RLock()
	ready := p.known[from]
	p.mu.RUnlock()
	if ready != nil {
		return ready, nil
	}
	key := prog.Key()
	if lock != nil {
		key = "locked " + key
	}
	entry, err := p.Entry(prog.Language)
	if err != nil {
		return nil, err
	}
	if lock == nil {
		if prog.Lock, err = p.Resolve(ctx, entry, prog, log); err != nil {
			return nil, err
		}
	}
	built, err := p.built(ctx, entry, prog, log)
	if err != nil {
		return nil, err
	}
	launch, err := entry.Launch(entry.Host, prog, built)
	if err != nil {
		return nil, failure(err)
	}
	if len(launch.Template.Zygote) > 0 {
		launch.Template.Tenant = prog.Workspace // its interpreter may have run the workspace's packages
	}
	done := &Prepared{Entry: entry, Program: prog, Launch: launch, Key: key}
	p.mu.Lock()
	if len(p.known) >= maxKnown {
		clear(p.known)
	}
	p.known[from] = done
	p.mu.Unlock()
	return done, nil
}

// Resolve returns the lock of prog, "" when it has no dependencies.
func (p *Preparer) Resolve(ctx context.Context, entry *runtimes.Entry, prog runtimes.Program, log io.Writer) (string, error) {
	if entry.Resolver == nil {
		return "", nil
	}
	recipe, err := entry.Resolver.Resolve(entry.Host, prog)
	if err != nil {
		return "", failure(err)
	}
	if recipe == nil {
		return "", nil
	}
	out, err := p.run(ctx, entry, prog.Workspace, recipe, log)
	if err != nil {
		return "", err
	}
	lock, err := os.ReadFile(filepath.Join(out.Dir, "lock"))
	if err != nil {
		return "", fmt.Errorf("read lock: %w", err)
	}
	return string(lock), nil
}

func (p *Preparer) built(ctx context.Context, entry *runtimes.Entry, prog runtimes.Program, log io.Writer) (runtimes.Artifact, error) {
	if entry.Builder == nil {
		return runtimes.Artifact{}, nil
	}
	recipe, err := entry.Builder.Build(entry.Host, prog)
	if err != nil {
		return runtimes.Artifact{}, failure(err)
	}
	if recipe == nil {
		return runtimes.Artifact{}, nil
	}
	return p.run(ctx, entry, prog.Workspace, recipe, log)
}

// run runs a recipe and turns what its tools say into a failure the user understands.
func (p *Preparer) run(ctx context.Context, entry *runtimes.Entry, workspace string, r *runtimes.Recipe, log io.Writer) (runtimes.Artifact, error) {
	var said tail
	out, err := p.build.Run(ctx, workspace, r, io.MultiWriter(log, &said))
	if err == nil {
		return out, nil
	}
	if ctx.Err() != nil {
		return out, ctx.Err()
	}
	f := failure(err)
	if entry.Explainer != nil {
		var mine *runtimes.Failure
		if errors.As(f, &mine) {
			if text := entry.Explainer.Explain(string(said)); text != "" {
				mine.Message = text
			}
		}
	}
	return out, f
}

// failure makes user mistakes failures and leaves other errors alone.
func failure(err error) error {
	var source *runtimes.SourceError
	var mine *runtimes.Failure
	var coded *engine.Error
	switch {
	case errors.As(err, &source):
		return &runtimes.Failure{Name: source.Name, Message: source.Message, Stack: source.Error()}
	case errors.As(err, &mine):
		return mine
	case errors.As(err, &coded):
		return err
	}
	return &runtimes.Failure{Name: "BuildError", Message: err.Error()}
}

// tail keeps the end of what is written to it.
type tail []byte

func (t *tail) Write(p []byte) (int, error) {
	const keep = 64 << 10
	*t = append(*t, p...)
	if len(*t) > 2*keep {
		*t = append((*t)[:0], (*t)[len(*t)-keep:]...)
	}
	return len(p), nil
}
