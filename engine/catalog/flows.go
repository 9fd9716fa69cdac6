package catalog

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/flow/format"
	"github.com/millrace/millrace/engine/store"
)

// Flows holds the deployed flows:
//
//	Create -> current --Create (next version)--> superseded      still run by its number: runs name it
//	             |------ Archive (the path) ---> archived        likewise
//	             '------ Delete (the path) ----> gone
//
// It is safe for concurrent use. The flows it returns are shared: nobody changes them.
type Flows struct {
	db     *store.DB
	memory *memory[flow]
}

func newFlows(cfg Config) *Flows { return &Flows{db: cfg.DB, memory: newMemory[flow](cfg.Remember)} }

// flow is a flow's version in memory.
type flow struct {
	*engine.Flow
	read   *format.Flow
	broken error // why it cannot be read
}

func (f flow) key() hashKey { return hashKey{f.Workspace, f.Hash()} }
func (f flow) at() string   { return f.Path }

func (f flow) size() int {
	n := 2048 + 8*len(f.Value) + 2*len(f.Schema) + len(f.Doc) // as text, and read
	for _, lock := range f.Locks {
		n += len(lock)
	}
	return n
}

// Latest returns what path stands for now.
func (c *Flows) Latest(ctx context.Context, ws, path string) (*engine.Flow, error) {
	f, err := c.latest(ctx, ws, path)
	return f.Flow, err
}

func (c *Flows) latest(ctx context.Context, ws, path string) (flow, error) {
	known, epoch := c.memory.byPath(pathKey{ws, path})
	if known.Flow != nil {
		return known, nil
	}
	if !storable(path) {
		return flow{}, noFlow(ws, path)
	}
	f, err := c.db.FlowCurrent(ctx, ws, path)
	if store.IsNotFound(err) {
		return flow{}, c.unknown(ctx, ws, path)
	}
	if err != nil {
		return flow{}, failed("flow.get", path, err)
	}
	return c.keep(f, true, epoch), nil
}

// ByVersion returns a version, current or not.
func (c *Flows) ByVersion(ctx context.Context, ws string, version int64) (*engine.Flow, error) {
	f, err := c.byVersion(ctx, ws, version)
	return f.Flow, err
}

func (c *Flows) byVersion(ctx context.Context, ws string, version int64) (flow, error) {
	known, epoch := c.memory.byHash(hashKey{ws, engine.Hash(version)})
	if known.Flow != nil {
		return known, nil
	}
	f, err := c.db.FlowVersion(ctx, ws, version)
	if store.IsNotFound(err) {
		return flow{}, &engine.Error{Code: engine.NotFound, Op: "flow.get", Path: fmt.Sprint(version), Msg: "no such flow version in workspace " + ws}
	}
	if err != nil {
		return flow{}, failed("flow.get", fmt.Sprint(version), err)
	}
	return c.keep(f, false, epoch), nil
}

// keep reads a version, once for all who run it.
func (c *Flows) keep(f *engine.Flow, current bool, epoch uint64) flow {
	read, err := Read(f)
	out := flow{f, read, err}
	c.memory.put(out, current, epoch)
	return out
}

// Read is the flow of a version as it runs: every module with its id, every script with its lock.
func Read(f *engine.Flow) (*format.Flow, error) {
	v, err := format.ParseValue(f.Value)
	if err != nil {
		return nil, &engine.Error{Code: engine.Invalid, Op: "flow.get", Path: f.Path, Msg: "the stored flow cannot be read", Err: err}
	}
	v.FillIDs()
	v.Walk(func(m *format.Module, _ format.Place) bool {
		if b, ok := m.Value.(*format.RawScript); ok && b.Lock == "" {
			b.Lock = f.Locks[m.ID]
		}
		return true
	})
	out := &format.Flow{Summary: f.Summary, Description: f.Doc, Value: *v, Tag: f.Tag, Timeout: int(f.Timeout.Seconds())}
	if !noSchema(f.Schema) {
		out.Schema = f.Schema
	}
	if n := f.Extra["priority"]; len(n) > 0 {
		_ = json.Unmarshal(n, &out.Priority) // what is wrong was refused
	}
	if out.Priority == 0 {
		out.Priority = v.Priority
	}
	return out, nil
}

// Flow returns a version as it runs, with its number; 0 asks for what path stands for now.
func (c *Flows) Flow(ctx context.Context, ws, path string, version engine.Hash) (*format.Flow, engine.Hash, error) {
	var f flow
	var err error
	if version == 0 {
		f, err = c.latest(ctx, ws, path)
	} else {
		f, err = c.byVersion(ctx, ws, int64(version))
	}
	if err != nil {
		return nil, 0, err
	}
	return f.read, f.Hash(), f.broken
}

// List returns flows without value, schema and locks, the last deployed first.
func (c *Flows) List(ctx context.Context, ws string, f engine.FlowFilter) ([]*engine.Flow, error) {
	if !storable(f.PathExact + f.PathStart + f.CreatedBy) {
		return nil, nil // nothing can be called that
	}
	list, err := c.db.FlowList(ctx, ws, f)
	if err != nil {
		return nil, failed("flow.list", "", err)
	}
	return list, nil
}

// History returns all versions of path without value, schema and locks, the newest first.
func (c *Flows) History(ctx context.Context, ws, path string) ([]*engine.Flow, error) {
	if !storable(path) {
		return nil, noFlow(ws, path)
	}
	list, err := c.db.FlowHistory(ctx, ws, path)
	if err != nil {
		return nil, failed("flow.history", path, err)
	}
	if len(list) == 0 {
		return nil, c.unknown(ctx, ws, path)
	}
	return list, nil
}

// Archive takes path out of use, or with on false back into use. Its versions stay, and deploying to it again makes it come back, too.
func (c *Flows) Archive(ctx context.Context, ws, path string, on bool) error {
	if !storable(path) {
		return noFlow(ws, path)
	}
	done, err := c.db.FlowArchive(ctx, ws, path, on)
	if err != nil {
		return failed("flow.archive", path, err)
	}
	c.memory.drop(ws+"/"+path, false)
	if done {
		return nil
	}
	all, err := c.History(ctx, ws, path)
	if err != nil || all[0].Archived == on {
		return err
	}
	return c.unknown(ctx, ws, path)
}

// Delete forgets path with all its versions; done is false when there was nothing. Runs that have not read their version yet fail.
func (c *Flows) Delete(ctx context.Context, ws, path string) (done bool, err error) {
	if !storable(path) {
		return false, nil
	}
	if done, err = c.db.FlowDelete(ctx, ws, path); err != nil {
		return false, failed("flow.delete", path, err)
	}
	c.memory.drop(ws+"/"+path, false)
	return done, nil
}

// SetLocks stores what resolving the scripts of a version gave, by module, and why it failed where it did.
func (c *Flows) SetLocks(ctx context.Context, ws string, version int64, locks map[string]string, errText string) error {
	if locks == nil {
		locks = map[string]string{}
	}
	if errText != "" {
		errText = clean(errText)
	}
	path, err := c.db.FlowSetLocks(ctx, ws, version, locks, errText)
	if err != nil {
		return failed("flow.lock", fmt.Sprint(version), err)
	}
	if path == "" {
		return &engine.Error{Code: engine.NotFound, Op: "flow.lock", Path: fmt.Sprint(version), Msg: "no such flow version in workspace " + ws}
	}
	c.memory.drop(ws+"/"+path, false)
	return nil
}

// unknown is the error for a path that stands for nothing, with paths that may be meant.
func (c *Flows) unknown(ctx context.Context, ws, path string) error {
	e := noFlow(ws, path)
	paths, err := c.db.FlowPaths(ctx, ws, 2000)
	if err != nil {
		return e // the hint is not worth another error
	}
	if meant := nearest(path, paths, 3); len(meant) > 0 {
		e.Hint = "did you mean " + strings.Join(meant, ", ") + "?"
	}
	return e
}

func noFlow(ws, path string) *engine.Error {
	return &engine.Error{Code: engine.NotFound, Op: "flow.get", Path: path, Msg: "no such flow in workspace " + ws,
		Hint: "deploy it first: millrace flow push FOLDER PATH"}
}
