package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/millrace/millrace/sandbox"
	"github.com/millrace/millrace/sandbox/direct"
	"github.com/millrace/millrace/sandbox/nsjail"
	"github.com/millrace/millrace/sandbox/slot"
)

// startSandbox connects to the jail that started this process, starts a rootless one, or, if that was asked for, runs jobs
// without walls. It never falls back to fewer walls than it says.
func (d *daemon) startSandbox(ctx context.Context, lib string) error {
	if d.cfg.isolation != "full" { // then the helper that may have started this process is not needed
		if f, ok, err := slot.Inherited(); err == nil && ok {
			_ = f.Close()
		}
	}
	switch d.cfg.isolation {
	case "none":
		dir := filepath.Join(d.cfg.data, "direct")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("make work folder: %w", err)
		}
		d.isolator = direct.New(dir)
	case "nsjail":
		box, err := openNsjail(d.cfg, lib)
		if err != nil {
			return fmt.Errorf("no sandbox: %w", err)
		}
		d.isolator = box
	default:
		box, err := connectJail(ctx, d.cfg, lib, slot.Options{Log: d.log.With().Str("part", "sandbox").Logger(), API: d.guest})
		if err != nil {
			return fmt.Errorf("no sandbox: %w (millrace doctor says more; --isolation=none runs jobs without walls)", err)
		}
		d.isolator = box
		go func() {
			<-box.Done()
			d.failed <- fmt.Errorf("the sandbox helper ended")
		}()
	}
	d.onStop(func(context.Context) {
		if err := d.isolator.Close(); err != nil {
			d.log.Warn().Err(err).Msg("close sandboxes")
		}
	})
	s := d.isolator.Strength()
	event := d.log.Info()
	if s.Mode != "full" {
		event = d.log.Warn()
	}
	var lacks []string
	for _, l := range s.Lacks {
		lacks = append(lacks, l.What)
	}
	event.Str("isolation", s.Mode).Strs("lacks", lacks).Msg("jobs run with isolation " + s.Mode)
	d.detect(ctx, lib)
	return nil
}

// openNsjail runs jobs by the nsjail of this host.
func openNsjail(c config, lib string) (*nsjail.Isolator, error) {
	path, err := nsjail.Detect()
	if err != nil {
		return nil, err
	}
	return nsjail.New(nsjail.Config{Path: path, Forker: filepath.Join(lib, "forker"), State: filepath.Join(c.data, "nsjail")})
}

// connectJail uses the inherited socket of a root helper, or spawns a helper with this process's own rights.
func connectJail(ctx context.Context, c config, lib string, o slot.Options) (*slot.Isolator, error) {
	f, ok, err := slot.Inherited()
	if err != nil {
		return nil, err
	}
	if ok {
		return slot.FromFile(ctx, f, o)
	}
	jail, err := jailPath()
	if err != nil {
		return nil, err
	}
	h := slot.Helper{Path: jail, Lib: lib, Cache: filepath.Join(c.data, "cache"), Allow: toolRoots()}
	if c.gpuRoot != "" { // doctor has no configuration
		h.Extra = []string{"--gpu-root", c.gpuRoot}
	}
	return slot.Spawn(ctx, h, o)
}

// toolRoots lists folders outside of /usr and the product's own that slots may be shown read-only: where the environment says
// that tools are.
func toolRoots() []string {
	seen := map[string]bool{}
	for _, name := range []string{"MILLRACE_BUN", "MILLRACE_UV", "MILLRACE_PYTHON", "MILLRACE_GO"} {
		tool := os.Getenv(name)
		if tool == "" {
			continue
		}
		for _, p := range []string{tool, resolved(tool)} {
			dir := filepath.Dir(p)
			if filepath.Base(dir) == "bin" {
				dir = filepath.Dir(dir) // a toolchain has more than its bin folder
			}
			if filepath.IsAbs(dir) && !strings.HasPrefix(dir+"/", "/usr/") && dir != "/" {
				seen[dir] = true
			}
		}
	}
	out := make([]string, 0, len(seen))
	for dir := range seen {
		out = append(out, dir)
	}
	sort.Strings(out)
	return out
}

func resolved(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	return path
}

// remover deletes build output: the daemon cannot itself where it belongs to the builder's uid.
func (d *daemon) remover() func(string) error {
	box, ok := d.isolator.(*slot.Isolator)
	if !ok {
		return os.RemoveAll
	}
	return func(path string) error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		return box.Remove(ctx, path)
	}
}

// strength opens an isolator as serve would, for doctor.
func strength(ctx context.Context) (sandbox.Strength, error) {
	lib, err := libDir()
	if err != nil {
		return sandbox.Strength{}, err
	}
	data, err := os.MkdirTemp("", "millrace-doctor-")
	if err != nil {
		return sandbox.Strength{}, err
	}
	defer func() { _ = os.RemoveAll(data) }()
	box, err := connectJail(ctx, config{data: data}, lib, slot.Options{Log: zerolog.Nop()})
	if err != nil {
		return sandbox.Strength{}, err
	}
	s := box.Strength()
	return s, box.Close()
}
