package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store/pgserver"
	"github.com/millrace/millrace/runtimes"
)

// versionLimit bounds how long one tool may take to say its version.
const versionLimit = 10 * time.Second

func checkLib(lib string) Check {
	c := Check{Area: "sandbox", Name: "helpers", Status: OK, Value: lib}
	if lib != "" {
		if _, err := os.Stat(filepath.Join(lib, "forker")); err == nil {
			return c
		}
	}
	c.Status, c.Why = Missing, "the forker that confines jobs was not found"
	if lib == "" {
		c.Value = "not found"
	}
	c.Fix = "make build, install the package, or set MILLRACE_LIB to the folder that holds forker"
	return c
}

// checkLanguages asks every language for its tools, at the same time. A language that is missing is not fatal: the others work.
func checkLanguages(ctx context.Context, r *runtimes.Registry, lib string) []Check {
	if r == nil {
		return nil
	}
	entries := r.All()
	checks := make([]Check, len(entries))
	var wg sync.WaitGroup
	for i, e := range entries {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, versionLimit)
			defer cancel()
			h, err := e.Detect(ctx, lib)
			checks[i] = language(e.Info(), h, err)
		})
	}
	wg.Wait()
	return checks
}

func language(info runtimes.Info, h runtimes.Host, err error) Check {
	c := Check{Area: "languages", Name: info.Name, Status: OK}
	var missing *runtimes.Missing
	switch {
	case errors.As(err, &missing):
		c.Status, c.Value, c.Fix = Warning, "not installed", missing.Fix
		c.Why = "scripts in " + info.Title + " can not run: " + missing.What + " is missing"
	case err != nil:
		c.Status, c.Value, c.Why = Warning, "does not work", err.Error()
		c.Fix = "reinstall " + info.Title
	default:
		c.Value = strings.TrimSpace(info.Title + " " + h.Version)
		if h.Tool != "" {
			c.Value += " (" + h.Tool + ")"
		}
	}
	return c
}

func checkPostgres(ctx context.Context, url string) []Check {
	c := Check{Area: "postgres", Name: "server", Status: OK}
	if url != "" {
		c.Value = "an external one (--database-url)"
		return []Check{c}
	}
	b, err := pgserver.FindBinaries(ctx, "", 0)
	if err != nil {
		c.Status, c.Value, c.Why = Missing, "not found", err.Error()
		var e *engine.Error
		if errors.As(err, &e) {
			c.Why, c.Fix = e.Msg, e.Hint
		}
		return []Check{c}
	}
	c.Value = fmt.Sprintf("PostgreSQL %d (%s)", b.Major, b.Dir)
	return []Check{c}
}
