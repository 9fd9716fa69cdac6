package prepare

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/millrace/millrace/runtimes"
	"github.com/millrace/millrace/runtimes/build"
	"github.com/millrace/millrace/runtimes/mock"
)

// counting counts the recipes that are asked for.
type counting struct {
	*build.Builder
	runs int
}

func (c *counting) Run(ctx context.Context, ws string, r *runtimes.Recipe, log io.Writer) (runtimes.Artifact, error) {
	c.runs++
	return c.Builder.Run(ctx, ws, r, log)
}

func setup(t *testing.T) (*Preparer, *counting) {
	t.Helper()
	registry := runtimes.NewRegistry()
	e := registry.Register(mock.New())
	var err error
	if e.Host, err = e.Detect(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	b, err := build.New(build.Config{Isolator: mock.NewIsolator(nil), CacheDir: t.TempDir(), Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	c := &counting{Builder: b}
	return New(registry, c), c
}

func program(source string) runtimes.Program {
	return runtimes.Program{Workspace: "main", Language: "mock", Source: source}
}

func TestResolvesAndBuildsOnce(t *testing.T) {
	t.Parallel()
	p, c := setup(t)
	var log bytes.Buffer
	first, err := p.Prepare(t.Context(), program("require good; return 1"), nil, &log)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(first.Program.Lock, "good") || c.runs != 2 || log.Len() == 0 {
		t.Errorf("lock %q, %d recipes, log %q", first.Program.Lock, c.runs, &log)
	}
	again, err := p.Prepare(t.Context(), program("require good; return 1"), nil, io.Discard)
	if err != nil || again != first || c.runs != 2 {
		t.Errorf("prepared again: %v, %d recipes", err, c.runs)
	}
	p.Forget()
	if _, err := p.Prepare(t.Context(), program("require good; return 1"), nil, io.Discard); err != nil || c.runs != 4 {
		t.Errorf("after Forget: %v, %d recipes", err, c.runs)
	}
}

func TestAGivenLockIsNotResolved(t *testing.T) {
	t.Parallel()
	p, c := setup(t)
	none := ""
	got, err := p.Prepare(t.Context(), program("return 1"), &none, io.Discard)
	if err != nil || got.Program.Lock != "" || c.runs != 0 {
		t.Errorf("%v, %d recipes", err, c.runs)
	}
}

func TestMistakesAreFailures(t *testing.T) {
	t.Parallel()
	p, _ := setup(t)
	for source, want := range map[string]string{"require missing; return 1": "BuildError"} {
		_, err := p.Prepare(t.Context(), program(source), nil, io.Discard)
		var f *runtimes.Failure
		if !errors.As(err, &f) || f.Name != want || !strings.Contains(f.Message, "missing") {
			t.Errorf("%s: %v", source, err)
		}
	}
	unknown := program("x")
	unknown.Language = "cobol"
	_, err := p.Prepare(t.Context(), unknown, nil, io.Discard)
	var f *runtimes.Failure
	if !errors.As(err, &f) || f.Name != "UnknownLanguage" || !strings.Contains(f.Message, "mock") {
		t.Errorf("unknown language: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Prepare(ctx, program("require good; return 2"), nil, io.Discard); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}
