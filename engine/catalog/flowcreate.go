package catalog

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store"
)

// maxFlow bounds what a flow does, as JSON.
const maxFlow = 16 << 20

const opFlow = "flow.create"

// Create deploys f as the next version of its path, and returns its number; created is false when SkipIfNoop found nothing to
// change. Nil Locks are resolved later. f is not changed.
func (c *Flows) Create(ctx context.Context, p engine.Principal, ws string, f *engine.Flow, o engine.FlowOptions) (version int64, created bool, err error) {
	n := *f
	n.Workspace, n.CreatedBy = ws, p.Username
	n.Version, n.Archived, n.LockError = 0, false, ""
	if err := checkFlow(&n); err != nil {
		return 0, false, err
	}
	err = c.db.InTx(ctx, func(tx store.Tx) error {
		current, err := c.replaced(ctx, tx, &n, o)
		if err != nil {
			return err
		}
		if o.SkipIfNoop && current != nil && slices.Equal(flowContent(current), flowContent(&n)) {
			n.Version = current.Version
			return nil
		}
		created = true
		return c.db.FlowInsert(ctx, tx, &n)
	})
	if err != nil {
		return 0, false, refusal(opFlow, err, ws, n.Path)
	}
	c.memory.drop(ws+"/"+n.Path, false)
	if o.Replace != "" && o.Replace != n.Path {
		c.memory.drop(ws+"/"+o.Replace, false)
	}
	return n.Version, created, nil
}

// replaced locks what n is going to replace and returns it; nil when n is a new flow.
func (c *Flows) replaced(ctx context.Context, tx store.Tx, n *engine.Flow, o engine.FlowOptions) (*engine.Flow, error) {
	found := map[string]*engine.Flow{n.Path: nil}
	if o.Replace != "" {
		found[o.Replace] = nil
	}
	for _, path := range slices.Sorted(maps.Keys(found)) { // in one order, so that two moves do not wait for each other
		f, err := c.db.FlowLock(ctx, tx, n.Workspace, path)
		if err != nil {
			return nil, err
		}
		found[path] = f
	}
	taken := &engine.Error{Code: engine.Conflict, Op: opFlow, Path: n.Path, Msg: "a flow is deployed there already", Hint: "update it instead"}
	switch {
	case o.Replace == "" && found[n.Path] != nil:
		return nil, taken
	case o.Replace == "":
		return nil, nil
	case found[o.Replace] == nil:
		return nil, c.unknown(ctx, n.Workspace, o.Replace)
	case o.Replace == n.Path:
		return found[n.Path], nil
	case found[n.Path] != nil:
		taken.Hint = "choose another path"
		return nil, taken
	}
	return nil, c.db.FlowMove(ctx, tx, n.Workspace, o.Replace, n.Path)
}

func checkFlow(n *engine.Flow) error {
	if err := checkPath(opFlow, n.Path); err != nil {
		return err
	}
	if len(n.Value) > maxFlow {
		return &engine.Error{Code: engine.TooLarge, Op: opFlow, Path: n.Path, Msg: fmt.Sprintf("value has %d bytes, %d are allowed", len(n.Value), maxFlow)}
	}
	if v, err := decode(n.Value); err != nil || !utf8.Valid(n.Value) {
		return &engine.Error{Code: engine.Invalid, Op: opFlow, Path: n.Path, Msg: "value is not JSON", Err: err}
	} else if _, object := v.(map[string]any); !object {
		return &engine.Error{Code: engine.Invalid, Op: opFlow, Path: n.Path, Msg: "value is not a JSON object"}
	}
	for _, f := range []struct {
		name, text string
		limit      int
	}{{"description", n.Doc, 256 << 10}, {"summary", n.Summary, maxLine}, {"tag", n.Tag, 255}, {"deployment_message", n.Message, 16 << 10}} {
		if len(f.text) > f.limit {
			return &engine.Error{Code: engine.TooLarge, Op: opFlow, Path: n.Path, Msg: fmt.Sprintf("%s has %d bytes, %d are allowed", f.name, len(f.text), f.limit)}
		}
		if err := checkText(opFlow, f.name, f.text); err != nil {
			return err
		}
	}
	if n.Timeout < 0 {
		return &engine.Error{Code: engine.Invalid, Op: opFlow, Path: n.Path, Msg: "timeout is negative"}
	}
	return checkStored(opFlow, n.Path, n.Schema, n.Extra)
}

// flowContent lists what a deployment says.
func flowContent(f *engine.Flow) []string {
	out := []string{f.Summary, f.Doc, f.Tag, f.Timeout.Truncate(time.Millisecond).String(), canonical(f.Value), strings.TrimSpace(canonical(f.Schema))}
	for _, k := range sortedFields(f.Extra) {
		out = append(out, k, canonical(f.Extra[k]))
	}
	return out
}
