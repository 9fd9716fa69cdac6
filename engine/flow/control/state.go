package control

import (
	"context"
	"encoding/json"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store"
)

// Bounds of values that steps leave for each other.
const (
	maxStateKey = 255
	maxState    = 1 << 20
)

// UserState is the value that was left under a key of the flow that id is, or is a part of; null when there is none.
func (c *Control) UserState(ctx context.Context, p engine.Principal, ws string, id uuid.UUID, key string) (json.RawMessage, error) {
	root, err := c.state(ctx, p, "read", ws, id)
	if err != nil {
		return nil, err
	}
	v, err := c.cfg.Store.FlowUserState(ctx, root, key)
	if store.IsNotFound(err) {
		return json.RawMessage("null"), nil
	}
	return v, err
}

// SetUserState leaves a value; it is there for the other steps when SetUserState returns, and as long as the flow is.
func (c *Control) SetUserState(ctx context.Context, p engine.Principal, ws string, id uuid.UUID, key string, value json.RawMessage) error {
	root, err := c.state(ctx, p, "run", ws, id)
	switch {
	case err != nil:
		return err
	case key == "" || len(key) > maxStateKey:
		return engine.Errorf(engine.Invalid, "flow.state", "a key has 1 to %d bytes", maxStateKey)
	case len(value) > maxState:
		return engine.Errorf(engine.TooLarge, "flow.state", "a value has at most %d MiB", maxState>>20)
	case !json.Valid(value):
		return engine.Errorf(engine.Invalid, "flow.state", "the value is not JSON")
	}
	return c.cfg.Store.FlowUserStatePut(ctx, root, key, value)
}

// state finds the outermost run, for somebody who may.
func (c *Control) state(ctx context.Context, p engine.Principal, verb, ws string, id uuid.UUID) (uuid.UUID, error) {
	v, err := c.job(ctx, ws, id)
	if err == nil {
		err = c.cfg.Gate.Can(p, verb, ws, v.Path)
	}
	if err != nil {
		return uuid.Nil, err
	}
	root, ok, err := c.root(ctx, &v.Job)
	if err == nil && !ok {
		err = engine.Errorf(engine.Invalid, "flow.state", "job %s belongs to no flow", id)
	}
	return root, err
}

// root is the outermost run of the flow that a job is, or is a part of; false: it has nothing to do with flows.
func (c *Control) root(ctx context.Context, j *engine.Job) (uuid.UUID, bool, error) {
	id := j.ID
	if !isFlow(j) {
		if j.Parent == nil || j.Step == "" {
			return uuid.Nil, false, nil
		}
		id = *j.Parent
	}
	r, err := c.cfg.Store.FlowGet(ctx, id)
	switch {
	case store.IsNotFound(err):
		return id, isFlow(j), nil // it has not begun
	case err != nil:
		return uuid.Nil, false, err
	}
	return r.Root, true, nil
}

func isFlow(j *engine.Job) bool { return j.Kind == engine.KindFlow || j.Kind == engine.KindFlowPreview }
