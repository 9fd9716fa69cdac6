package api

import (
	"bytes"
	"encoding/json"
	"time"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/web/wire"
)

// notFlowExtra are the fields of a flow that are never kept as sent; see notExtra.
var notFlowExtra = func() map[string]bool {
	m := fieldsOf(wire.Flow{}, wire.NewFlow{})
	delete(m, "ws_error_handler_muted") // kept
	delete(m, "priority")               // likewise
	return m
}()

// readFlow decodes a create, or an update of path. Fields that are null count as absent.
func readFlow(body []byte, path string) (*engine.Flow, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(body, &fields); err != nil {
		return nil, invalid("the body is not a JSON object: %v", err)
	}
	var n wire.NewFlow
	if err := json.Unmarshal(body, &n); err != nil {
		return nil, invalid("the body is not a flow: %v", err)
	}
	f := &engine.Flow{Path: n.Path, Summary: n.Summary, Doc: n.Description, Value: bytes.Clone(n.Value), Tag: n.Tag,
		Timeout: time.Duration(n.Timeout) * time.Second, Message: n.Message, Extra: extraOf(fields, notFlowExtra)}
	if f.Path == "" {
		f.Path = path
	}
	switch {
	case f.Path == "":
		return nil, invalid("a flow needs a path")
	case len(f.Value) == 0 || string(f.Value) == "null":
		return nil, invalid("a flow needs value")
	case n.Timeout < 0 || n.Timeout > maxTimeout:
		return nil, invalid("timeout must be from 0 to %d seconds", maxTimeout)
	}
	if err := engine.CheckPath("flow.create", f.Path); err != nil {
		return nil, err
	}
	if schema := fields["schema"]; len(schema) > 0 && string(schema) != "null" {
		f.Schema = bytes.Clone(schema)
	}
	return f, nil
}

// viewFlow encodes a flow; in lists without what can be large.
func viewFlow(f *engine.Flow, inList bool) (json.RawMessage, error) {
	v := wire.Flow{WorkspaceID: f.Workspace, VersionID: f.Version, Path: f.Path, Summary: f.Summary, Description: f.Doc, LockErrorLogs: f.LockError,
		Tag: f.Tag, Timeout: int64(f.Timeout / time.Second), Archived: f.Archived, EditedBy: f.CreatedBy, EditedAt: f.CreatedAt, DeploymentMsg: f.Message}
	if !inList {
		v.Value, v.Schema = f.Value, f.Schema
	}
	if muted := f.Extra["ws_error_handler_muted"]; len(muted) > 0 {
		_ = json.Unmarshal(muted, &v.ErrorMuted) // whatever is no boolean is false
	}
	b, err := encode(v)
	if err != nil || inList {
		return b, err
	}
	return withExtra(b, f.Extra, notFlowExtra), nil
}
