// Package catalog holds what is deployed, scripts (Catalog) and flows (Flows): immutable versions, and what a path stands for now.
// A script's version has a hash, a flow's a number.
//
//	Create -> current --Create (next version)--> superseded      still run by hash
//	             |------ Archive (the path) ---> archived        still run by hash: queued jobs name it
//	             '------ Delete (the version) -> deleted         without content, never run again
//
// A version's lock is nil until its dependencies are resolved (SetLock); "" says that it needs nothing.
//
// Reads come from memory. A change is announced by the transaction that makes it (NOTIFY, "<workspace>/<path>"), so every
// daemon of the database drops what it remembers; after a lost connection all is dropped.
//
// Catalog asks nobody for permission; engine/deploy stands in front of it and does.
package catalog

import (
	"context"
	"fmt"
	"sync"

	"github.com/rs/zerolog"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store"
	"github.com/millrace/millrace/runtimes"
)

// Config wires a Catalog.
type Config struct {
	DB         *store.DB
	Registry   *runtimes.Registry
	Log        zerolog.Logger
	Remember   int // scripts kept in memory; zero: 4096
	MaxContent int // bytes of a source; zero: 1 MiB
	// MaxLimits is the most that a script may ask for; zero fields: any amount.
	MaxLimits engine.LimitOptions
}

// Catalog is safe for concurrent use. The scripts it returns are shared: nobody changes them.
type Catalog struct {
	cfg    Config
	memory *memory[script]
	flows  *Flows

	stop context.CancelFunc // written by Start
	done sync.WaitGroup
}

// New returns a Catalog. Until Start it remembers nothing.
func New(cfg Config) (*Catalog, error) {
	if cfg.DB == nil || cfg.Registry == nil {
		return nil, engine.Errorf(engine.Invalid, "catalog.new", "DB and Registry are needed")
	}
	if cfg.Remember <= 0 {
		cfg.Remember = 4096
	}
	if cfg.MaxContent <= 0 {
		cfg.MaxContent = 1 << 20
	}
	return &Catalog{cfg: cfg, memory: newMemory[script](cfg.Remember), flows: newFlows(cfg)}, nil
}

// Start follows the changes that other daemons make.
func (c *Catalog) Start(ctx context.Context) error {
	sub, err := c.cfg.DB.Listen(ctx, store.CatalogChannel, nil)
	if err != nil {
		return fmt.Errorf("start catalog: %w", err)
	}
	ctx, c.stop = context.WithCancel(context.Background())
	c.memory.enable(true)
	c.flows.memory.enable(true)
	c.done.Go(func() {
		defer sub.Close()
		defer c.memory.enable(false)
		defer c.flows.memory.enable(false)
		for {
			select {
			case <-ctx.Done():
				return
			case n := <-sub.C:
				c.memory.drop(n.Payload, n.Missed)
				c.flows.memory.drop(n.Payload, n.Missed)
			}
		}
	})
	return nil
}

// Flows are the deployed flows, which live and forget with c.
func (c *Catalog) Flows() *Flows { return c.flows }

// Stop ends Start's work. It is idempotent and safe unstarted.
func (c *Catalog) Stop() {
	if c.stop != nil {
		c.stop()
	}
	c.done.Wait()
}

// Latest returns what path stands for now.
func (c *Catalog) Latest(ctx context.Context, ws, path string) (*engine.Script, error) {
	known, epoch := c.memory.byPath(pathKey{ws, path})
	if known.Script != nil {
		return known.Script, nil
	}
	if !storable(path) {
		return nil, noScript(ws, path)
	}
	s, err := c.cfg.DB.ScriptCurrent(ctx, ws, path)
	if store.IsNotFound(err) {
		return nil, c.unknown(ctx, ws, path)
	}
	if err != nil {
		return nil, failed("script.get", path, err)
	}
	c.memory.put(script{s}, true, epoch)
	return s, nil
}

// ByHash returns a version, current or not. A deleted one is not found.
func (c *Catalog) ByHash(ctx context.Context, ws string, h engine.Hash) (*engine.Script, error) {
	known, epoch := c.memory.byHash(hashKey{ws, h})
	if known.Script != nil {
		return known.Script, nil
	}
	s, err := c.cfg.DB.ScriptByHash(ctx, ws, h)
	if store.IsNotFound(err) {
		return nil, &engine.Error{Code: engine.NotFound, Op: "script.get", Path: h.String(), Msg: "no such script version in workspace " + ws}
	}
	if err != nil {
		return nil, failed("script.get", h.String(), err)
	}
	if s.Deleted {
		return nil, &engine.Error{Code: engine.NotFound, Op: "script.get", Path: h.String(), Msg: "this version of " + s.Path + " was deleted"}
	}
	c.memory.put(script{s}, false, epoch)
	return s, nil
}

// Exists tells whether path stands for a script.
func (c *Catalog) Exists(ctx context.Context, ws, path string) (bool, error) {
	if s, _ := c.memory.byPath(pathKey{ws, path}); s.Script != nil {
		return true, nil
	}
	if !storable(path) {
		return false, nil
	}
	_, err := c.cfg.DB.ScriptCurrent(ctx, ws, path)
	if store.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, failed("script.exists", path, err)
	}
	return true, nil
}

// List returns scripts without content, schema and lock, the last deployed first. With ShowArchived it returns the archived
// ones instead of those in use.
func (c *Catalog) List(ctx context.Context, ws string, f engine.ScriptFilter) ([]*engine.Script, error) {
	if !storable(f.PathExact + f.PathStart + f.CreatedBy + f.Language) {
		return nil, nil // nothing can be called that
	}
	list, err := c.cfg.DB.ScriptList(ctx, ws, f)
	if err != nil {
		return nil, failed("script.list", "", err)
	}
	return list, nil
}

// History returns all versions of path without content, schema and lock, the newest first.
func (c *Catalog) History(ctx context.Context, ws, path string) ([]*engine.Script, error) {
	if !storable(path) {
		return nil, noScript(ws, path)
	}
	list, err := c.cfg.DB.ScriptHistory(ctx, ws, path)
	if err != nil {
		return nil, failed("script.history", path, err)
	}
	if len(list) == 0 {
		return nil, c.unknown(ctx, ws, path)
	}
	return list, nil
}

// Archive takes path out of use; its versions stay, and deploying to it again makes it come back.
func (c *Catalog) Archive(ctx context.Context, ws, path string) error {
	if !storable(path) {
		return noScript(ws, path)
	}
	done, err := c.cfg.DB.ScriptArchive(ctx, ws, path)
	if err != nil {
		return failed("script.archive", path, err)
	}
	if !done {
		return c.unknown(ctx, ws, path)
	}
	c.memory.drop(ws+"/"+path, false)
	return nil
}

// Delete empties one version for good. If it was the current one, its path stands for nothing until the next deployment.
func (c *Catalog) Delete(ctx context.Context, ws string, h engine.Hash) error {
	path, err := c.cfg.DB.ScriptDelete(ctx, ws, h)
	if err != nil {
		return failed("script.delete", h.String(), err)
	}
	if path == "" {
		return &engine.Error{Code: engine.NotFound, Op: "script.delete", Path: h.String(), Msg: "no such script version in workspace " + ws}
	}
	c.memory.drop(ws+"/"+path, false)
	return nil
}

// SetLock stores what resolving a version's dependencies gave: its lock, or with errText why it failed.
func (c *Catalog) SetLock(ctx context.Context, ws string, h engine.Hash, lock, errText string) error {
	given := &lock
	if errText != "" {
		given, errText = nil, clean(errText)
	} else if err := checkText("script.lock", "lock", lock); err != nil {
		return err
	}
	path, err := c.cfg.DB.ScriptSetLock(ctx, ws, h, given, errText)
	if err != nil {
		return failed("script.lock", h.String(), err)
	}
	if path == "" {
		return &engine.Error{Code: engine.NotFound, Op: "script.lock", Path: h.String(), Msg: "no such script version in workspace " + ws}
	}
	c.memory.drop(ws+"/"+path, false)
	return nil
}

// failed gives an error of the store its code.
func failed(op, path string, err error) error {
	code := engine.Internal
	if store.IsUnavailable(err) {
		code = engine.Unavailable
	}
	return &engine.Error{Code: code, Op: op, Path: path, Err: err}
}
